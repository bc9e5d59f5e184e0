// SPDX-License-Identifier: Apache-2.0
// morph-build-calibrate: the first values of weights that candidates ask of activations, in the teacher's forward.

#include "dialect/MixerExpander.h"
#include "passes/Passes.h"
#include "passes/ProgramBuilder.h"

namespace morph {
#define GEN_PASS_DEF_BUILDCALIBRATEPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

struct BuildCalibratePass : public morph::impl::BuildCalibratePassBase<BuildCalibratePass> {
  using BuildCalibratePassBase::BuildCalibratePassBase;

  LogicalResult build(ModelOp model) {
    if (failed(requirePhase(model, {Phase::Paired}, getArgument())))
      return failure();
    FailureOr<ProgramBuilder> program = ProgramBuilder::create(model, "calibrate");
    if (failed(program))
      return failure();
    Value tokens = program->addTokens();
    bool asks = false;
    auto calibrate = [&](Operation *op, IRMapping &mapping) -> FailureOr<Value> {
      auto choice = dyn_cast<ChoiceOp>(op);
      if (!choice)
        return Value();
      for (Region &body : choice.getBodies())
        for (auto mixer : body.getOps<LinearMixerOp>()) {
          FailureOr<MixerExpander> expander = MixerExpander::create(mixer);
          if (failed(expander))
            return failure();
          auto values = expander->calibrate(program->builder(), mapping.lookup(mixer.getHidden()));
          if (failed(values))
            return failure();
          for (const auto &[weight, value] : *values)
            program->addOutput(weight, value);
          asks |= !values->empty();
        }
      return program->copyCandidate(choice, 0, mapping);
    };
    IRMapping mapping;
    if (failed(program->copyForward(tokens, mapping, calibrate)))
      return failure();
    program->finish();
    if (!asks)
      program->program().erase();
    return success();
  }

  void runOnOperation() override {
    if (failed(build(getOperation())))
      signalPassFailure();
  }
};

} // namespace
