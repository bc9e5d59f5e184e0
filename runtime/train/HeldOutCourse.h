// SPDX-License-Identifier: Apache-2.0
// Held-out losses in the course of a training, and the step at which they were best.

#ifndef MORPH_RUNTIME_TRAIN_HELDOUTCOURSE_H
#define MORPH_RUNTIME_TRAIN_HELDOUTCOURSE_H

#include "runtime/base/Json.h"
#include "runtime/train/HeldOut.h"

#include <map>
#include <string>
#include <vector>

namespace morph {

/// What was measured after some steps.
struct HeldOutParts {
  int64_t step = 0; ///< Steps done.
  /// One a sequence, by part of the data: a task's name, or "text".
  std::map<std::string, std::vector<double>> losses;
  int64_t tokens = 0; ///< Measured.
  double flops = 0;   ///< Without what was kept of the teacher.
};

/// Best is where the parts' losses are least in units of those that they had at first, in the mean over parts, among
/// the steps at which no part is worse than it was at first.
class HeldOutCourse {
public:
  /// Adds what was measured, on the same parts and sequences as all before it; whether that is the best so far, as the
  /// first is.
  bool add(HeldOutParts parts);

  bool empty() const { return course_.empty(); }
  const HeldOutParts &first() const { return course_.front(); }
  const HeldOutParts &last() const { return course_.back(); }
  const HeldOutParts &best() const { return course_[best_]; }
  /// How many measurements have come since the best.
  int64_t sinceBest() const { return static_cast<int64_t>(course_.size() - 1 - best_); }
  const std::vector<HeldOutParts> &all() const { return course_; }

  /// The parts whose loss is above that of `first` by more than the 95 % interval of the paired difference, and by how
  /// much: what the sequences' own spread would hide shows in the differences.
  std::map<std::string, MeanAndError> worse(const HeldOutParts &parts) const;

  /// For checkpoints. `restore` throws Json::exception on anything that is not `state`'s.
  Json state() const;
  void restore(const Json &state);

private:
  double relative(const HeldOutParts &parts) const;

  std::vector<HeldOutParts> course_;
  size_t best_ = 0;
};

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_HELDOUTCOURSE_H
