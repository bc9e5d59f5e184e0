// SPDX-License-Identifier: Apache-2.0
// morph-accumulate-gradients: outputs that are gradients become sums in the caller's memory.

#include "passes/Gradients.h"
#include "passes/Passes.h"
#include "passes/Phases.h"
#include "runtime/plan/Names.h"

namespace morph {
#define GEN_PASS_DEF_ACCUMULATEGRADIENTSPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

LogicalResult accumulate(ProgramOp program) {
  OutputOp output = program.getOutput();
  OpBuilder builder(program.getContext());
  llvm::DenseSet<Attribute> taken(program.getInputs().begin(), program.getInputs().end());
  SmallVector<unsigned> gradients; // Among the outputs.
  SmallVector<std::pair<std::string, RankedTensorType>> inputs = {
      {plan::kShare, RankedTensorType::get({}, builder.getF32Type())}};
  for (auto [index, name] : llvm::enumerate(output.getNames().getAsRange<StringAttr>())) {
    if (!name.getValue().starts_with(plan::kGradientPrefix))
      continue;
    if (taken.contains(name))
      return emitProgramError(program) << "already has an input '" << name.getValue() << "'";
    gradients.push_back(index);
    inputs.emplace_back(name.getValue(), cast<RankedTensorType>(output.getValues()[index].getType()));
  }
  if (gradients.empty())
    return success();
  SmallVector<Value> arguments = program.addInputs(inputs);
  SmallVector<Value> values(output.getValues());
  for (auto [index, sum] : llvm::zip_equal(gradients, ArrayRef(arguments).drop_front())) {
    builder.setInsertionPointAfterValue(values[index]);
    values[index] = builder.create<AccumulateOp>(values[index].getLoc(), sum, values[index], arguments.front());
  }
  output.getValuesMutable().assign(values);
  return success();
}

struct AccumulateGradientsPass : public morph::impl::AccumulateGradientsPassBase<AccumulateGradientsPass> {
  using AccumulateGradientsPassBase::AccumulateGradientsPassBase;

  void runOnOperation() override {
    if (failed(forTrainingPrograms(getOperation(), program, accumulate)))
      signalPassFailure();
  }
};

} // namespace
