// SPDX-License-Identifier: Apache-2.0
// Intervals of 95 % for what an evaluation reports: shares, means, and differences of two models on the same samples.

#ifndef MORPH_RUNTIME_BASE_INTERVALS_H
#define MORPH_RUNTIME_BASE_INTERVALS_H

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <optional>
#include <vector>

namespace morph {

/// The normal distribution's quantile that leaves 2.5 % above it.
inline constexpr double kNormalQuantile = 1.959963984540054;

struct Interval {
  double low = 0, high = 0;
};

/// Wilson's score interval of a share in [0, 1] of `count` > 0 independent answers (Wilson 1927).
inline Interval wilsonInterval(double share, double count) {
  const double z2 = kNormalQuantile * kNormalQuantile, scale = 1 + z2 / count;
  const double middle = (share + z2 / (2 * count)) / scale;
  const double half = kNormalQuantile / scale * std::sqrt(share * (1 - share) / count + z2 / (4 * count * count));
  // At 0 and 1 the formula gives them exactly but for rounding.
  return {share <= 0 ? 0 : std::max(0.0, middle - half), share >= 1 ? 1 : std::min(1.0, middle + half)};
}

inline double meanOf(const std::vector<double> &values) {
  double sum = 0;
  for (double value : values)
    sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

/// Sum of (a - mean a)(b - mean b); the vectors are of one size.
inline double coSquares(const std::vector<double> &a, const std::vector<double> &b) {
  const double meanA = meanOf(a), meanB = meanOf(b);
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    sum += (a[i] - meanA) * (b[i] - meanB);
  return sum;
}

/// A share with its interval.
struct Share {
  double value = 0;
  Interval interval;
};

/// The share of right answers from each sample's own share, a sample having `answersPerSample` answers. Answers of one
/// sample are not independent: Wilson's interval is taken at the effective count p (1 - p) / (standard error over
/// samples)^2, as survey sampling does (Korn and Graubard 1998), never below the samples nor above the answers. With
/// one answer a sample it is Wilson's plain interval. `bySample` is not empty.
inline Share estimateShare(const std::vector<double> &bySample, double answersPerSample) {
  const double samples = static_cast<double>(bySample.size()), share = meanOf(bySample);
  double count = samples;
  if (const double squares = coSquares(bySample, bySample); squares > 0 && samples > 1)
    count = std::clamp(share * (1 - share) * samples * (samples - 1) / squares, samples, samples * answersPerSample);
  return {share, wilsonInterval(share, count)};
}

/// The interval of share a - share b of two models on the same samples: Wilson's limits of each put together with the
/// samples' correlation (Newcombe 1998, paired method 8; MOVER of Zou and Donner 2008). Where both are right in the
/// same samples it is [0, 0] for a share of .5, whose limits are equally far from it; for shares of 0 and 1 it is not.
inline Interval pairedShareInterval(const std::vector<double> &a, const std::vector<double> &b,
                                    double answersPerSample) {
  const Share first = estimateShare(a, answersPerSample), second = estimateShare(b, answersPerSample);
  const double squares = coSquares(a, a) * coSquares(b, b);
  const double correlation = squares > 0 ? coSquares(a, b) / std::sqrt(squares) : 0;
  const auto distance = [&](double left, double right) {
    return std::sqrt(std::max(0.0, left * left - 2 * correlation * left * right + right * right));
  };
  const double difference = first.value - second.value;
  return {difference - distance(first.value - first.interval.low, second.interval.high - second.value),
          difference + distance(first.interval.high - first.value, second.value - second.interval.low)};
}

/// The value at a share of the sorted values' range, between two by a straight line; 0 of none.
inline double quantile(std::vector<double> values, double share) {
  if (values.empty())
    return 0;
  std::sort(values.begin(), values.end());
  const double at = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(at);
  const double above = values[std::min(below + 1, values.size() - 1)];
  return values[below] + (at - static_cast<double>(below)) * (above - values[below]);
}

/// The value in the middle, of an even count the mean of both; 0 of none.
inline double median(std::vector<double> values) { return quantile(std::move(values), 0.5); }

/// Student's quantile that leaves 2.5 % above it (Abramowitz and Stegun 26.7.5; exact values where that is rough).
inline double studentQuantile(size_t freedom) {
  constexpr double few[] = {12.706204736, 4.302652730, 3.182446305, 2.776445105, 2.570581836,
                            2.446911851,  2.364624252, 2.306004135, 2.262157163, 2.228138852};
  if (freedom >= 1 && freedom <= std::size(few))
    return few[freedom - 1];
  const double z = kNormalQuantile, v = static_cast<double>(freedom), z2 = z * z;
  return z + z * (z2 + 1) / (4 * v) + z * ((5 * z2 + 16) * z2 + 3) / (96 * v * v) +
         z * (((3 * z2 + 19) * z2 + 17) * z2 - 15) / (384 * v * v * v);
}

/// Student's interval of a mean over samples; none of fewer than two. For differences of two models give the samples'
/// differences.
inline std::optional<Interval> meanInterval(const std::vector<double> &values) {
  if (values.size() < 2)
    return std::nullopt;
  const double count = static_cast<double>(values.size()), mean = meanOf(values);
  const double half = studentQuantile(values.size() - 1) * std::sqrt(coSquares(values, values) / (count - 1) / count);
  return Interval{mean - half, mean + half};
}

} // namespace morph

#endif // MORPH_RUNTIME_BASE_INTERVALS_H
