// SPDX-License-Identifier: Apache-2.0
// Matrix products of every library that is present, and the choice among them, against sums in fp64.

#include "runtime/kernels/Gemm.h"
#include "runtime/base/AtomicFile.h"
#include "runtime/base/File.h"
#include "runtime/kernels/Bf16.h"
#include "runtime/kernels/GemmChoice.h"
#include "runtime/kernels/GemmLibrary.h"
#include "runtime/kernels/SmallProducts.h"
#include "runtime/kernels/TiledProduct.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <thread>
#include <type_traits>
#include <unistd.h>
#include <utility>

namespace morph {
namespace {

using plan::DType;

/// A matrix of any type, with its values as they are after rounding.
struct Values {
  Values(int64_t rows, int64_t columns, int64_t stride, DType type, unsigned seed) : type(type), stride(stride) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> uniform(-1, 1);
    for (int64_t i = 0; i < rows * stride; ++i)
      push(i % stride < columns ? uniform(random) : 1e30);
  }
  void push(double value) {
    const auto append = [&](auto x) {
      const char *bytes = reinterpret_cast<const char *>(&x);
      memory.insert(memory.end(), bytes, bytes + sizeof x);
    };
    if (type == DType::F64)
      append(value);
    else if (type == DType::BF16)
      append(roundToBf16(static_cast<float>(value)));
    else
      append(static_cast<float>(value));
  }
  double at(int64_t i, int64_t j) const {
    const int64_t index = i * stride + j;
    if (type == DType::F64)
      return reinterpret_cast<const double *>(memory.data())[index];
    if (type == DType::BF16)
      return widen(reinterpret_cast<const Bf16 *>(memory.data())[index]);
    return reinterpret_cast<const float *>(memory.data())[index];
  }
  DType type;
  int64_t stride;
  std::vector<char> memory;
};

struct Problem {
  explicit Problem(GemmDescription description)
      : d(description), a(d.transposeA ? d.k : d.m, d.transposeA ? d.m : d.k, d.strideA, d.factors, 1),
        b(d.transposeB ? d.n : d.k, d.transposeB ? d.k : d.n, d.strideB, d.factors, 2),
        c(d.m, d.n, d.strideC, d.sums(), 3), bias(1, d.n, d.n, d.sums(), 4) {}
  double expected(int64_t i, int64_t j, bool withBias) const {
    double sum = withBias ? bias.at(0, j) : 0;
    for (int64_t p = 0; p < d.k; ++p)
      sum += (d.transposeA ? a.at(p, i) : a.at(i, p)) * (d.transposeB ? b.at(j, p) : b.at(p, j));
    return sum;
  }
  void expectClose(const Values &actual, bool withBias = false) const {
    const double unit = d.sums() == DType::F64 ? 1e-14 : 1e-6;
    const double tolerance = unit * (2 + std::sqrt(static_cast<double>(d.k)));
    double worst = 0;
    for (int64_t i = 0; i < d.m; ++i)
      for (int64_t j = 0; j < d.strideC; ++j) {
        // Beside the columns nothing is written.
        const double wanted = j < d.n ? expected(i, j, withBias) : c.at(i, j);
        const double error = std::abs(actual.at(i, j) - wanted) / (1 + std::abs(wanted));
        worst = std::max(worst, std::isfinite(error) ? error : 1e30);
      }
    EXPECT_LT(worst, tolerance);
  }

  GemmDescription d;
  Values a, b, c, bias;
};

GemmDescription describe(int64_t m, int64_t n, int64_t k, int form, DType factors, int64_t pad) {
  GemmDescription d;
  d.m = m;
  d.n = n;
  d.k = k;
  d.transposeA = form & 1;
  d.transposeB = form & 2;
  d.factors = factors;
  d.strideA = (d.transposeA ? m : k) + pad;
  d.strideB = (d.transposeB ? k : n) + pad;
  d.strideC = n + pad;
  return d;
}

constexpr DType kTypes[] = {DType::F32, DType::BF16, DType::F64};

/// A library by name, chosen for all products of this process.
class GemmTest : public testing::TestWithParam<std::string> {
protected:
  const GemmLibrary &library() const {
    for (const GemmLibrary *library : gemmLibraryList())
      if (library->name() == GetParam())
        return *library;
    std::abort();
  }
};

std::vector<std::string> libraryNames() {
  std::vector<std::string> names;
  for (const GemmLibrary *library : gemmLibraryList())
    names.push_back(library->name());
  return names;
}

TEST_P(GemmTest, IsTheSumOfProducts) {
  // One is a weight that several threads read for two rows; the last ones are more than a block of prepared factors.
  const std::vector<std::vector<int64_t>> sizes = {{1, 1, 1},     {1, 70, 65},      {2, 1100, 130},
                                                   {3, 5, 7},     {6, 16, 300},     {65, 63, 61},
                                                   {200, 33, 20}, {5, 67, 1 << 14}, {67, 5, 1 << 14}};
  int64_t served = 0;
  for (const DType factors : kTypes)
    for (const auto &size : sizes)
      for (int form = 0; form < 4; ++form)
        for (int threads : {1, 2}) {
          const GemmDescription d = describe(size[0], size[1], size[2], form, factors, form == 0 ? 3 : 0);
          if (!library().serves(d, threads))
            continue;
          SCOPED_TRACE(testing::Message()
                       << size[0] << "," << size[1] << "," << size[2] << " form " << form << " threads " << threads);
          ++served;
          const Problem problem(d);
          Values c = problem.c, again = problem.c;
          library().run(d, problem.a.memory.data(), problem.b.memory.data(), c.memory.data(), threads);
          problem.expectClose(c);
          library().run(d, problem.a.memory.data(), problem.b.memory.data(), again.memory.data(), threads);
          EXPECT_EQ(again.memory, c.memory);
        }
  EXPECT_GT(served, 0);
}

INSTANTIATE_TEST_SUITE_P(Present, GemmTest, testing::ValuesIn(libraryNames()), [](const auto &info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(FewRowsTest, AnElementHasTheSameBitsAlone) {
  keepRowsApart(true);
  // The last one is a weight whose rows several threads read, in blocks.
  const std::vector<std::vector<int64_t>> sizes = {{5, 16}, {6, 31}, {7, 64}, {9, 100}, {67, 5}, {531, 1027}};
  for (const DType factors : kTypes)
    for (const auto &size : sizes)
      for (int64_t m : {int64_t(1), kFewRows, int64_t(7), kRowsApart}) {
        const GemmDescription d = describe(m, size[0], size[1], /*form=*/2, factors, /*pad=*/3);
        const Problem problem(d);
        const auto element = [](const Values &values, int64_t i, int64_t j) {
          const size_t width = values.type == DType::F64 ? 8 : values.type == DType::BF16 ? 2 : 4;
          return values.memory.data() + static_cast<size_t>(i * values.stride + j) * width;
        };
        Values alone = problem.c;
        for (int64_t i = 0; i < d.m; ++i)
          for (int64_t j = 0; j < d.n; ++j) {
            GemmDescription one = d;
            one.m = one.n = 1;
            ownGemm()->run(one, element(problem.a, i, 0), element(problem.b, j, 0),
                           const_cast<char *>(element(alone, i, j)), 1);
          }
        for (int threads : {1, 2, 3, 8}) {
          SCOPED_TRACE(testing::Message() << m << "," << d.n << "," << d.k << " threads " << threads);
          Values c = problem.c;
          ownGemm()->run(d, problem.a.memory.data(), problem.b.memory.data(), c.memory.data(), threads);
          EXPECT_EQ(c.memory, alone.memory);
        }
      }
  keepRowsApart(false);
}

TEST(GemmBiasTest, IsAdded) {
  for (const DType factors : kTypes)
    for (int64_t m : {1, 3, 270})
      for (int threads : {1, 2}) {
        SCOPED_TRACE(testing::Message() << "m " << m << " threads " << threads);
        const Problem problem(describe(m, 71, 30, 2, factors, threads));
        Values c = problem.c;
        gemm(problem.d, problem.a.memory.data(), problem.b.memory.data(), problem.bias.memory.data(), c.memory.data(),
             threads);
        problem.expectClose(c, /*withBias=*/true);
      }
}

TEST(GemmEmptyTest, HaveZeros) {
  GemmDescription d = describe(4, 5, 0, 0, DType::F32, 0);
  const std::vector<float> nothing(1), bias = {1, 2, 3, 4, 5};
  std::vector<float> c(20, 7), wanted;
  gemm(d, nothing.data(), nothing.data(), nullptr, c.data(), 1);
  EXPECT_EQ(c, std::vector<float>(20, 0));
  gemm(d, nothing.data(), nothing.data(), bias.data(), c.data(), 1);
  for (int i = 0; i < 4; ++i)
    wanted.insert(wanted.end(), bias.begin(), bias.end());
  EXPECT_EQ(c, wanted);
  d.m = 0;
  gemm(d, nullptr, nullptr, nullptr, nullptr, 1);
}

/// Factors of tiledProduct, E as in memory.
template <typename E> class TiledProductTest : public testing::Test {
protected:
  static constexpr DType type = std::is_same_v<E, Bf16> ? DType::BF16 : DType::F32;
  template <typename T> static Matrix<const T> matrix(const Values &x) {
    return {reinterpret_cast<const T *>(x.memory.data()), x.stride};
  }
};
using FactorTypes = testing::Types<float, Bf16>;
TYPED_TEST_SUITE(TiledProductTest, FactorTypes);

TYPED_TEST(TiledProductTest, BitsDoNotDependOnTheTile) {
  const int64_t m = 29, n = 83, k = 301;
  for (int form = 0; form < 4; ++form) {
    SCOPED_TRACE(form);
    const Problem problem(describe(m, n, k, form, this->type, 0));
    const bool transposeA = problem.d.transposeA, transposeB = problem.d.transposeB;
    const auto a = this->template matrix<TypeParam>(problem.a), b = this->template matrix<TypeParam>(problem.b);
    std::vector<float> whole(static_cast<size_t>(m * n)), part(whole.size());
    tiledProduct(transposeA, transposeB, m, n, k, 1.0f, a, b, 0.0f, Matrix<float>{whole.data(), n});
    for (int64_t i = 0; i < m; i += 5)
      for (int64_t j = 0; j < n; j += 11)
        tiledProduct(transposeA, transposeB, std::min<int64_t>(5, m - i), std::min<int64_t>(11, n - j), k, 1.0f,
                     transposeA ? a.right(i) : a.below(i), transposeB ? b.below(j) : b.right(j), 0.0f,
                     Matrix<float>{part.data() + i * n + j, n});
    EXPECT_EQ(whole, part);
  }
}

TYPED_TEST(TiledProductTest, AddsToWhatIsThere) {
  for (int64_t m : {1, 6, 8, 15, 70})
    for (int64_t n : {1, 16, 31, 64})
      for (int64_t k : {0, 1, 2, 33, 256, 259})
        for (int form = 0; form < 4; ++form)
          for (const auto &[alpha, beta] : {std::pair(1.0f, 1.0f), {-0.5f, 0.0f}, {2.0f, -3.0f}}) {
            SCOPED_TRACE(testing::Message()
                         << m << "x" << n << "x" << k << " form " << form << ": " << alpha << ", " << beta);
            const Problem problem(describe(m, n, k, form, this->type, 3));
            Values c = problem.c;
            tiledProduct(problem.d.transposeA, problem.d.transposeB, m, n, k, alpha,
                         this->template matrix<TypeParam>(problem.a), this->template matrix<TypeParam>(problem.b), beta,
                         Matrix<float>{reinterpret_cast<float *>(c.memory.data()), c.stride});
            double worst = 0;
            for (int64_t i = 0; i < m; ++i)
              for (int64_t j = 0; j < c.stride; ++j) {
                const double wanted = j < n ? static_cast<double>(alpha) * problem.expected(i, j, false) +
                                                  (beta == 0 ? 0 : static_cast<double>(beta) * problem.c.at(i, j))
                                            : problem.c.at(i, j);
                worst = std::max(worst, std::abs(c.at(i, j) - wanted) / (1 + std::abs(wanted)));
              }
            ASSERT_LT(worst, 3e-6 * (2 + std::sqrt(static_cast<double>(k))));
          }
}

TEST(MultiplyRoundedTest, IsTheProductOfRoundedFactors) {
  for (int64_t m : {1, 9, 64, 67})
    for (int64_t n : {1, 31, 64})
      for (int64_t k : {1, 2, 15, 33, 64, 259})
        for (int form = 0; form < 4; ++form) {
          SCOPED_TRACE(testing::Message() << m << "x" << n << "x" << k << " form " << form);
          const GemmDescription wide = describe(m, n, k, form, DType::F32, 3),
                                d = describe(m, n, k, form, DType::BF16, 3);
          // The same numbers are drawn for both types.
          const Problem problem(wide), rounded(d);
          Values c = problem.c;
          const auto matrix = [](const Values &x) {
            return Matrix<const float>{reinterpret_cast<const float *>(x.memory.data()), x.stride};
          };
          multiplyRounded(d.transposeA, d.transposeB, m, n, k, 2, matrix(problem.a), matrix(problem.b), -1,
                          Matrix<float>{reinterpret_cast<float *>(c.memory.data()), c.stride});
          double worst = 0;
          for (int64_t i = 0; i < m; ++i)
            for (int64_t j = 0; j < c.stride; ++j) {
              const double before = problem.c.at(i, j),
                           wanted = j < n ? 2 * rounded.expected(i, j, false) - before : before;
              worst = std::max(worst, std::abs(c.at(i, j) - wanted) / (1 + std::abs(wanted)));
            }
          ASSERT_LT(worst, 3e-6 * (2 + std::sqrt(static_cast<double>(k))));
        }
}

class GemmChoiceTest : public testing::Test {
protected:
  void SetUp() override {
    if (gemmLibraryList().size() < 2)
      GTEST_SKIP() << "one library alone: nothing to choose";
    if (std::getenv("MORPH_PRODUCTS"))
      GTEST_SKIP() << "MORPH_PRODUCTS is set";
    char name[] = "/tmp/morph-products-XXXXXX";
    folder = mkdtemp(name);
    path = folder + "/products.json";
  }
  void TearDown() override {
    if (!folder.empty())
      std::filesystem::remove_all(folder);
  }
  std::string folder, path;
  const GemmDescription description = describe(100, 120, 130, 0, DType::F32, 0);
};

TEST_F(GemmChoiceTest, IsKeptForLaterProcesses) {
  GemmChoices first(path, 1), second(path, 1);
  const GemmLibrary &chosen = first.choose(description);
  EXPECT_EQ(first.measured(), 1);
  EXPECT_EQ(&second.choose(description), &chosen);
  EXPECT_EQ(second.measured(), 0);
  EXPECT_EQ(&first.choose(description), &chosen);
  EXPECT_EQ(first.measured(), 1);
}

TEST_F(GemmChoiceTest, TheFileCountsNotTheMeasurement) {
  GemmChoices(path, 1).choose(description);
  std::string text = *readTextFile(path);
  const std::string chosen = GemmChoices(path, 1).choose(description).name();
  const std::string other = chosen == "own" ? "mkl" : "own";
  text.replace(text.find("\": \"" + chosen + "\""), chosen.size() + 6, "\": \"" + other + "\"");
  ASSERT_TRUE(writeFile(path, text).ok());
  EXPECT_EQ(GemmChoices(path, 1).choose(description).name(), other);
}

TEST_F(GemmChoiceTest, WrongFilesAreMadeAgain) {
  GemmChoices(path, 1).choose(description);
  const std::string good = *readTextFile(path);
  const std::vector<std::string> wrong = {
      "",
      "{",
      "[]",
      "7",
      good.substr(0, good.size() / 2),
      std::string(300, '['),
      std::string("\0\xff\xfe", 3),
      R"({"version": 1, "libraries": ")" + gemmLibraries() + R"(", "choices": {"f32 nn 128x128x256": "evil"}})",
      R"({"version": 1, "libraries": ")" + gemmLibraries() + R"(", "choices": {"f32 nn 128x128x256": 3}})",
      R"({"version": 1, "libraries": "others", "choices": {"f32 nn 128x128x256": "own"}})",
      R"({"version": "x", "libraries": 3, "choices": []})",
      R"({"choices": {}})"};
  for (const std::string &text : wrong) {
    SCOPED_TRACE(text.substr(0, 60));
    ASSERT_TRUE(writeFile(path, text).ok());
    GemmChoices choices(path, 1);
    const GemmLibrary &chosen = choices.choose(description);
    EXPECT_EQ(choices.measured(), 1);
    GemmChoices later(path, 1);
    EXPECT_EQ(&later.choose(description), &chosen);
    EXPECT_EQ(later.measured(), 0);
  }
}

TEST_F(GemmChoiceTest, NoFileIsNoMeasurementThatCounts) {
  GemmChoices none("", 1), nowhere(folder + "/missing/products.json", 1);
  const GemmLibrary &chosen = none.choose(description);
  EXPECT_EQ(none.measured(), 0);
  EXPECT_EQ(&nowhere.choose(description), &chosen);
}

TEST_F(GemmChoiceTest, SeveralAtOnceAgree) {
  // Each with an object of its own, as processes have: they meet at the file alone.
  const std::vector<int64_t> widths = {100, 200, 400};
  auto described = [](int64_t n) { return describe(100, n, 100, 0, DType::F32, 0); };
  std::vector<std::vector<const GemmLibrary *>> taken(4);
  std::vector<std::thread> threads;
  for (auto &mine : taken)
    threads.emplace_back([&] {
      GemmChoices choices(path, 1);
      for (int64_t n : widths)
        mine.push_back(&choices.choose(described(n)));
    });
  for (std::thread &thread : threads)
    thread.join();
  GemmChoices later(path, 1);
  for (size_t i = 0; i < widths.size(); ++i)
    for (const auto &mine : taken)
      EXPECT_EQ(mine[i], &later.choose(described(widths[i])));
  EXPECT_EQ(later.measured(), 0);
}

} // namespace
} // namespace morph
