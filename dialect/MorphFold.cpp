// SPDX-License-Identifier: Apache-2.0
// Folds and canonicalisations. None of them changes more than the last bits of a result.

#include "dialect/MorphOps.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace morph;

/// `value` as what `op` folds to, unless that is the op itself: in blocks that nothing reaches values may form a
/// circle.
static OpFoldResult foldTo(Operation *op, Value value) {
  return value.getDefiningOp() == op ? OpFoldResult() : OpFoldResult(value);
}

OpFoldResult ScaleOp::fold(FoldAdaptor) {
  return getFactor().convertToDouble() == 1.0 ? foldTo(*this, getX()) : OpFoldResult();
}

OpFoldResult SplitHeadsOp::fold(FoldAdaptor) {
  auto merge = getX().getDefiningOp<MergeHeadsOp>();
  return merge && merge.getX().getType() == getType() ? foldTo(*this, merge.getX()) : OpFoldResult();
}

OpFoldResult MergeHeadsOp::fold(FoldAdaptor) {
  auto split = getX().getDefiningOp<SplitHeadsOp>();
  return split && split.getX().getType() == getType() ? foldTo(*this, split.getX()) : OpFoldResult();
}

OpFoldResult MaskPaddingOp::fold(FoldAdaptor) {
  auto inner = getX().getDefiningOp<MaskPaddingOp>();
  bool isSame = inner && inner.getStart() == getStart() && inner.getOffset() == getOffset();
  return isSame ? foldTo(*this, getX()) : OpFoldResult();
}

OpFoldResult RopeOp::fold(FoldAdaptor) {
  // A rotation and its transpose cancel, but for the attention factor, which both apply: only where that is one.
  auto inner = getX().getDefiningOp<RopeOp>();
  if (!inner || inner.getTableAttr() != getTableAttr() || inner.getOffset() != getOffset() ||
      inner.getInverse() == getInverse() || inner.getX().getType() != getType())
    return {};
  auto table = SymbolTable::lookupNearestSymbolFrom<RopeTableOp>(*this, getTableAttr());
  return table && table.getAttentionFactor().convertToDouble() == 1.0 ? foldTo(*this, inner.getX()) : OpFoldResult();
}

OpFoldResult ReduceToOp::fold(FoldAdaptor) {
  return getX().getType() == getType() ? foldTo(*this, getX()) : OpFoldResult();
}

namespace {
/// scale(scale(x, a), b) -> scale(x, a*b)
struct ScaleOfScale : OpRewritePattern<ScaleOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(ScaleOp op, PatternRewriter &rewriter) const override {
    auto inner = op.getX().getDefiningOp<ScaleOp>();
    if (!inner || inner == op || inner.getX().getDefiningOp() == op)
      return rewriter.notifyMatchFailure(op, "not a scale of another scale");
    double factor = op.getFactor().convertToDouble() * inner.getFactor().convertToDouble();
    rewriter.replaceOpWithNewOp<ScaleOp>(op, inner.getX(), llvm::APFloat(factor));
    return success();
  }
};

/// blend(g; c, c, ...) -> c: the shares sum to one.
struct BlendOfOneValue : OpRewritePattern<BlendOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(BlendOp op, PatternRewriter &rewriter) const override {
    if (!llvm::all_equal(op.getCandidates()) || op.getCandidates().front().getDefiningOp() == op)
      return rewriter.notifyMatchFailure(op, "the candidates differ");
    rewriter.replaceOp(op, op.getCandidates().front());
    return success();
  }
};
} // namespace

void ScaleOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<ScaleOfScale>(context);
}

void BlendOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<BlendOfOneValue>(context);
}

OpFoldResult CastOp::fold(FoldAdaptor) {
  if (getX().getType() == getResult().getType())
    return getX();
  return {};
}
