// SPDX-License-Identifier: Apache-2.0
// morph-build-decode and morph-build-read: new tokens on top of caches and states.

#include "passes/Passes.h"
#include "passes/ProgramBuilder.h"
#include "runtime/plan/Names.h"

namespace morph {
#define GEN_PASS_DEF_BUILDDECODEPASS
#define GEN_PASS_DEF_BUILDREADPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

/// A program of `forward` on caches and states, which `addOutputs` gives what else it computes of the hidden state.
class StatefulProgram {
public:
  using AddOutputs = llvm::function_ref<LogicalResult(ProgramBuilder &, Value hidden)>;

  /// Adds the program of that name to a model, for the pass `argument`.
  static LogicalResult build(ModelOp model, StringRef name, StringRef argument, AddOutputs addOutputs);

private:
  /// One cache or state of a mixer: its name, and its value after the new tokens.
  struct NextState {
    std::string name;
    Value value;
  };

  /// An input for a state. Rings of one window have as many slots as each other: "S" without a window, "S1024" with
  /// one.
  static Value addState(ProgramBuilder &program, const std::string &name, const MixerState &state) {
    std::string slots = "S" + (state.window ? std::to_string(state.window) : "");
    SmallVector<StringRef> dimensions;
    for (auto [index, size] : llvm::enumerate(state.type.getShape()))
      if (ShapedType::isDynamic(size))
        dimensions.push_back(index == 0 ? StringRef("B") : StringRef(slots));
    return program.addInput(name, state.type, dimensions);
  }
};

LogicalResult StatefulProgram::build(ModelOp model, StringRef name, StringRef argument, AddOutputs addOutputs) {
  if (failed(requirePhase(model, {Phase::Base, Phase::Paired, Phase::Hybrid}, argument)))
    return failure();
  FailureOr<ProgramBuilder> program = ProgramBuilder::create(model, name);
  if (failed(program))
    return failure();
  OpBuilder &builder = program->builder();
  Value tokens = program->addTokens();
  auto ofRows = RankedTensorType::get({ShapedType::kDynamic}, builder.getI64Type());
  Value start = program->addInput("start", ofRows, {"B"});
  Value offset = program->addInput("offset", ofRows, {"B"});

  SmallVector<NextState> next;
  auto expand = [&](TokenMixerOpInterface mixer, IRMapping &mapping) -> Value {
    std::string layer = std::to_string(mixer.getMixerLayer()) + ".";
    MixerInputs inputs{mapping.lookup(mixer->getOperand(0)), start, offset, {}};
    SmallVector<MixerState> states = mixer.getMixerStates();
    for (const MixerState &state : states)
      inputs.states.push_back(addState(*program, plan::kCachePrefix + layer + state.name, state));
    MixerExpansion expansion = mixer.expandMixer(builder, inputs);
    for (auto [state, value] : llvm::zip_equal(states, expansion.states))
      next.push_back({layer + state.name, value});
    return expansion.hidden;
  };
  auto rewrite = [&](Operation *op, IRMapping &mapping) -> FailureOr<Value> {
    if (auto mixer = dyn_cast<TokenMixerOpInterface>(op))
      return expand(mixer, mapping);
    if (auto choice = dyn_cast<ChoiceOp>(op)) {
      Block &full = choice.getBodies().front().front();
      Operation *mixer = full.getTerminator()->getOperand(0).getDefiningOp();
      for (Operation &inner : llvm::make_range(full.begin(), Block::iterator(mixer)))
        builder.clone(inner, mapping);
      return expand(cast<TokenMixerOpInterface>(mixer), mapping);
    }
    return Value();
  };
  IRMapping mapping;
  FailureOr<Value> hidden = program->copyForward(tokens, mapping, rewrite);
  if (failed(hidden))
    return failure();
  if (failed(addOutputs(*program, *hidden)))
    return failure();
  for (const NextState &state : next)
    program->addOutput("next." + state.name, state.value);
  program->finish();
  return success();
}

struct BuildDecodePass : public morph::impl::BuildDecodePassBase<BuildDecodePass> {
  using BuildDecodePassBase::BuildDecodePassBase;

  void runOnOperation() override {
    auto takeRows = [this](ProgramBuilder &program, Value hidden) -> Value {
      if (positions)
        return program.builder().create<TakeRowsOp>(program.loc(), hidden, program.addPositions());
      return program.builder().create<LastRowsOp>(program.loc(), hidden);
    };
    auto addLogits = [&](ProgramBuilder &program, Value hidden) -> LogicalResult {
      FailureOr<Value> logits = program.copyHead(takeRows(program, hidden));
      if (succeeded(logits))
        program.addOutput("logits", *logits);
      return logits;
    };
    if (failed(StatefulProgram::build(getOperation(), "decode", getArgument(), addLogits)))
      signalPassFailure();
  }
};

struct BuildReadPass : public morph::impl::BuildReadPassBase<BuildReadPass> {
  void runOnOperation() override {
    auto addNll = [](ProgramBuilder &program, Value hidden) -> LogicalResult {
      Value positions = program.addPositions(), targets = program.addTargets();
      OpBuilder &builder = program.builder();
      FailureOr<Value> logits = program.copyHead(builder.create<TakeRowsOp>(program.loc(), hidden, positions));
      if (succeeded(logits))
        program.addOutput("nll", builder.create<TokenNllOp>(program.loc(), *logits, targets));
      return logits;
    };
    if (failed(StatefulProgram::build(getOperation(), "read", getArgument(), addNll)))
      signalPassFailure();
  }
};

} // namespace
