// SPDX-License-Identifier: Apache-2.0

#include "runtime/plan/Gathers.h"

#include "runtime/plan/OpTable.h"
#include "runtime/plan/Workspace.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <set>

namespace morph::plan {

/// Weights lie in the buffer as a GPU's allocator would place them: its libraries choose algorithms by that, too.
static constexpr int64_t kPlaceBytes = 256;

/// The value that an instruction's result is a view of, or -1.
static int64_t viewedValue(const Instruction &instruction) {
  const OpRule *rule = findOpRule(instruction.op);
  return !rule || rule->viewOf.empty() ? -1 : operandValue(instruction, *rule, rule->viewOf);
}

/// One a value: the weight that it is or is a view of, of those for which `follows` is true, or -1.
static std::vector<int64_t> weightsOfValues(const Plan &plan, const std::vector<bool> &follows) {
  std::vector<int64_t> weightOf(plan.values.size(), -1);
  for (size_t w = 0; w < plan.weights.size(); ++w)
    if (follows[w])
      weightOf[static_cast<size_t>(plan.weightValues[w])] = static_cast<int64_t>(w);
  for (const Instruction &instruction : plan.instructions)
    if (const int64_t viewed = viewedValue(instruction); viewed >= 0)
      weightOf[static_cast<size_t>(instruction.results[0])] = weightOf[static_cast<size_t>(viewed)];
  return weightOf;
}

std::vector<bool> dividableWeights(const Plan &plan) {
  std::vector<bool> dividable;
  for (const Weight &weight : plan.weights)
    dividable.push_back(!weight.trainable && !weight.gate && weight.shape.size() > 1);
  const std::vector<int64_t> weightOf = weightsOfValues(plan, dividable);
  for (const NamedValue &output : plan.outputs)
    if (const int64_t weight = weightOf[static_cast<size_t>(output.value)]; weight >= 0)
      dividable[static_cast<size_t>(weight)] = false;
  return dividable;
}

Gathers planGathers(const Plan &plan, const std::vector<bool> &divided, int64_t count, const RunMode &mode) {
  Gathers gathers;
  gathers.weightOf = weightsOfValues(plan, divided);
  const auto bytesOf = [&](size_t weight) {
    const std::vector<int64_t> &shape = plan.weights[weight].shape;
    const int64_t elements = std::accumulate(shape.begin(), shape.end(), int64_t(1), std::multiplies<>());
    const DType type = plan.values[static_cast<size_t>(plan.weightValues[weight])].dtype;
    const int64_t bytes = count * partElements(elements, count) * elementBytes(type, mode);
    return (bytes + kPlaceBytes - 1) / kPlaceBytes * kPlaceBytes;
  };
  // Of each instruction the weights that it reads.
  std::vector<std::set<size_t>> read(plan.instructions.size());
  for (size_t i = 0; i < plan.instructions.size(); ++i) {
    if (viewedValue(plan.instructions[i]) >= 0)
      continue;
    int64_t bytes = 0;
    for (int64_t operand : plan.instructions[i].operands)
      if (const int64_t weight = operand < 0 ? -1 : gathers.weightOf[static_cast<size_t>(operand)];
          weight >= 0 && read[i].insert(static_cast<size_t>(weight)).second)
        bytes += bytesOf(static_cast<size_t>(weight));
    gathers.bufferBytes = std::max(gathers.bufferBytes, bytes);
  }
  std::set<size_t> inGroup;
  int64_t filled = 0;
  for (const std::set<size_t> &weights : read) {
    if (weights.empty()) {
      gathers.groupOf.push_back(-1);
      continue;
    }
    int64_t more = 0;
    for (size_t weight : weights)
      more += inGroup.count(weight) ? 0 : bytesOf(weight);
    if (gathers.groups.empty() || filled + more > gathers.bufferBytes) {
      gathers.groups.emplace_back();
      inGroup.clear();
      filled = 0;
    }
    for (size_t weight : weights)
      if (inGroup.insert(weight).second) {
        gathers.groups.back().push_back({weight, filled});
        filled += bytesOf(weight);
      }
    gathers.groupOf.push_back(static_cast<int64_t>(gathers.groups.size()) - 1);
  }
  return gathers;
}

} // namespace morph::plan
