// SPDX-License-Identifier: Apache-2.0
// morph-build-gates: the relaxed model against its teacher.

#include "passes/Passes.h"
#include "passes/ProgramBuilder.h"

namespace morph {
#define GEN_PASS_DEF_BUILDGATESPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

/// In the teacher every blend is its first candidate, the full attention.
FailureOr<Value> takeFull(Operation *op, IRMapping &mapping) {
  if (auto blend = dyn_cast<BlendOp>(op))
    return mapping.lookup(blend.getCandidates().front());
  return Value();
}

struct BuildGatesPass : public morph::impl::BuildGatesPassBase<BuildGatesPass> {
  using BuildGatesPassBase::BuildGatesPassBase;

  struct Inputs {
    Value tokens, positions, targets, weights;
  };

  Value squaredError(ProgramBuilder &program, Value x, Value target) {
    return program.builder().create<SquaredErrorOp>(program.loc(), x, target,
                                                    program.builder().getStringAttr(normalize));
  }

  /// loss = kl | ce | final_hidden: what the end of the model says.
  FailureOr<Value> buildEndLoss(ProgramBuilder &program, const Inputs &inputs) {
    OpBuilder &builder = program.builder();
    Value teacher;
    if (loss != "ce") {
      IRMapping mapping;
      FailureOr<Value> hidden = program.copyForward(inputs.tokens, mapping, takeFull);
      if (failed(hidden))
        return failure();
      teacher = program.rowsAt(*hidden, inputs.positions);
      if (loss == "kl") {
        FailureOr<Value> logits = program.copyHead(teacher);
        if (failed(logits))
          return failure();
        teacher = *logits;
      }
    }
    FailureOr<Value> hidden = program.copyForward(inputs.tokens);
    if (failed(hidden))
      return failure();
    Value rows = program.rowsAt(*hidden, inputs.positions);
    if (loss == "final_hidden")
      return squaredError(program, rows, teacher);
    FailureOr<Value> logits = program.copyHead(rows);
    if (failed(logits))
      return failure();
    Value rowLoss = loss == "ce" ? builder.create<TokenNllOp>(program.loc(), *logits, inputs.targets).getResult()
                                 : builder.create<KlDivergenceOp>(program.loc(), teacher, *logits).getResult();
    return builder.create<WeightedMeanOp>(program.loc(), rowLoss, inputs.weights).getResult();
  }

  /// loss = layers, target = teacher: each layer's residual stream after its mixer in two passes.
  FailureOr<Value> buildLayerLoss(ProgramBuilder &program, const Inputs &inputs, ArrayRef<BlendOp> blends) {
    IRMapping teacher, student;
    if (failed(program.copyForward(inputs.tokens, teacher, takeFull)) ||
        failed(program.copyForward(inputs.tokens, student)))
      return failure();
    SmallVector<Value> losses;
    for (BlendOp blend : blends) {
      FailureOr<Residual> residual = findResidual(blend.getResult());
      if (failed(residual))
        return failure();
      Value stream = residual->add.getResult();
      Value target = program.rowsAt(teacher.lookup(stream), inputs.positions);
      Value rows = program.rowsAt(student.lookup(stream), inputs.positions);
      losses.push_back(squaredError(program, rows, target));
    }
    return program.mean(losses);
  }

  /// loss = layers, target = local: each blend and the full attention on the teacher's stream.
  FailureOr<Value> buildLocalLoss(ProgramBuilder &program, const Inputs &inputs) {
    OpBuilder &builder = program.builder();
    SmallVector<Value> losses;
    auto measure = [&](Operation *op, IRMapping &mapping) -> FailureOr<Value> {
      auto blend = dyn_cast<BlendOp>(op);
      if (!blend)
        return Value();
      FailureOr<Residual> residual = findResidual(blend.getResult());
      if (failed(residual))
        return failure();
      Value full = mapping.lookup(blend.getCandidates().front());
      Value mixed = builder.clone(*blend, mapping)->getResult(0);
      auto rowsAfter = [&](Value state) {
        IRMapping own = mapping;
        own.map(blend.getResult(), state);
        for (Operation *behind : residual->behind) {
          for (Value operand : behind->getOperands())
            if (!own.contains(operand)) // A weight, which the copy has not come to yet.
              builder.clone(*operand.getDefiningOp(), own);
          state = builder.clone(*behind, own)->getResult(0);
        }
        Value sum = builder.create<AddOp>(op->getLoc(), mapping.lookup(residual->stream), state);
        return builder.create<TakeRowsOp>(op->getLoc(), sum, inputs.positions).getResult();
      };
      Value rows = rowsAfter(mixed);
      losses.push_back(squaredError(program, rows, rowsAfter(full)));
      return full;
    };
    IRMapping mapping;
    if (failed(program.copyForward(inputs.tokens, mapping, measure)))
      return failure();
    return program.mean(losses);
  }

  LogicalResult build(ModelOp model) {
    if (failed(requirePhase(model, {Phase::Relaxed}, getArgument())) ||
        failed(checkOption(model, "loss", loss, {"kl", "ce", "final_hidden", "layers"})) ||
        failed(checkOption(model, "target", target, {"teacher", "local"})) ||
        failed(checkOption(model, "normalize", normalize, {"relative", "mean", "rows"})))
      return failure();
    if (target == "local" && loss != "layers")
      return emitError(model.getLoc()) << "option target is 'local', which only loss 'layers' has, but loss is '"
                                       << loss << "'";
    FailureOr<ProgramBuilder> program = ProgramBuilder::create(model, "gates");
    if (failed(program))
      return failure();
    SmallVector<BlendOp> blends(program->forward().getBody().getOps<BlendOp>());
    if (blends.empty())
      return emitModelError(model) << "has no blend in @forward, so there is no gate to train";
    SymbolNames gates;
    for (auto gate : model.getBody().getOps<GateOp>())
      gates.insert(gate.getSymNameAttr());

    Inputs inputs;
    inputs.tokens = program->addTokens();
    inputs.positions = program->addPositions();
    inputs.targets = program->addTargets();
    inputs.weights = program->addWeights();
    FailureOr<Value> value = loss != "layers"    ? buildEndLoss(*program, inputs)
                             : target == "local" ? buildLocalLoss(*program, inputs)
                                                 : buildLayerLoss(*program, inputs, blends);
    if (failed(value))
      return failure();
    program->addOutput("loss", *value);
    program->finish(gates);
    return success();
  }

  void runOnOperation() override {
    if (failed(build(getOperation())))
      signalPassFailure();
  }
};

} // namespace
