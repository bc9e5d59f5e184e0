// SPDX-License-Identifier: Apache-2.0
// morph-demand-rows: what only some rows are read of is computed at these rows.

#include "passes/Passes.h"

#include "mlir/IR/IRMapping.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace morph {
#define GEN_PASS_DEF_DEMANDROWSPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

/// Whether two ops take the same rows.
bool isSameDemand(Operation *a, Operation *b) {
  return a->getName() == b->getName() && a->getOperands().drop_front() == b->getOperands().drop_front();
}

/// Whether a value has no rows of the data, whatever its rank.
bool isWeight(Value value) { return value.getDefiningOp<ParamOp>(); }

/// take_rows(f(x, y)) becomes f(take_rows(x), take_rows(y)) where nothing else reads f.
struct DemandRows : public RewritePattern {
  explicit DemandRows(MLIRContext *context) : RewritePattern(MatchAnyOpTypeTag(), /*benefit=*/1, context) {}

  LogicalResult matchAndRewrite(Operation *demand, PatternRewriter &rewriter) const override {
    if (!demand->hasTrait<morph::OpTrait::TakesRows>())
      return failure();
    Operation *producer = demand->getOperand(0).getDefiningOp();
    if (!producer || !producer->hasTrait<morph::OpTrait::Rowwise>() || producer->getNumResults() != 1 ||
        !llvm::all_of(producer->getUsers(), [&](Operation *user) { return isSameDemand(user, demand); }))
      return failure();
    // Where positions come first in the block, rows can be taken as soon as they are there.
    for (Value operand : demand->getOperands().drop_front())
      if (Operation *definition = operand.getDefiningOp(); definition && !definition->isBeforeInBlock(producer))
        return failure();
    // A term of rank 2 that is added to [B,T,C] has rows of its own.
    int64_t rank = cast<RankedTensorType>(producer->getResult(0).getType()).getRank();
    if (producer->hasTrait<morph::OpTrait::Elementwise>() && llvm::any_of(producer->getOperandTypes(), [&](Type type) {
          int64_t own = cast<RankedTensorType>(type).getRank();
          return own != rank && own > 1;
        }))
      return failure();
    auto taken = cast<RankedTensorType>(demand->getResult(0).getType());
    auto hasRows = [&](Type type) { return cast<RankedTensorType>(type).getRank() == rank; };
    // Rows are taken of f32 alone.
    for (Value operand : producer->getOperands())
      if (hasRows(operand.getType()) && !isWeight(operand) && getElementTypeOrSelf(operand) != taken.getElementType())
        return failure();
    rewriter.setInsertionPoint(producer);
    IRMapping mapping;
    for (Value operand : producer->getOperands()) {
      auto type = cast<RankedTensorType>(operand.getType());
      if (mapping.contains(operand) || !hasRows(type) || isWeight(operand))
        continue; // A weight, or a term that all rows share.
      SmallVector<Value> operands(demand->getOperands());
      operands.front() = operand;
      SmallVector<int64_t> shape(taken.getShape().drop_back());
      shape.push_back(type.getShape().back());
      Operation *rows = rewriter.create(demand->getLoc(), demand->getName().getIdentifier(), operands,
                                        type.clone(shape), demand->getAttrs());
      mapping.map(operand, rows->getResult(0));
    }
    Operation *narrow = rewriter.clone(*producer, mapping);
    narrow->getResult(0).setType(taken);
    for (Operation *user : llvm::make_early_inc_range(producer->getUsers()))
      rewriter.replaceOp(user, narrow->getResults());
    rewriter.eraseOp(producer);
    return success();
  }
};

struct DemandRowsPass : public morph::impl::DemandRowsPassBase<DemandRowsPass> {
  using DemandRowsPassBase::DemandRowsPassBase;

  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<DemandRows>(&getContext());
    FrozenRewritePatternSet frozen(std::move(patterns));
    for (auto program : getOperation().getBody().getOps<ProgramOp>())
      if (failed(applyPatternsAndFoldGreedily(program, frozen)))
        return signalPassFailure();
  }
};

} // namespace
