// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/Updates.h"

#include <algorithm>

namespace morph::plan {

static Status violated(const std::string &label, const std::string &message) {
  return Status::invalid(label.empty() ? message : label + ": " + message);
}

int64_t UpdateRules::outsideOf(int64_t value) const {
  auto place = memory_.find(value);
  return place == memory_.end() ? -1 : place->second.outside;
}

Status UpdateRules::read(int64_t value, const std::string &what) const {
  auto place = memory_.find(value);
  if (place == memory_.end())
    return Status();
  const Outside &outside = outside_.at(place->second.outside);
  if (outside.updates == place->second.updates)
    return Status();
  return violated(readLabel_, what + " is read after '" + outside.lastOp + "' has updated its memory");
}

Status UpdateRules::addInstruction(const Instruction &instruction, const OpRule &rule) {
  for (size_t i = 0; i < instruction.operands.size(); ++i)
    MORPH_RETURN_IF_ERROR(read(instruction.operands[i], "operand '" + operandRuleAt(instruction, rule, i).name + "'"));
  if (!rule.viewOf.empty()) {
    const int64_t viewed = operandValue(instruction, rule, rule.viewOf);
    if (auto place = memory_.find(viewed); place != memory_.end())
      memory_[instruction.results[0]] = Place(place->second);
    return Status();
  }
  const std::vector<int64_t> updated = updatedValues(instruction, rule);
  for (size_t r = 0; r < updated.size(); ++r)
    if (updated[r] >= 0)
      if (Status status = update(instruction, r, updated[r]); !status.ok())
        return violated(updatedLabel_, "operand '" + rule.updates[r] + "' is updated, but " + status.message());
  return Status();
}

Status UpdateRules::update(const Instruction &instruction, size_t result, int64_t operand) {
  const int64_t where = outsideOf(operand);
  auto outside = outside_.find(where);
  if (outside == outside_.end() || !outside->second.mayBeUpdated)
    return Status::invalid("lies in no input and in no weight that the program trains");
  const auto &operands = instruction.operands;
  if (std::count_if(operands.begin(), operands.end(), [&](int64_t other) { return outsideOf(other) == where; }) > 1)
    return Status::invalid("another operand lies in the same memory");
  outside->second.lastOp = instruction.op;
  memory_[instruction.results[result]] = {where, ++outside->second.updates};
  return Status();
}

std::vector<bool> updatedInputs(const Plan &plan) {
  UpdateRules rules;
  for (const NamedValue &input : plan.inputs)
    rules.addOutside(input.value, true);
  for (int64_t value : plan.weightValues)
    rules.addOutside(value, true);
  for (const Instruction &instruction : plan.instructions)
    (void)rules.addInstruction(instruction, *findOpRule(instruction.op)); // The plan is valid.
  std::vector<bool> updated;
  for (const NamedValue &input : plan.inputs)
    updated.push_back(rules.isUpdated(input.value));
  return updated;
}

} // namespace morph::plan
