// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/Cost.h"

#include "runtime/plan/InferShapes.h"
#include "runtime/plan/Names.h"
#include "runtime/plan/OpSizes.h"
#include "runtime/plan/Rings.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace morph::plan {

namespace {

using Sizes = std::vector<int64_t>;

double product(const Sizes &shape, size_t begin = 0) {
  double elements = 1;
  for (size_t i = begin; i < shape.size(); ++i)
    elements *= static_cast<double>(shape[i]);
  return elements;
}

class CostModel {
public:
  CostModel(const Plan &plan, const Instruction &instruction, const std::vector<Sizes> &shapes)
      : plan(plan), instruction(instruction), rule(*findOpRule(instruction.op)), shapes(shapes) {}

  double flops() const {
    if (rule.flops)
      return rule.flops(OpSizes<double>(plan, instruction, shapes));
    const Kernel *kernel = instruction.op == "launch" ? findKernel(plan, instruction) : nullptr;
    const double ops = kernel ? static_cast<double>(kernel->instructions.size()) : 1;
    // Reading and writing cost more than the arithmetic here: some operations an element.
    double elements = 0;
    for (int64_t result : instruction.results)
      elements += product(shapes[static_cast<size_t>(result)]);
    for (int64_t operand : instruction.operands)
      if (operand >= 0)
        elements = std::max(elements, product(shapes[static_cast<size_t>(operand)]));
    return 4 * ops * elements;
  }

private:
  const Plan &plan;
  const Instruction &instruction;
  const OpRule &rule;
  const std::vector<Sizes> &shapes; ///< With the named sizes bound.
};

/// a + b, or the greatest number where that overflows: far above what any machine has.
int64_t add(int64_t a, int64_t b) {
  int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? std::numeric_limits<int64_t>::max() : sum;
}

} // namespace

double attentionPairs(double queries, double keys, double window) {
  // The first query sees `first` keys, each later one more, until the window is full.
  const double first = keys - queries + 1;
  const double growing = std::clamp(window - first, 0.0, queries);
  return growing * first + growing * (growing - 1) / 2 + (queries - growing) * window;
}

double linearAttentionFlops(const OpSizes<double> &d) {
  // Of a head and a chunk of c positions: each of q and what reads the state before it is written against each of what
  // is written, 2 c^2 K for the scores and c^2 V for their products with values or the triangular solve (halves are
  // skipped); for each of these 2 c K V with the state.
  const double reads = d.has("beta") || d.has("erase") ? 2 : 1, writes = d.has("write") ? 2 : 1;
  const double chunk = std::min(d.integer("chunk"), d('T'));
  return d('B') * d('T') * d('H') *
         (chunk * reads * writes * (2 * d('K') + d('V')) + 2 * (reads + writes) * d('K') * d('V'));
}

double linearAttentionGradFlops(const OpSizes<double> &d) {
  const double reads = d.has("beta") || d.has("erase") ? 1 : 0, writes = d.has("write") ? 2 : 1;
  const double chunk = std::min(d.integer("chunk"), d('T')), each = d('B') * d('T') * d('H') * d('V');
  const double states = d.has("states") ? 2 * writes * d('K') : 0,
               written = d.has("written") ? reads * (chunk + 2 * d('K')) : 0;
  return 2.5 * linearAttentionFlops(d) - each * (states + written);
}

StatusOr<Cost> estimateCost(const Plan &plan, const std::map<std::string, int64_t> &sizes, const RunMode &mode) {
  MORPH_RETURN_IF_ERROR(validate(plan));
  MORPH_ASSIGN_OR_RETURN(const std::vector<Sizes> shapes, resolveShapes(plan, sizes));
  MORPH_ASSIGN_OR_RETURN(const Buffers buffers, planBuffers(plan, shapes, mode));
  auto bytesOf = [&](int64_t value) {
    const size_t index = static_cast<size_t>(value);
    return static_cast<int64_t>(product(shapes[index])) * elementBytes(plan.values[index].dtype, mode);
  };
  Cost cost;
  for (const NamedValue &input : plan.inputs)
    cost.inputBytes = add(cost.inputBytes, bytesOf(input.value));
  for (size_t w = 0; w < plan.weights.size(); ++w) {
    const int64_t bytes = bytesOf(plan.weightValues[w]);
    cost.boundBytes = add(cost.boundBytes, bytes);
    if (plan.weights[w].trainable)
      cost.trainable =
          add(cost.trainable, static_cast<int64_t>(product(shapes[static_cast<size_t>(plan.weightValues[w])])));
    if (plan.weights[w].trainable || plan.weights[w].gate)
      cost.masterBytes = add(cost.masterBytes, bytes);
  }
  for (const Instruction &instruction : plan.instructions)
    cost.flops += CostModel(plan, instruction, shapes).flops();
  cost.arenaBytes = buffers.arenaBytes;
  if (plan.update) {
    MORPH_ASSIGN_OR_RETURN(const Cost update, estimateCost(*plan.update, sizes, mode));
    // One arena serves both.
    cost.arenaBytes = std::max(cost.arenaBytes, update.arenaBytes);
    // A gradient has the bytes of its master, and is an input of both.
    cost.momentBytes = std::max<int64_t>(0, update.inputBytes - update.masterBytes);
  }
  return cost;
}

StatusOr<std::vector<double>> instructionFlops(const Plan &plan, const std::map<std::string, int64_t> &sizes) {
  MORPH_ASSIGN_OR_RETURN(const std::vector<Sizes> shapes, resolveShapes(plan, sizes));
  std::vector<double> flops;
  for (const Instruction &instruction : plan.instructions)
    flops.push_back(CostModel(plan, instruction, shapes).flops());
  return flops;
}

double cacheBytes(const Plan &decode, int64_t context) {
  const std::map<std::string, int64_t> slots = withRings({}, decode, context);
  double bytes = 0;
  for (const NamedValue &input : decode.inputs) {
    if (!hasPrefix(input.name, kCachePrefix))
      continue;
    const TensorType &type = decode.values[static_cast<size_t>(input.value)];
    double size = static_cast<double>(elementBytes(type.dtype, RunMode()));
    for (const Dim &dim : type.shape) {
      const std::string *name = std::get_if<std::string>(&dim);
      if (!name)
        size *= static_cast<double>(std::get<int64_t>(dim));
      else if (auto ring = slots.find(*name); ring != slots.end())
        size *= static_cast<double>(ring->second);
    }
    bytes += size;
  }
  return bytes;
}

} // namespace morph::plan
