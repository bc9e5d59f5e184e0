// SPDX-License-Identifier: Apache-2.0
#include "dialect/OpCosts.h"

#include "dialect/InferTypes.h"
#include "dialect/ProgramSizes.h"
#include "runtime/plan/Cost.h"

#include <limits>
#include <numeric>

using namespace mlir;
using namespace morph;

double morph::countFlops(Block &block) {
  plan::Plan plan;
  llvm::DenseMap<Value, int64_t> numbers;
  auto define = [&](Value value) {
    numbers[value] = static_cast<int64_t>(plan.values.size());
    plan.values.push_back({getShape(value.getType()), plan::DType::F32});
    return numbers[value];
  };
  for (Value argument : block.getArguments())
    define(argument);
  for (Operation &op : block) {
    const plan::OpRule *rule = findOpRule(&op);
    plan::Instruction instruction;
    if (rule)
      instruction = makeInstruction(&op, *rule, numbers);
    for (Value result : op.getResults())
      instruction.results.push_back(define(result));
    if (rule)
      plan.instructions.push_back(std::move(instruction));
  }
  StatusOr<std::vector<double>> flops = plan::instructionFlops(plan, {});
  if (!flops.ok()) // A value of more elements than can be addressed.
    return std::numeric_limits<double>::max();
  return std::accumulate(flops->begin(), flops->end(), 0.0);
}
