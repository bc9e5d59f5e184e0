// SPDX-License-Identifier: Apache-2.0

#include "passes/pytorch/Body.h"

#include "llvm/ADT/DenseSet.h"

using namespace mlir;
using namespace morph;
using namespace morph::pytorch;

namespace {

class Flattener {
public:
  Flattener(MixerExpander &expander, Body &body) : expander(expander), body(body) {}

  /// The values that the region yields.
  FailureOr<SmallVector<Value>> flatten(Region &region) {
    for (Operation &op : region.front().without_terminator())
      if (failed(add(op)))
        return failure();
    return llvm::map_to_vector(region.front().getTerminator()->getOperands(), [&](Value v) { return resolve(v); });
  }

private:
  Value resolve(Value value) const {
    auto found = replaced.find(value);
    return found == replaced.end() ? value : found->second;
  }

  LogicalResult add(Operation &op) {
    if (auto weight = dyn_cast<MixerWeightOp>(op)) {
      FailureOr<bool> exists = expander.hasWeight(weight);
      if (succeeded(exists) && *exists)
        body.weights.push_back(weight);
      return exists;
    }
    if (auto branch = dyn_cast<MixerIfOp>(op)) {
      FailureOr<bool> holds = expander.getCondition(branch.getCondition());
      if (failed(holds))
        return failure();
      FailureOr<SmallVector<Value>> yielded = flatten(*holds ? branch.getWhole() : branch.getOtherwise());
      if (failed(yielded))
        return failure();
      for (auto [result, value] : llvm::zip_equal(op.getResults(), *yielded))
        replaced[result] = value;
      return success();
    }
    if (isa<MixerRopeOp>(op) && !expander.getUse().getRope()) {
      replaced[op.getResult(0)] = resolve(op.getOperand(0));
      return success();
    }
    Step step{&op, {}};
    for (Value operand : op.getOperands())
      step.operands.push_back(resolve(operand));
    body.steps.push_back(std::move(step));
    return success();
  }

  MixerExpander &expander;
  Body &body;
  llvm::DenseMap<Value, Value> replaced;
};

} // namespace

FailureOr<Body> Body::create(MixerExpander &expander) {
  Body body;
  FailureOr<SmallVector<Value>> yielded = Flattener(expander, body).flatten(expander.getDeclaration().getBody());
  if (failed(yielded))
    return failure();
  body.result = yielded->front();
  llvm::DenseSet<Value> needed = {body.result};
  std::vector<Step> steps;
  for (Step &step : llvm::reverse(body.steps)) {
    if (!needed.contains(step.getResult()))
      continue;
    needed.insert(step.operands.begin(), step.operands.end());
    steps.push_back(std::move(step));
  }
  std::reverse(steps.begin(), steps.end());
  body.steps = std::move(steps);
  return body;
}
