// SPDX-License-Identifier: Apache-2.0
// morph-keep-states: what linear attention's forward leaves for its backward, where the memory allows it.

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

/// A backward, and the forward that finds first what it would find again.
struct Pair {
  LinearAttentionOp forward;
  LinearAttentionGradOp gradient;
  int64_t distance = 0; ///< Ops between them.
};

/// Whether the gradient is that of the forward.
bool belongTo(LinearAttentionOp forward, LinearAttentionGradOp gradient) {
  auto operandsOf = [](auto op) {
    return std::array<Value, 11>{
        op.getQ(),    op.getK(),     op.getV(),     op.getHeadDecay(), op.getDecay(), op.getChannelDecay(),
        op.getBeta(), op.getWrite(), op.getErase(), op.getBonus(),     op.getState()};
  };
  return operandsOf(forward) == operandsOf(gradient) && forward.getChunkAttr() == gradient.getChunkAttr() &&
         forward.getNormaliserAttr() == gradient.getNormaliserAttr();
}

/// The pairs of a program, those first whose values would live for the fewest ops. A forward that is computed twice
/// (morph-recompute) leaves them the second time.
SmallVector<Pair> findPairs(ProgramOp program) {
  SmallVector<Pair> pairs;
  llvm::DenseSet<Operation *> taken; // Two gradients of one forward: the second finds its own.
  llvm::DenseMap<Value, SmallVector<std::pair<LinearAttentionOp, int64_t>>> forwards; // By q, in their order.
  for (auto [index, op] : llvm::enumerate(program.getBlock())) {
    const int64_t position = static_cast<int64_t>(index);
    if (auto forward = dyn_cast<LinearAttentionOp>(op))
      forwards[forward.getQ()].push_back({forward, position});
    if (auto gradient = dyn_cast<LinearAttentionGradOp>(op))
      for (auto [forward, at] : llvm::reverse(forwards[gradient.getQ()]))
        if (belongTo(forward, gradient) && taken.insert(forward).second) {
          pairs.push_back({forward, gradient, position - at});
          break;
        }
  }
  llvm::stable_sort(pairs, [](const Pair &a, const Pair &b) { return a.distance < b.distance; });
  return pairs;
}

/// Makes the forward leave the states and what is written, where that is no operand, or leave nothing.
void setKept(Pair &pair, bool keeps) {
  LinearAttentionOp before = pair.forward;
  OpBuilder builder(before);
  const UnitAttr flag = keeps ? builder.getUnitAttr() : UnitAttr();
  const bool solves = before.getBeta() || before.getWrite();
  pair.forward = builder.create<LinearAttentionOp>(
      before.getLoc(), before.getQ(), before.getK(), before.getV(), before.getHeadDecay(), before.getDecay(),
      before.getChannelDecay(), before.getBeta(), before.getWrite(), before.getErase(), before.getBonus(),
      before.getState(), before.getScaleAttr(), before.getChunkAttr(), before.getNormaliserAttr(), flag,
      solves ? flag : UnitAttr());
  const ResultRange kept = pair.forward.getKept();
  pair.gradient.getStatesMutable().assign(kept.take_front(keeps));
  pair.gradient.getWrittenMutable().assign(kept.drop_front(keeps));
  before.getResult().replaceAllUsesWith(pair.forward.getResult());
  before.getFinalState().replaceAllUsesWith(pair.forward.getFinalState());
  before.erase();
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
