// SPDX-License-Identifier: Apache-2.0
// Polynomials of sizes: normal forms, quotients, limits.

#include "frontends/morph/SizePolynomial.h"

#include <gtest/gtest.h>

namespace morph::language {
namespace {

const SizePolynomial H = SizePolynomial::makeName("H"), D = SizePolynomial::makeName("D"),
                     M = SizePolynomial::makeName("M");
SizePolynomial number(int64_t value) { return SizePolynomial::makeNumber(value); }

std::string print(const std::optional<SizePolynomial> &polynomial) {
  return polynomial ? polynomial->print() : "nothing";
}

TEST(SizePolynomialTest, EqualSumsHaveOneForm) {
  EXPECT_EQ(*(H * D), *(D * H));
  EXPECT_NE(*(H * D), *(H + D));
  // (H + 1)(H - 1) = H^2 - 1
  EXPECT_EQ(*(*(H + number(1)) * *(H - number(1))), *(*H.power(2) - number(1)));
  EXPECT_EQ(*(H - H), number(0));
  EXPECT_EQ(*H.power(0), number(1));
}

TEST(SizePolynomialTest, PrintsAsPeopleWrite) {
  EXPECT_EQ(print(H * D), "H * D");
  EXPECT_EQ(print(*(D / number(2)) * number(3)), "3 * D / 2");
  EXPECT_EQ(print(number(1) - H), "-H + 1");
  EXPECT_EQ(print(*(M / H) - number(7)), "M / H - 7");
  EXPECT_EQ(print(number(1) / *H.power(2)), "1 / H ^ 2");
  EXPECT_EQ(print(number(0)), "0");
  EXPECT_EQ(print(number(-5)), "-5");
}

TEST(SizePolynomialTest, QuotientsAreExact) {
  EXPECT_EQ(*(*(H * D) / H), D);
  EXPECT_EQ(*(*(D / number(2)) * number(2)), D);
  // (H^2 - 1) / (H - 1) = H + 1, and the same with D for H and H for 1.
  EXPECT_EQ(print(*(*H.power(2) - number(1)) / *(H - number(1))), "H + 1");
  EXPECT_EQ(print(*(*D.power(2) - *H.power(2)) / *(D - H)), "D + H");
  EXPECT_EQ(print(M / *(H + number(1))), "nothing");
  EXPECT_EQ(print(M / number(0)), "nothing");
}

TEST(SizePolynomialTest, TellsWhatDividesInEveryModel) {
  EXPECT_TRUE(H.divides(*(H * D)));
  EXPECT_TRUE(number(2).divides(*(number(4) * D)));
  EXPECT_TRUE(H.divides(H));
  EXPECT_FALSE(number(2).divides(D));
  EXPECT_FALSE(H.divides(D));
  EXPECT_FALSE(number(0).divides(D));
  EXPECT_FALSE(number(2).neverDivides(D));
  EXPECT_TRUE(number(2).neverDivides(number(7)));
  EXPECT_TRUE(number(0).neverDivides(number(7)));
  EXPECT_FALSE(number(7).neverDivides(number(7)));
}

TEST(SizePolynomialTest, TellsWhatIsNoSizeInAnyModel) {
  EXPECT_TRUE(number(0).isNeverSize());
  EXPECT_TRUE(number(-1).isNeverSize());
  EXPECT_TRUE((number(7) / number(2))->isNeverSize());
  EXPECT_FALSE(number(1).isNeverSize());
  EXPECT_FALSE((H / number(2))->isNeverSize());
  EXPECT_FALSE((number(-1) + H)->isNeverSize());
}

TEST(SizePolynomialTest, HasLimits) {
  EXPECT_EQ(print(number(INT64_MAX) + number(1)), "nothing");
  EXPECT_EQ(print(number(INT64_MAX) * number(2)), "nothing");
  EXPECT_EQ(print(*(number(1) / number(INT64_MAX)) * *(number(1) / number(2))), "nothing");
  EXPECT_EQ(print(number(INT64_MIN) * number(1)), "nothing");
  EXPECT_EQ(print(H.power(17)), "nothing");
  EXPECT_EQ(print(*H.power(16) * H), "nothing");
  EXPECT_EQ(print(H.power(-1)), "nothing");
  std::optional<SizePolynomial> sum = number(1), product = number(1);
  for (int i = 0; i < 40; ++i) {
    SizePolynomial name = SizePolynomial::makeName("n" + std::to_string(i));
    sum = sum ? *sum + name : sum;
    product = product ? *product * name : product;
    EXPECT_EQ(sum.has_value(), i + 2 <= 32) << i;
    EXPECT_EQ(product.has_value(), i + 1 <= 16) << i;
  }
}

TEST(SizePolynomialTest, EvaluatesInAModel) {
  auto lookup = [](llvm::StringRef name) -> std::optional<int64_t> {
    if (name == "H")
      return 6;
    return name == "D" ? std::optional<int64_t>(0) : std::nullopt;
  };
  EXPECT_EQ((*(*(H / number(4)) * number(2)) + number(1))->evaluate(lookup), 4);
  EXPECT_EQ((H / number(4))->evaluate(lookup), std::nullopt);
  EXPECT_EQ((H / D)->evaluate(lookup), std::nullopt);
  EXPECT_EQ(M.evaluate(lookup), std::nullopt);
  EXPECT_EQ(H.getNumber(), std::nullopt);
  EXPECT_EQ(number(0).getNumber(), 0);
  EXPECT_EQ((number(7) / number(2))->getNumber(), std::nullopt);
}

} // namespace
} // namespace morph::language
