// SPDX-License-Identifier: Apache-2.0
// morph-relax-gates: phase paired -> relaxed.

#include "passes/Passes.h"
#include "passes/Phases.h"

namespace morph {
#define GEN_PASS_DEF_RELAXGATESPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

struct RelaxGatesPass : public morph::impl::RelaxGatesPassBase<RelaxGatesPass> {
  using RelaxGatesPassBase::RelaxGatesPassBase;

  /// Adds the gate of a choice.
  GateOp addGate(OpBuilder &builder, ChoiceOp choice) {
    SmallVector<double> value(choice.getCandidates().size() - 1, 0.0);
    value.front() = init;
    return builder.create<GateOp>(choice.getLoc(), builder.getStringAttr("gate." + Twine(choice.getLayer())),
                                  choice.getLayerAttr(), choice.getCandidatesAttr(),
                                  builder.getDenseF64ArrayAttr(value));
  }

  void relax(OpBuilder &gates, ChoiceOp choice) {
    GateOp gate = addGate(gates, choice);
    OpBuilder builder(choice);
    SmallVector<Value> values;
    for (Region &region : choice.getBodies()) {
      Operation *yield = region.front().getTerminator();
      values.push_back(yield->getOperand(0));
      yield->erase();
      choice->getBlock()->getOperations().splice(Block::iterator(choice), region.front().getOperations());
    }
    auto gateType = RankedTensorType::get({static_cast<int64_t>(values.size()) - 1}, builder.getF32Type());
    Value share = builder.create<ParamOp>(choice.getLoc(), gateType, FlatSymbolRefAttr::get(gate.getSymNameAttr()));
    choice.replaceAllUsesWith(builder.create<BlendOp>(choice.getLoc(), share, values).getResult());
    choice.erase();
  }

  void runOnOperation() override {
    ModelOp model = getOperation();
    if (failed(requirePhase(model, {Phase::Paired}, getArgument())))
      return signalPassFailure();
    if (!(init >= 0 && init <= 1)) {
      emitError(model.getLoc()) << "option init is " << init << ", expected a share between 0 and 1";
      return signalPassFailure();
    }
    SmallVector<ChoiceOp> choices;
    for (func::FuncOp function : model.getBody().getOps<func::FuncOp>())
      function.walk([&](ChoiceOp choice) { choices.push_back(choice); });
    if (!choices.empty()) {
      OpBuilder gates(*model.getBody().getOps<func::FuncOp>().begin()); // Gates go before the functions.
      for (ChoiceOp choice : choices)
        relax(gates, choice);
    }
    model.setPhase(Phase::Relaxed);
  }
};

} // namespace
