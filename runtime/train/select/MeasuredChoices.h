// SPDX-License-Identifier: Apache-2.0
// An objective of choices, measured once for each and kept in a file.

#ifndef MORPH_RUNTIME_TRAIN_SELECT_MEASUREDCHOICES_H
#define MORPH_RUNTIME_TRAIN_SELECT_MEASUREDCHOICES_H

#include "runtime/train/select/SwapSearch.h"

namespace morph {

/// What measurements took.
struct MeasureCost {
  int64_t tokens = 0;
  double flops = 0, seconds = 0;
};

/// Remembers the values of choices. A search that is stopped and begun again asks for the same choices in the same
/// order, so it goes on where it was.
class MeasuredChoices {
public:
  /// Measures a choice and adds to the cost.
  using Measure = std::function<StatusOr<std::vector<double>>(const Choice &choice, MeasureCost &cost)>;

  /// Reads `path`, where there is such a file. `fingerprint` is of what the values depend on; a file of another one is
  /// refused. With `writes` new values go into it: of several processes that measure together, the leader's do.
  static StatusOr<MeasuredChoices> open(std::string path, std::string fingerprint, Measure measure, bool writes = true);

  /// The choice's values; a new one is measured, and is in the file when this returns.
  StatusOr<std::vector<double>> values(const Choice &choice);

  /// Of all choices, those read from the file too.
  const MeasureCost &cost() const { return cost_; }

private:
  Status write() const;
  std::string path_, fingerprint_;
  Measure measure_;
  bool writes_ = true;
  std::map<Choice, std::vector<double>> known_;
  MeasureCost cost_;
};

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_SELECT_MEASUREDCHOICES_H
