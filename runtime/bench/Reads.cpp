// SPDX-License-Identifier: Apache-2.0

#include "runtime/bench/Reads.h"

#include "runtime/bench/Sampler.h"

#include <algorithm>

namespace morph {

void ReadTimer::round() {
  constexpr double kLargest = 1 << 30;
  if (!buffer_.defined())
    buffer_ = at::ones({static_cast<int64_t>(std::clamp(bytes_, 4.0, kLargest)) / 4}, at::kFloat);
  // A sum of all elements runs at the speed of memory, on all threads.
  Sampler sampler(/*warmup=*/1, /*repeat=*/1, /*leastSeconds=*/5e-2, [] {});
  do
    buffer_.sum();
  while (!sampler.stepDone());
  seconds_.push_back(sampler.seconds().front() * bytes_ / static_cast<double>(buffer_.nbytes()));
}

double ReadTimer::seconds() const { return median(seconds_); }

} // namespace morph
