// SPDX-License-Identifier: Apache-2.0
// morph-build-distill: the hybrid against the base model that it was made from.

#include "passes/Adapters.h"
#include "passes/Passes.h"
#include "passes/ProgramBuilder.h"

namespace morph {
#define GEN_PASS_DEF_BUILDDISTILLPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

constexpr llvm::StringLiteral kTeacherPrefix = "teacher.";

struct BuildDistillPass : public morph::impl::BuildDistillPassBase<BuildDistillPass> {
  using BuildDistillPassBase::BuildDistillPassBase;

  /// Copies the model's ops as the teacher's: mixers become what they replaced, and weights that change, or that the
  /// hybrid no longer has, are read as `teacher.<name>`.
  class TeacherRewrite {
  public:
    TeacherRewrite(ProgramBuilder &program, const SymbolNames &changed)
        : program(program), changed(changed), weights(program.model()) {}

    FailureOr<Value> operator()(Operation *op, IRMapping &mapping) {
      if (auto param = dyn_cast<ParamOp>(op))
        return copyParam(param);
      if (auto linear = dyn_cast<LinearMixerOp>(op))
        return fullAttentionOf(linear, mapping);
      if (auto softmax = dyn_cast<SoftmaxMixerOp>(op))
        return copySoftmax(softmax, mapping);
      return Value();
    }

  private:
    FailureOr<Value> copyParam(ParamOp param) {
      StringAttr name = param.getSymbolAttr().getAttr();
      if (!changed.contains(name))
        return Value();
      WeightOp weight = weights.lookup(name);
      if (!weight)
        return param.emitOpError() << "reads a gate, which phase hybrid does not have";
      weights.addTeacherWeight(kTeacherPrefix, weight);
      auto symbol = FlatSymbolRefAttr::get(param.getContext(), (kTeacherPrefix + name.getValue()).str());
      return program.builder().create<ParamOp>(param.getLoc(), param.getType(), symbol).getResult();
    }

    /// The softmax mixer that a linear mixer replaced.
    Value fullAttentionOf(LinearMixerOp linear, IRMapping &mapping) {
      OpBuilder &builder = program.builder();
      FloatAttr scale = linear.getSourceScaleAttr();
      if (!scale)
        scale = builder.getF64FloatAttr(1.0 / std::sqrt(static_cast<double>(linear.getHeadDim())));
      OperationState state(linear.getLoc(), SoftmaxMixerOp::getOperationName());
      SoftmaxMixerOp::build(builder, state, linear.getType(), mapping.lookup(linear.getHidden()), linear.getLayerAttr(),
                            builder.getStringAttr(kTeacherPrefix + linear.getSource()), linear.getHeadsAttr(),
                            linear.getSourceKvHeadsAttr(), linear.getHeadDimAttr(), linear.getRopeAttr(), scale,
                            linear.getQkvBiasAttr(), linear.getOBiasAttr(), linear.getQkNormEpsAttr(),
                            linear.getQkNormWideAttr(), linear.getQkNormOffsetAttr(), linear.getSourceWindowAttr(),
                            linear.getSourceSoftcapAttr());
      return addWeights(cast<SoftmaxMixerOp>(builder.create(state)));
    }

    /// The model's own softmax mixer, with the teacher's weights.
    Value copySoftmax(SoftmaxMixerOp mixer, IRMapping &mapping) {
      OpBuilder &builder = program.builder();
      auto copy = cast<SoftmaxMixerOp>(builder.clone(*mixer, mapping));
      auto parameters = cast<TokenMixerOpInterface>(mixer.getOperation()).getMixerParameters();
      bool isChanged = llvm::any_of(parameters, [&](const MixerParameter &parameter) {
        return changed.contains(builder.getStringAttr(parameter.name));
      });
      if (!isChanged)
        return copy.getResult();
      copy.setPrefix((kTeacherPrefix + mixer.getPrefix()).str());
      return addWeights(copy);
    }

    Value addWeights(SoftmaxMixerOp mixer) {
      weights.addMixerWeights(cast<TokenMixerOpInterface>(mixer.getOperation()), kTeacherPrefix);
      return mixer.getResult();
    }

    ProgramBuilder &program;
    const SymbolNames &changed;
    WeightAdder weights;
  };

  LogicalResult build(ModelOp model) {
    if (failed(requirePhase(model, {Phase::Hybrid}, getArgument())) ||
        failed(checkOption(model, "train", train, {"linear", "all"})) ||
        failed(checkOption(model, "loss", loss, {"kl", "reverse_kl"})))
      return failure();
    if (top < 0 || (top > 0 && loss != "kl"))
      return emitModelError(model) << "cannot be distilled with 'top' " << top.getValue() << " and 'loss' '" << loss
                                   << "', expected 0 or more tokens, and 0 where 'loss' is not 'kl'";
    if (!(streams >= 0))
      return emitModelError(model) << "cannot be distilled with 'streams' " << streams.getValue()
                                   << ", expected 0 or more";
    StringRef unmatched; // morph-add-adapters reports it.
    const SymbolNames adapted =
        findAdapted(model, std::vector<std::string>(adapters.begin(), adapters.end()), unmatched);
    FailureOr<ProgramBuilder> program = ProgramBuilder::create(model, "distill");
    if (failed(program))
      return failure();
    SymbolNames trained;
    if (train == "linear") {
      trained = linearSymbols(program->forward().getBody());
    } else {
      trained = readSymbols(program->forward());
      SymbolNames ofHead = readSymbols(program->head());
      trained.insert(ofHead.begin(), ofHead.end());
      trained = trainableSymbols(model, trained);
    }
    if (trained.empty())
      return emitModelError(model) << "has no linear attention, so there is nothing to distil with train 'linear'";

    OpBuilder &builder = program->builder();
    Value tokens = program->addTokens(), positions = program->addPositions(), weights = program->addWeights();
    SymbolNames changed = trained;
    changed.insert(adapted.begin(), adapted.end());
    TeacherRewrite rewrite(*program, changed);
    IRMapping mapping;
    FailureOr<Value> hidden = program->copyForward(tokens, mapping, rewrite);
    if (failed(hidden))
      return failure();
    SmallVector<std::pair<Value, Value>> targets; // Streams of @forward, and the teacher's at the positions.
    if (streams > 0 && failed(takeStreams(*program, mapping, positions, targets)))
      return failure();
    // What the teacher says of a batch stays the same, so it can be kept. The rows that go into the head are C numbers
    // each, where logits are V, many times as many; the head's product is the part of a forward that is computed again.
    Value rows = builder.create<TakeRowsOp>(program->loc(), *hidden, positions);
    program->addOutput("teacher", rows);
    FailureOr<Value> teacher = program->copyHead(rows, rewrite);
    if (failed(teacher))
      return failure();
    IRMapping copied;
    hidden = program->copyForward(tokens, copied);
    if (failed(hidden))
      return failure();
    FailureOr<Value> student = program->copyHead(builder.create<TakeRowsOp>(program->loc(), *hidden, positions));
    if (failed(student))
      return failure();
    Value total = builder.create<WeightedMeanOp>(program->loc(), addDivergence(*program, *teacher, *student), weights);
    if (!targets.empty()) {
      SmallVector<Value> errors;
      for (const auto &[stream, target] : targets)
        errors.push_back(builder.create<SquaredErrorOp>(program->loc(),
                                                        program->rowsAt(copied.lookup(stream), positions), target,
                                                        builder.getStringAttr("relative")));
      Value error = builder.create<ScaleOp>(program->loc(), program->mean(errors), builder.getF64FloatAttr(streams));
      total = builder.create<AddOp>(program->loc(), total, error);
    }
    program->addOutput("loss", total);
    program->finish(trained);
    return success();
  }

  /// The residual streams behind the mixers of linear attention, as @forward has them and as the teacher does.
  static LogicalResult takeStreams(ProgramBuilder &program, const IRMapping &teacher, Value positions,
                                   SmallVectorImpl<std::pair<Value, Value>> &targets) {
    for (auto linear : program.forward().getBody().getOps<LinearMixerOp>()) {
      FailureOr<Residual> residual = findResidual(linear.getResult());
      if (failed(residual))
        return failure();
      Value stream = residual->add.getResult();
      targets.push_back({stream, program.rowsAt(teacher.lookup(stream), positions)});
    }
    return success();
  }

  /// What the student is measured by, a row.
  Value addDivergence(ProgramBuilder &program, Value teacher, Value student) {
    OpBuilder &builder = program.builder();
    if (loss == "reverse_kl")
      return builder.create<ReverseKlDivergenceOp>(program.loc(), teacher, student);
    // As many tokens as there are is all of them.
    const int64_t vocabulary = cast<RankedTensorType>(teacher.getType()).getShape().back();
    if (top > 0 && top < vocabulary)
      teacher = builder.create<KeepTopOp>(program.loc(), teacher, top);
    return builder.create<KlDivergenceOp>(program.loc(), teacher, student);
  }

  void runOnOperation() override {
    if (failed(build(getOperation())))
      signalPassFailure();
  }
};

} // namespace
