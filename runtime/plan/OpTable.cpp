// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/OpTable.h"

#include "runtime/plan/Cost.h"
#include "runtime/plan/Scratch.h"

#include <algorithm>

namespace morph::plan {

namespace {

/// A function a rule: one with all of them takes a compiler three times as long.
constexpr OpRule (*kRules[])() = {
#include "runtime/plan/OpTable.inc"
};

std::map<std::string, OpRule> makeTable() {
  std::vector<OpRule> rules;
  for (const auto rule : kRules)
    rules.push_back(rule());
  // A launch is what the plan's kernel says, which no rule can.
  OpRule launch;
  launch.name = "launch";
  launch.operands = {{"arguments", Arity::Variadic, false, true, false}};
  launch.attributes = {{"kernel", AttributeKind::Text, true}};
  launch.scratch = launchScratch;
  rules.push_back(std::move(launch));
  std::map<std::string, OpRule> table;
  for (OpRule &rule : rules) {
    // The sizes of variadic operands are attributes like the others.
    for (const OperandRule &operand : rule.operands)
      if (operand.arity == Arity::Variadic)
        rule.attributes.push_back({operand.name + "_count", AttributeKind::Integer, true});
    table[rule.name] = rule;
  }
  return table;
}

const std::map<std::string, OpRule> &table() {
  static const std::map<std::string, OpRule> rules = makeTable();
  return rules;
}

int64_t slots(const Instruction &instruction, const OperandRule &operand) {
  return operand.arity == Arity::Variadic ? variadicCount(instruction, operand.name) : 1;
}

} // namespace

int64_t OpRule::operandIndex(const std::string &operand) const {
  for (size_t i = 0; i < operands.size(); ++i)
    if (operands[i].name == operand)
      return static_cast<int64_t>(i);
  return -1;
}

DType resultType(const OpRule &rule, const std::map<std::string, Attribute> &attributes) {
  if (rule.resultType == "f32")
    return DType::F32;
  return std::get<std::string>(attributes.at(rule.resultType)) == "bf16" ? DType::BF16 : DType::F32;
}

const OpRule *findOpRule(const std::string &op) {
  auto found = table().find(op);
  return found == table().end() ? nullptr : &found->second;
}

std::vector<std::string> opNames() {
  std::vector<std::string> names;
  for (const auto &[name, rule] : table())
    names.push_back(name);
  return names;
}

int64_t variadicCount(const Instruction &instruction, const std::string &name) {
  auto found = instruction.attributes.find(name + "_count");
  const int64_t *count = found == instruction.attributes.end() ? nullptr : std::get_if<int64_t>(&found->second);
  // Bounded, so that a hostile count cannot overflow the sums below.
  return count ? std::clamp<int64_t>(*count, 0, 1 << 20) : 0;
}

int64_t operandPosition(const Instruction &instruction, const OpRule &rule, const std::string &name) {
  int64_t position = 0;
  for (const OperandRule &operand : rule.operands) {
    if (operand.name == name)
      return position;
    position += slots(instruction, operand);
  }
  return -1;
}

int64_t operandValue(const Instruction &instruction, const OpRule &rule, const std::string &name) {
  return instruction.operands[static_cast<size_t>(operandPosition(instruction, rule, name))];
}

std::vector<int64_t> updatedValues(const Instruction &instruction, const OpRule &rule) {
  std::vector<int64_t> updated(instruction.results.size(), -1);
  for (size_t r = 0; r < std::min(updated.size(), rule.updates.size()); ++r)
    if (!rule.updates[r].empty())
      updated[r] = operandValue(instruction, rule, rule.updates[r]);
  return updated;
}

bool updatesInPlace(const Instruction &instruction, const OpRule &rule) {
  const std::vector<int64_t> values = updatedValues(instruction, rule);
  return std::any_of(values.begin(), values.end(), [](int64_t value) { return value >= 0; });
}

const OperandRule &operandRuleAt(const Instruction &instruction, const OpRule &rule, size_t position) {
  int64_t end = 0;
  for (const OperandRule &operand : rule.operands) {
    end += slots(instruction, operand);
    if (static_cast<int64_t>(position) < end)
      return operand;
  }
  return rule.operands.back();
}

size_t expectedOperands(const Instruction &instruction, const OpRule &rule) {
  int64_t count = 0;
  for (const OperandRule &operand : rule.operands)
    count += slots(instruction, operand);
  return static_cast<size_t>(count);
}

} // namespace morph::plan
