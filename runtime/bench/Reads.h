// SPDX-License-Identifier: Apache-2.0
// How long this machine takes to read bytes once: what a step of decoding could take if it only read.

#ifndef MORPH_RUNTIME_BENCH_READS_H
#define MORPH_RUNTIME_BENCH_READS_H

#include <ATen/ATen.h>

#include <vector>

namespace morph {

/// Reads as many bytes as a step does, over and over, so that what fits into the CPU's caches is read from there as in
/// a step.
class ReadTimer {
public:
  explicit ReadTimer(double bytes) : bytes_(bytes) {}
  /// Reads once more; to be called between the samples of what is compared with it.
  void round();
  /// Seconds to read the bytes once: the median.
  double seconds() const;

private:
  double bytes_;
  at::Tensor buffer_; ///< Made by the first round; of many bytes a part that no cache holds.
  std::vector<double> seconds_;
};

} // namespace morph

#endif // MORPH_RUNTIME_BENCH_READS_H
