// SPDX-License-Identifier: Apache-2.0
// Intervals against published examples.

#include "runtime/base/Intervals.h"

#include <gtest/gtest.h>

namespace morph {
namespace {

TEST(Intervals, WilsonAsPublished) {
  // Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3: 81/263, 15/148, 0/20, 1/29.
  const struct {
    double right, count, low, high;
  } cases[] = {{81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0, 0.1611}, {1, 29, 0.0061, 0.1718}};
  for (const auto &c : cases) {
    const Interval interval = wilsonInterval(c.right / c.count, c.count);
    EXPECT_NEAR(interval.low, c.low, 5e-5) << c.right;
    EXPECT_NEAR(interval.high, c.high, 5e-5) << c.right;
  }
  EXPECT_EQ(wilsonInterval(1, 64).high, 1);
}

/// `right` ones among `count` samples.
std::vector<double> ones(size_t right, size_t count) {
  std::vector<double> values(count, 0);
  std::fill(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(right), 1);
  return values;
}

TEST(Intervals, OneAnswerASampleIsWilsonsPlain) {
  const Share share = estimateShare(ones(15, 148), 1);
  EXPECT_NEAR(share.interval.low, 0.0624, 5e-5);
  EXPECT_NEAR(share.interval.high, 0.1605, 5e-5);
}

TEST(Intervals, AnswersOfOneSampleCountByWhatTheyTell) {
  // All answers of a sample alike: they tell no more than one. All samples alike: no more is known than by samples.
  EXPECT_NEAR(estimateShare(ones(15, 148), 14).interval.high, 0.1605, 1e-3);
  const Share alike = estimateShare(std::vector<double>(64, 1.0), 14);
  EXPECT_NEAR(alike.interval.low, wilsonInterval(1, 64).low, 1e-12);
  // Shares that scatter as independent answers do: about as many answers as there are.
  std::vector<double> scattered;
  for (int i = 0; i < 64; ++i)
    scattered.push_back(i % 2 ? 0.5 + 0.5 / std::sqrt(14.0) : 0.5 - 0.5 / std::sqrt(14.0));
  const Interval interval = estimateShare(scattered, 14).interval, expected = wilsonInterval(0.5, 64 * 14);
  EXPECT_NEAR(interval.low, expected.low, 1e-3);
  EXPECT_NEAR(interval.high, expected.high, 1e-3);
  // However little they scatter, there are no more answers than that.
  for (double &share : scattered)
    share = share > 0.5 ? 0.51 : 0.49;
  EXPECT_NEAR(estimateShare(scattered, 14).interval.low, expected.low, 1e-12);
}

TEST(Intervals, PairedDifferencesAsPublished) {
  // Newcombe 1998 (Statistics in Medicine 17:2635), method 8 (score limits with the correlation phi), which its table
  // gives for the cells (both, first only, second only, none) = (36, 12, 2, 0): 0.0569 to 0.3404.
  std::vector<double> a = ones(48, 50), b = ones(36, 50);
  std::fill(b.end() - 2, b.end(), 1);
  const Interval interval = pairedShareInterval(a, b, 1);
  EXPECT_NEAR(interval.low, 0.0569, 5e-4);
  EXPECT_NEAR(interval.high, 0.3404, 5e-4);
  // Pairing narrows what moves together.
  const Interval paired = pairedShareInterval(ones(30, 60), ones(25, 60), 1);
  std::vector<double> reversed = ones(25, 60);
  std::reverse(reversed.begin(), reversed.end());
  const Interval unlike = pairedShareInterval(ones(30, 60), reversed, 1);
  EXPECT_LT(paired.high - paired.low, unlike.high - unlike.low);
  // All right against all wrong is not certain.
  EXPECT_LT(pairedShareInterval(ones(8, 8), ones(0, 8), 1).low, 0.8);
}

TEST(Intervals, MeansByStudent) {
  EXPECT_FALSE(meanInterval({1.0}));
  for (const auto &[freedom, quantile] :
       {std::pair<size_t, double>{1, 12.7062}, {2, 4.3027}, {3, 3.1824}, {5, 2.5706}, {10, 2.2281}, {63, 1.9983}})
    EXPECT_NEAR(studentQuantile(freedom), quantile, 3e-3) << freedom;
  const Interval interval = *meanInterval({1, 2, 3, 4, 5, 6});
  EXPECT_NEAR(interval.low, 3.5 - 2.5706 * 1.8708 / std::sqrt(6.0), 3e-3);
  EXPECT_NEAR(interval.high, 3.5 + 2.5706 * 1.8708 / std::sqrt(6.0), 3e-3);
}

} // namespace
} // namespace morph
