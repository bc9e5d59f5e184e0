// SPDX-License-Identifier: Apache-2.0

#include "runtime/bench/Sampler.h"

#include <algorithm>
#include <cmath>

namespace morph {

double mean(const std::vector<double> &values) {
  double sum = 0;
  for (double value : values)
    sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

double spread(const std::vector<double> &values) {
  if (values.empty())
    return 0;
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  return (*most - *least) / median(values);
}

bool Sampler::stepDone() {
  const double elapsed = std::chrono::duration<double>(Clock::now() - begin_).count();
  if (warmup_ > 0) {
    --warmup_;
    // The last step of the warm-up says how long one takes.
    if (warmup_ == 0) {
      inner_ = static_cast<int64_t>(std::clamp(std::ceil(leastSeconds_ / std::max(elapsed, 1e-9)), 1.0, 1e6));
      between_();
    }
    begin_ = Clock::now();
    return repeat_ == 0 && warmup_ == 0;
  }
  if (++done_ < inner_)
    return false;
  done_ = 0;
  seconds_.push_back(elapsed / static_cast<double>(inner_));
  between_();
  begin_ = Clock::now();
  return static_cast<int64_t>(seconds_.size()) >= repeat_;
}

} // namespace morph
