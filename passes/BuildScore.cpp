// SPDX-License-Identifier: Apache-2.0
// morph-build-score and morph-build-logits: what a model says at positions.

#include "passes/Passes.h"
#include "passes/ProgramBuilder.h"

namespace morph {
#define GEN_PASS_DEF_BUILDSCOREPASS
#define GEN_PASS_DEF_BUILDLOGITSPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

/// Adds the inputs tokens and positions and returns the logits [N,V] there. `mapping` gets the values of the copy.
FailureOr<Value> addLogits(ProgramBuilder &program, IRMapping &mapping) {
  Value tokens = program.addTokens(), positions = program.addPositions();
  FailureOr<Value> hidden = program.copyForward(tokens, mapping);
  if (failed(hidden))
    return failure();
  return program.copyHead(program.builder().create<TakeRowsOp>(program.loc(), *hidden, positions));
}

struct BuildScorePass : public morph::impl::BuildScorePassBase<BuildScorePass> {
  using BuildScorePassBase::BuildScorePassBase;

  /// Outputs `stream.<layer>` for the layers that gates decide: what goes into the layer.
  static LogicalResult addStreams(ProgramBuilder &program, IRMapping &mapping) {
    SymbolTableCollection symbolTables;
    for (BlendOp blend : program.forward().getBody().getOps<BlendOp>()) {
      GateOp gate = blend.lookupGate(symbolTables);
      if (!gate || failed(program.addStream(gate.getLayer(), blend.getResult(), mapping)))
        return failure();
    }
    return success();
  }

  LogicalResult build(ModelOp model) {
    FailureOr<ProgramBuilder> program = ProgramBuilder::create(model, "score");
    if (failed(program))
      return failure();
    IRMapping mapping;
    FailureOr<Value> logits = addLogits(*program, mapping);
    if (failed(logits))
      return failure();
    OpBuilder &builder = program->builder();
    Value targets = program->addTargets();
    program->addOutput("nll", builder.create<TokenNllOp>(program->loc(), *logits, targets));
    program->addOutput("correct", builder.create<CorrectOp>(program->loc(), *logits, targets));
    if (kl) {
      Value teacher = program->addInput("teacher_logits", cast<RankedTensorType>(logits->getType()), {"N"});
      program->addOutput("kl", builder.create<KlDivergenceOp>(program->loc(), teacher, *logits));
      if (failed(addStreams(*program, mapping)))
        return failure();
    }
    program->finish();
    return success();
  }

  void runOnOperation() override {
    if (failed(build(getOperation())))
      signalPassFailure();
  }
};

struct BuildLogitsPass : public morph::impl::BuildLogitsPassBase<BuildLogitsPass> {
  void runOnOperation() override {
    FailureOr<ProgramBuilder> program = ProgramBuilder::create(getOperation(), "logits");
    if (failed(program))
      return signalPassFailure();
    IRMapping mapping;
    FailureOr<Value> logits = addLogits(*program, mapping);
    if (failed(logits))
      return signalPassFailure();
    program->addOutput("logits", *logits);
    program->finish();
  }
};

} // namespace
