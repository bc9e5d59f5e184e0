// SPDX-License-Identifier: Apache-2.0
// When to look at the clock: warm-up, samples of enough steps, their median and spread.

#ifndef MORPH_RUNTIME_BENCH_SAMPLER_H
#define MORPH_RUNTIME_BENCH_SAMPLER_H

#include "runtime/base/Intervals.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

namespace morph {

/// 0 of none.
double mean(const std::vector<double> &values);
/// (largest - least) / median.
double spread(const std::vector<double> &values);

/// Follows steps that are run one after the other.
class Sampler {
public:
  using Clock = std::chrono::steady_clock;
  /// A sample takes as many steps as fill `leastSeconds`. `between` runs untimed after the warm-up and after each
  /// sample.
  Sampler(int64_t warmup, int64_t repeat, double leastSeconds, std::function<void()> between)
      : warmup_(warmup), repeat_(repeat), leastSeconds_(leastSeconds), between_(std::move(between)) {}

  /// After each step: whether there are enough samples.
  bool stepDone();

  /// Seconds a step, one a sample.
  const std::vector<double> &seconds() const { return seconds_; }
  /// Steps that the samples had together.
  int64_t steps() const { return inner_ * static_cast<int64_t>(seconds_.size()); }
  bool warm() const { return warmup_ <= 0; }

private:
  int64_t warmup_, repeat_;
  double leastSeconds_;
  std::function<void()> between_;
  int64_t inner_ = 1, done_ = 0;
  std::vector<double> seconds_;
  Clock::time_point begin_ = Clock::now();
};

} // namespace morph

#endif // MORPH_RUNTIME_BENCH_SAMPLER_H
