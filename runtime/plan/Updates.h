// SPDX-License-Identifier: Apache-2.0
// Which values lie in memory that instructions write in place, and who may read them: the compiler checks programs by
// it, and plans are checked by it.

#ifndef MORPH_RUNTIME_PLAN_UPDATES_H
#define MORPH_RUNTIME_PLAN_UPDATES_H

#include "runtime/plan/OpTable.h"

#include <map>

namespace morph::plan {

/// Follows a program from its first instruction to its outputs. What is updated is memory that was there before the
/// run: that of an input, or of a weight that the program trains; the value itself, a view of it, or what an earlier
/// update made of it. A value is read only until its memory is updated: so every value keeps its meaning, whatever it
/// lies in.
class UpdateRules {
public:
  /// Labels of constraints that messages begin with, or empty: that on what is updated, and that on what is read.
  explicit UpdateRules(std::string updatedLabel = "", std::string readLabel = "")
      : updatedLabel_(std::move(updatedLabel)), readLabel_(std::move(readLabel)) {}

  /// A value in memory of its own that was there before the run.
  void addOutside(int64_t value, bool mayBeUpdated) {
    memory_[value] = {value, 0};
    outside_[value] = {mayBeUpdated, 0, ""};
  }
  /// Errors name the operand.
  Status addInstruction(const Instruction &instruction, const OpRule &rule);
  /// An error about `what` where the value's memory has been updated since the value was made.
  Status read(int64_t value, const std::string &what) const;
  /// The value before the run in whose memory a value lies, or -1.
  int64_t outsideOf(int64_t value) const;
  /// Whether an instruction has updated the memory of what `addOutside` was given.
  bool isUpdated(int64_t outside) const { return outside_.at(outside).updates > 0; }

private:
  struct Place {
    int64_t outside = -1;
    int64_t updates = 0; ///< How many the memory had had when the value was made.
  };
  struct Outside {
    bool mayBeUpdated = false;
    int64_t updates = 0;
    std::string lastOp; ///< That updated it.
  };
  std::string updatedLabel_, readLabel_;
  std::map<int64_t, Place> memory_;
  std::map<int64_t, Outside> outside_;

  Status update(const Instruction &instruction, size_t result, int64_t operand);
};

/// The inputs of a validated plan whose memory its instructions write: one flag an input.
std::vector<bool> updatedInputs(const Plan &plan);

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_UPDATES_H
