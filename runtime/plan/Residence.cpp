// SPDX-License-Identifier: Apache-2.0

#include "runtime/plan/Residence.h"

#include "runtime/plan/OpTable.h"

namespace morph::plan {

WeightForm Residence::formOf(const Plan &plan, size_t w, bool halves, bool storedHalf) const {
  if (plan.weights[w].trainable || plan.weights[w].gate)
    return WeightForm::Master;
  // A table that the file has in fp32 is not rounded: embeddings read it as it is.
  if (halves && (onlyFactor[w] || (onlyFactorOrTable[w] && storedHalf)))
    return WeightForm::Half;
  return WeightForm::Full;
}

Residence findResidence(const Plan &plan) {
  Residence residence;
  residence.lifetimes.resize(plan.values.size());
  residence.weightOf.assign(plan.values.size(), -1);
  residence.onlyFactor.assign(plan.weights.size(), true);
  residence.onlyFactorOrTable.assign(plan.weights.size(), true);
  for (size_t w = 0; w < plan.weights.size(); ++w)
    residence.weightOf[static_cast<size_t>(plan.weightValues[w])] = static_cast<int64_t>(w);
  auto read = [&](int64_t value, bool table) {
    const int64_t weight = residence.weightOf[static_cast<size_t>(value)];
    if (weight < 0)
      return;
    residence.onlyFactor[static_cast<size_t>(weight)] = false;
    if (!table)
      residence.onlyFactorOrTable[static_cast<size_t>(weight)] = false;
  };
  for (size_t i = 0; i < plan.instructions.size(); ++i) {
    const Instruction &instruction = plan.instructions[i];
    std::vector<bool> &factors = residence.factors.emplace_back();
    for (size_t o = 0; o < instruction.operands.size(); ++o) {
      factors.push_back(operandRuleAt(instruction, *findOpRule(instruction.op), o).product);
      const int64_t value = instruction.operands[o];
      if (value < 0)
        continue;
      Lifetime &lifetime = residence.lifetimes[static_cast<size_t>(value)];
      (factors.back() ? lifetime.lastFactor : lifetime.lastFull) = static_cast<int64_t>(i);
      if (!factors.back())
        read(value, instruction.op == "embedding" && o == 1);
    }
  }
  for (const NamedValue &output : plan.outputs) {
    residence.lifetimes[static_cast<size_t>(output.value)].lastFull = Lifetime::kForEver;
    read(output.value, false);
  }
  return residence;
}

} // namespace morph::plan
