// SPDX-License-Identifier: Apache-2.0
// An objective of subsets of layers, measured once for each subset and kept in a file.

#ifndef MORPH_RUNTIME_TRAIN_SELECT_MEASUREDSUBSETS_H
#define MORPH_RUNTIME_TRAIN_SELECT_MEASUREDSUBSETS_H

#include "runtime/train/select/SwapSearch.h"

namespace morph {

/// What measurements took.
struct MeasureCost {
  int64_t tokens = 0;
  double flops = 0, seconds = 0;
};

/// Remembers the values of subsets. A search that is stopped and begun again asks for the same subsets in the same
/// order, so it goes on where it was.
class MeasuredSubsets {
public:
  /// Measures a subset and adds to the cost.
  using Measure = std::function<StatusOr<std::vector<double>>(const std::vector<int64_t> &kept, MeasureCost &cost)>;

  /// Reads `path`, where there is such a file. `fingerprint` is of what the values depend on; a file of another one is
  /// refused.
  static StatusOr<MeasuredSubsets> open(std::string path, std::string fingerprint, Measure measure);

  /// The subset's values; a new one is measured, and is in the file when this returns.
  StatusOr<std::vector<double>> values(const std::vector<int64_t> &kept);

  /// Of all subsets, those read from the file too.
  const MeasureCost &cost() const { return cost_; }

private:
  Status write() const;
  std::string path_, fingerprint_;
  Measure measure_;
  std::map<std::vector<int64_t>, std::vector<double>> known_;
  MeasureCost cost_;
};

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_SELECT_MEASUREDSUBSETS_H
