// SPDX-License-Identifier: Apache-2.0
// morph-keep-states: what attention and linear attention leave for their backward, where the memory allows it.

#include "passes/EmitPlan.h"
#include "passes/Passes.h"
#include "passes/Phases.h"
#include "runtime/plan/Buffers.h"
#include "runtime/plan/InferShapes.h"

namespace morph {
#define GEN_PASS_DEF_KEEPSTATESPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

/// A backward, and the forward that finds first what it would find again: morph.attention_grad and morph.attention, or
/// those of linear attention.
struct Pair {
  Operation *forward, *gradient;
  int64_t distance = 0; ///< Ops between them.
};

/// Whether windows hold several documents (morph-separate-documents).
template <typename Forward, typename Gradient> bool separates(Forward forward, Gradient gradient) {
  return forward.getBegins() || gradient.getBegins();
}

/// Whether the gradient is that of the forward.
bool belongTo(AttentionOp forward, AttentionGradOp gradient) {
  auto operandsOf = [](auto op) { return std::array<Value, 4>{op.getQ(), op.getK(), op.getV(), op.getStart()}; };
  // A document's part of rows' sums is no block of memory.
  return operandsOf(forward) == operandsOf(gradient) && !forward.getOffset() && !separates(forward, gradient) &&
         forward.getScaleAttr() == gradient.getScaleAttr() && forward.getWindowAttr() == gradient.getWindowAttr() &&
         forward.getSoftcapAttr() == gradient.getSoftcapAttr();
}
bool belongTo(LinearAttentionOp forward, LinearAttentionGradOp gradient) {
  auto operandsOf = [](auto op) {
    return std::array<Value, 11>{
        op.getQ(),    op.getK(),     op.getV(),     op.getHeadDecay(), op.getDecay(), op.getChannelDecay(),
        op.getBeta(), op.getWrite(), op.getErase(), op.getBonus(),     op.getState()};
  };
  // Nobody knows how many chunks documents have.
  return operandsOf(forward) == operandsOf(gradient) && !separates(forward, gradient) &&
         forward.getChunkAttr() == gradient.getChunkAttr() &&
         forward.getNormaliserAttr() == gradient.getNormaliserAttr();
}

/// Finds pairs of ops: of one forward and several gradients the first gradient, of several forwards and one gradient
/// the last forward, so that one that is computed twice (morph-recompute) leaves its values the second time.
template <typename Forward, typename Gradient> class PairFinder {
public:
  void visit(Operation &op, int64_t position, SmallVectorImpl<Pair> &pairs) {
    if (auto forward = dyn_cast<Forward>(op))
      forwards[forward.getQ()].push_back({forward, position});
    if (auto gradient = dyn_cast<Gradient>(op))
      for (auto [forward, at] : llvm::reverse(forwards[gradient.getQ()]))
        if (belongTo(forward, gradient) && taken.insert(forward).second) {
          pairs.push_back({forward, gradient, position - at});
          break;
        }
  }

private:
  llvm::DenseSet<Operation *> taken;
  llvm::DenseMap<Value, SmallVector<std::pair<Forward, int64_t>>> forwards; ///< By q, in their order.
};

/// The pairs of a program, those first whose values would live for the fewest ops.
SmallVector<Pair> findPairs(ProgramOp program) {
  SmallVector<Pair> pairs;
  PairFinder<AttentionOp, AttentionGradOp> attention;
  PairFinder<LinearAttentionOp, LinearAttentionGradOp> linear;
  for (auto [index, op] : llvm::enumerate(program.getBlock())) {
    attention.visit(op, static_cast<int64_t>(index), pairs);
    linear.visit(op, static_cast<int64_t>(index), pairs);
  }
  llvm::stable_sort(pairs, [](const Pair &a, const Pair &b) { return a.distance < b.distance; });
  return pairs;
}

/// Makes the forward leave its rows' sums, and its result live until the gradient; or neither.
AttentionOp setKept(AttentionOp before, AttentionGradOp gradient, bool keeps) {
  OpBuilder builder(before);
  auto forward =
      builder.create<AttentionOp>(before.getLoc(), before.getQ(), before.getK(), before.getV(), before.getStart(),
                                  before.getOffset(), Value(), before.getScaleAttr(), before.getWindowAttr(),
                                  before.getSoftcapAttr(), keeps ? builder.getUnitAttr() : UnitAttr());
  before.getResult().replaceAllUsesWith(forward.getResult());
  gradient.getOutMutable().assign(forward->getResults().take_front(keeps));
  gradient.getLseMutable().assign(forward.getKept());
  return forward;
}

/// Makes the forward leave the states and what is written, where that is no operand, or leave nothing.
LinearAttentionOp setKept(LinearAttentionOp before, LinearAttentionGradOp gradient, bool keeps) {
  OpBuilder builder(before);
  const UnitAttr flag = keeps ? builder.getUnitAttr() : UnitAttr();
  const bool solves = before.getBeta() || before.getWrite();
  auto forward = builder.create<LinearAttentionOp>(
      before.getLoc(), before.getQ(), before.getK(), before.getV(), before.getHeadDecay(), before.getDecay(),
      before.getChannelDecay(), before.getBeta(), before.getWrite(), before.getErase(), before.getBonus(),
      before.getState(), Value(), before.getScaleAttr(), before.getChunkAttr(), before.getNormaliserAttr(), flag,
      solves ? flag : UnitAttr());
  const ResultRange kept = forward.getKept();
  gradient.getStatesMutable().assign(kept.take_front(keeps));
  gradient.getWrittenMutable().assign(kept.drop_front(keeps));
  before.getResult().replaceAllUsesWith(forward.getResult());
  before.getFinalState().replaceAllUsesWith(forward.getFinalState());
  return forward;
}

void setKept(Pair &pair, bool keeps) {
  Operation *before = pair.forward;
  if (auto attention = dyn_cast<AttentionOp>(before))
    pair.forward = setKept(attention, cast<AttentionGradOp>(pair.gradient), keeps);
  else
    pair.forward = setKept(cast<LinearAttentionOp>(before), cast<LinearAttentionGradOp>(pair.gradient), keeps);
  before->erase();
}

struct KeepStatesPass : public morph::impl::KeepStatesPassBase<KeepStatesPass> {
  using KeepStatesPassBase::KeepStatesPassBase;

  LogicalResult keepStates(ModelOp model) {
    ProgramOp op = findProgram(model, program);
    if (!op)
      return emitModelError(model) << "has no program '" << program << "' to keep states in";
    FailureOr<std::map<std::string, int64_t>> runSizes = parseRunSizes(model, sizes);
    if (failed(runSizes))
      return failure();
    SmallVector<Pair> pairs = findPairs(op);
    if (pairs.empty()) {
      markAllAnalysesPreserved();
      return success();
    }
    size_t kept = 0;
    auto keep = [&](size_t count) {
      for (; kept < count; ++kept)
        setKept(pairs[kept], true);
      for (; kept > count; --kept)
        setKept(pairs[kept - 1], false);
    };
    keep(pairs.size());
    if (limit < 0)
      return success();
    // The most of them that fit.
    size_t fitting = 0, most = pairs.size();
    while (fitting < most) {
      FailureOr<plan::Plan> now = emitPlan(model, program);
      if (failed(now))
        return failure();
      const plan::RunMode mode{/*wide=*/false, threads};
      StatusOr<std::vector<std::vector<int64_t>>> shapes = plan::resolveShapes(*now, *runSizes);
      StatusOr<plan::Buffers> buffers = shapes.ok() ? plan::planBuffers(*now, *shapes, mode) : shapes.status();
      if (!buffers.ok())
        return emitProgramError(op) << "cannot be planned: " << buffers.status().message();
      if (buffers->arenaBytes <= limit)
        fitting = kept;
      else
        most = kept - 1;
      keep((fitting + most + 1) / 2);
    }
    return success();
  }

  void runOnOperation() override {
    if (failed(keepStates(getOperation())))
      signalPassFailure();
  }
};

} // namespace
