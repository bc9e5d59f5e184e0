// SPDX-License-Identifier: Apache-2.0
// Any plan as one of precision bf16.

#ifndef MORPH_TEST_PLAN_WITHBF16_H
#define MORPH_TEST_PLAN_WITHBF16_H

#include "runtime/plan/OpTable.h"

#include <set>

namespace morph {

/// The plan with the factors of products and the rings of keys and values in bf16, as morph-assign-precision makes it.
/// `trained` are weights that stay fp32 although the plan has no gradient of them.
inline plan::Plan withBf16(plan::Plan plan, const std::set<std::string> &trained = {}) {
  std::map<int64_t, bool> onlyFactors; // Frozen weights.
  for (size_t w = 0; w < plan.weights.size(); ++w)
    if (!plan.weights[w].trainable && !plan.weights[w].gate && !trained.count(plan.weights[w].name))
      onlyFactors[plan.weightValues[w]] = true;
  auto isFactor = [](const plan::Instruction &instruction, size_t o) {
    return plan::operandRuleAt(instruction, *plan::findOpRule(instruction.op), o).factor;
  };
  for (const plan::Instruction &instruction : plan.instructions)
    for (size_t o = 0; o < instruction.operands.size(); ++o)
      if (auto weight = onlyFactors.find(instruction.operands[o]); weight != onlyFactors.end())
        weight->second &= isFactor(instruction, o);
  for (const plan::NamedValue &output : plan.outputs)
    onlyFactors.erase(output.value);
  for (const auto &[value, half] : onlyFactors)
    if (half)
      plan.values[static_cast<size_t>(value)].dtype = plan::DType::BF16;
  std::map<int64_t, int64_t> casts;
  std::vector<plan::Instruction> instructions;
  for (plan::Instruction instruction : plan.instructions) {
    const plan::OpRule &rule = *plan::findOpRule(instruction.op);
    for (size_t r = 0; r < rule.updates.size(); ++r)
      if (const int64_t index = rule.operandIndex(rule.updates[r]);
          index >= 0 && rule.operands[static_cast<size_t>(index)].half)
        for (int64_t ring : {plan::operandValue(instruction, rule, rule.updates[r]), instruction.results[r]})
          plan.values[static_cast<size_t>(ring)].dtype = plan::DType::BF16;
    for (size_t o = 0; o < instruction.operands.size(); ++o) {
      int64_t &value = instruction.operands[o];
      if (value < 0 || !isFactor(instruction, o) || plan.values[static_cast<size_t>(value)].dtype == plan::DType::BF16)
        continue;
      auto [cast, isNew] = casts.emplace(value, static_cast<int64_t>(plan.values.size()));
      if (isNew) {
        plan.values.push_back({plan.values[static_cast<size_t>(value)].shape, plan::DType::BF16});
        instructions.push_back({"cast", {value}, {cast->second}, {{"dtype", std::string("bf16")}}});
      }
      value = cast->second;
    }
    instructions.push_back(std::move(instruction));
  }
  plan.instructions = std::move(instructions);
  return plan;
}

} // namespace morph

#endif // MORPH_TEST_PLAN_WITHBF16_H
