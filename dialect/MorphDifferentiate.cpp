// SPDX-License-Identifier: Apache-2.0
// Vector-Jacobian products: what morph-differentiate asks of each op. In every function `dy` is the gradient of the
// op's (first) result and `needed` has a flag an operand.

#include "dialect/MorphOps.h"

using namespace mlir;
using namespace morph;

using Gradients = SmallVector<Value>;

/// The sum of `gradient` over the dimensions that `like` was broadcast along.
static Value reduceLike(OpBuilder &builder, Location location, Value gradient, Value like) {
  int64_t rank = cast<RankedTensorType>(like.getType()).getRank();
  if (rank == cast<RankedTensorType>(gradient.getType()).getRank())
    return gradient;
  return builder.create<ReduceToOp>(location, gradient, rank);
}

/// Whether a gradient reaches one of some results; the others' are null.
static bool reachesAny(ValueRange gradients) {
  return llvm::any_of(gradients, [](Value gradient) { return static_cast<bool>(gradient); });
}

//===----------------------------------------------------------------------===//
// Embedding, projections, norms
//===----------------------------------------------------------------------===//

Gradients EmbeddingOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  Gradients gradients(2);
  // The number of rows is known: program_c6.
  if (needed[1])
    gradients[1] = builder.create<EmbeddingGradOp>(getLoc(), dy[0], getIds(), getTable().getType().getDimSize(0));
  return gradients;
}

Gradients LinearOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  Gradients gradients(getNumOperands());
  if (needed[0])
    gradients[0] = builder.create<LinearInputGradOp>(getLoc(), dy[0], getWeight());
  if (needed[1])
    gradients[1] = builder.create<LinearWeightGradOp>(getLoc(), dy[0], getX());
  if (getBias() && needed[2])
    gradients[2] = reduceLike(builder, getLoc(), dy[0], getBias());
  return gradients;
}

Gradients RmsNormOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  Gradients gradients(2);
  if (needed[0])
    gradients[0] = builder.create<RmsNormInputGradOp>(getLoc(), dy[0], getX(), getWeight(), getEps());
  if (needed[1])
    gradients[1] = builder.create<RmsNormWeightGradOp>(getLoc(), dy[0], getX(), getEps());
  return gradients;
}

Gradients L2NormOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  return {needed[0] ? builder.create<L2NormGradOp>(getLoc(), dy[0], getX(), getEps()) : Value()};
}

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

Gradients SplitHeadsOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  return {needed[0] ? builder.create<MergeHeadsOp>(getLoc(), dy[0]) : Value()};
}

Gradients ExpandOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  return {needed[0] ? builder.create<SumLastOp>(getLoc(), dy[0]) : Value()};
}
Gradients SumLastOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  int64_t width = cast<RankedTensorType>(getX().getType()).getShape().back();
  return {needed[0] ? builder.create<ExpandOp>(getLoc(), dy[0], width) : Value()};
}
Gradients MergeHeadsOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  int64_t heads = cast<RankedTensorType>(getX().getType()).getDimSize(2);
  return {needed[0] ? builder.create<SplitHeadsOp>(getLoc(), dy[0], heads) : Value()};
}

Gradients TakeRowsOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  return {needed[0] ? builder.create<ScatterRowsOp>(getLoc(), dy[0], getPositions(), getX()) : Value(), Value()};
}

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

Gradients AddOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  Gradients gradients(2);
  if (needed[0])
    gradients[0] = dy[0];
  if (needed[1])
    gradients[1] = reduceLike(builder, getLoc(), dy[0], getRhs());
  return gradients;
}

Gradients MulOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  Gradients gradients(2);
  if (needed[0])
    gradients[0] = builder.create<MulOp>(getLoc(), dy[0], getRhs());
  if (needed[1])
    gradients[1] = reduceLike(builder, getLoc(), builder.create<MulOp>(getLoc(), dy[0], getLhs()), getRhs());
  return gradients;
}

Gradients OffsetOp::buildGradients(OpBuilder &, ValueRange dy, ArrayRef<bool> needed) {
  return {needed[0] ? dy[0] : Value()};
}
Gradients ScaleOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  return {needed[0] ? builder.create<ScaleOp>(getLoc(), dy[0], getFactor()) : Value()};
}

Gradients ExpOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  return {needed[0] ? builder.create<MulOp>(getLoc(), dy[0], getResult()) : Value()};
}

Gradients LogOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  if (!needed[0])
    return {Value()};
  // 1 / x, which is positive where it has a logarithm.
  Value negated = builder.create<ScaleOp>(getLoc(), getResult(), APFloat(-1.0));
  return {builder.create<MulOp>(getLoc(), dy[0], builder.create<ExpOp>(getLoc(), negated))};
}

Gradients SigmoidOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  return {needed[0] ? builder.create<SigmoidGradOp>(getLoc(), dy[0], getResult()) : Value()};
}

Gradients TanhOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  if (!needed[0])
    return {Value()};
  // 1 - tanh(x)^2
  Value square = builder.create<MulOp>(getLoc(), getResult(), getResult());
  Value slope =
      builder.create<OffsetOp>(getLoc(), builder.create<ScaleOp>(getLoc(), square, APFloat(-1.0)), APFloat(1.0));
  return {builder.create<MulOp>(getLoc(), dy[0], slope)};
}

Gradients SiluOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  return {needed[0] ? builder.create<SiluGradOp>(getLoc(), dy[0], getX()) : Value()};
}

Gradients QuickGeluOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  return {needed[0] ? builder.create<QuickGeluGradOp>(getLoc(), dy[0], getX()) : Value()};
}

Gradients GeluTanhOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  return {needed[0] ? builder.create<GeluTanhGradOp>(getLoc(), dy[0], getX()) : Value()};
}

Gradients SoftplusOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  if (!needed[0])
    return {Value()};
  Value slope = builder.create<SigmoidOp>(getLoc(), getX());
  return {builder.create<MulOp>(getLoc(), dy[0], slope)};
}

Gradients SwigluOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  if (!needed[0] && !needed[1])
    return {Value(), Value()};
  auto gradient = builder.create<SwigluGradOp>(getLoc(), dy[0], getGate(), getX());
  return {needed[0] ? gradient.getDgate() : Value(), needed[1] ? gradient.getDx() : Value()};
}

//===----------------------------------------------------------------------===//
// Mixtures of experts
//===----------------------------------------------------------------------===//

Gradients TopKSoftmaxOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  if (!needed[0])
    return {Value()};
  return {builder.create<TopKSoftmaxGradOp>(getLoc(), dy[0], getX(), getResult(), getCountAttr(), getNormalisedAttr())};
}

/// The two gradients of `GradOp` by the operands from `first` on, in their places in `gradients`.
template <typename GradOp>
static void buildExpertsGradients(OpBuilder &builder, ExpertsOp op, Value dy, ArrayRef<bool> needed, unsigned first,
                                  Gradients &gradients) {
  if (!needed[first] && !needed[first + 1])
    return;
  auto gradient = builder.create<GradOp>(op.getLoc(), dy, op.getX(), op.getRouting(), op.getGateUp(), op.getDown(),
                                         op.getActiveAttr());
  for (unsigned i = first; i < first + 2; ++i)
    if (needed[i])
      gradients[i] = gradient->getResult(i - first);
}

Gradients ExpertsOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  Gradients gradients(4);
  buildExpertsGradients<ExpertsInputGradOp>(builder, *this, dy[0], needed, 0, gradients);
  buildExpertsGradients<ExpertsWeightGradOp>(builder, *this, dy[0], needed, 2, gradients);
  return gradients;
}

//===----------------------------------------------------------------------===//
// Token mixing
//===----------------------------------------------------------------------===//

Gradients RopeOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  Gradients gradients(getNumOperands());
  if (needed[0])
    gradients[0] = builder.create<RopeOp>(getLoc(), dy[0], getOffset(), getTable(), !getInverse());
  return gradients;
}

Gradients AttentionOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  Gradients gradients(getNumOperands());
  if (!llvm::is_contained(needed.take_front(3), true))
    return gradients;
  if (getOffset()) {
    emitOpError() << "has no gradient on rings";
    return {};
  }
  if (reachesAny(dy.drop_front(1))) {
    emitOpError() << "has no gradient by what it keeps";
    return {};
  }
  auto gradient = builder.create<AttentionGradOp>(getLoc(), dy[0], getQ(), getK(), getV(), getStart(),
                                                  /*out=*/Value(), /*lse=*/Value(), getBegins(), getScaleAttr(),
                                                  getWindowAttr(), getSoftcapAttr());
  for (int i = 0; i < 3; ++i)
    if (needed[i])
      gradients[i] = gradient.getResult(i);
  return gradients;
}

Gradients LinearAttentionOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  Gradients gradients(getNumOperands());
  // The state and the begins, which are the last, get none.
  size_t inputs = getNumOperands() - (getState() ? 1 : 0) - (getBegins() ? 1 : 0);
  if (dy[1] || (getState() && needed[inputs])) {
    emitOpError() << "has no gradient by its states";
    return {};
  }
  if (reachesAny(dy.drop_front(2))) {
    emitOpError() << "has no gradient by what it keeps";
    return {};
  }
  if (!llvm::is_contained(needed.take_front(inputs), true))
    return gradients;
  auto gradient = builder.create<LinearAttentionGradOp>(
      getLoc(), dy[0], /*states=*/Value(), /*written=*/Value(), getQ(), getK(), getV(), getHeadDecay(), getDecay(),
      getChannelDecay(), getBeta(), getWrite(), getErase(), getBonus(), getState(), getBegins(), getScaleAttr(),
      getChunkAttr(), getNormaliserAttr());
  for (size_t i = 0; i < inputs; ++i)
    if (needed[i])
      gradients[i] = gradient->getResult(i);
  return gradients;
}

Gradients ShortConvOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  Gradients gradients(getNumOperands());
  if (dy[1] || (getState() && needed[2])) {
    emitOpError() << "has no gradient by its states";
    return {};
  }
  if (!needed[0] && !needed[1])
    return gradients;
  auto gradient = builder.create<ShortConvGradOp>(getLoc(), dy[0], getX(), getWeight(), getState(), getBegins());
  if (needed[0])
    gradients[0] = gradient.getDx();
  if (needed[1])
    gradients[1] = gradient.getDweight();
  return gradients;
}

Gradients BlendOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  Gradients gradients(getNumOperands());
  if (needed[0])
    gradients[0] = builder.create<BlendGateGradOp>(getLoc(), dy[0], getCandidates());
  for (size_t i = 0; i < getCandidates().size(); ++i)
    if (needed[1 + i])
      gradients[1 + i] = builder.create<BlendCandidateGradOp>(getLoc(), dy[0], getGate(), i);
  return gradients;
}

//===----------------------------------------------------------------------===//
// Losses: a teacher, a target and weights get no gradient
//===----------------------------------------------------------------------===//

Gradients TokenNllOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  return {needed[0] ? builder.create<TokenNllGradOp>(getLoc(), dy[0], getLogits(), getTargets()) : Value(), Value()};
}

Gradients KlDivergenceOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  return {Value(),
          needed[1] ? builder.create<KlDivergenceGradOp>(getLoc(), dy[0], getTeacher(), getStudent()) : Value()};
}
Gradients ReverseKlDivergenceOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  return {Value(),
          needed[1] ? builder.create<ReverseKlDivergenceGradOp>(getLoc(), dy[0], getTeacher(), getStudent()) : Value()};
}

Gradients SquaredErrorOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  return {needed[0] ? builder.create<SquaredErrorGradOp>(getLoc(), dy[0], getX(), getTarget(), getNormalize())
                    : Value(),
          Value()};
}

Gradients WeightedMeanOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  return {needed[0] ? builder.create<WeightedMeanGradOp>(getLoc(), dy[0], getWeights()) : Value(), Value()};
}

//===----------------------------------------------------------------------===//
// Precision
//===----------------------------------------------------------------------===//

Gradients CastOp::buildGradients(OpBuilder &builder, ValueRange dy, ArrayRef<bool> needed) {
  bool isHalf = cast<RankedTensorType>(getX().getType()).getElementType().isBF16();
  StringAttr dtype = builder.getStringAttr(isHalf ? "bf16" : "f32");
  return {needed[0] ? builder.create<CastOp>(getLoc(), dy[0], dtype).getResult() : Value()};
}
