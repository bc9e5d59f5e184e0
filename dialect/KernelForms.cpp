// SPDX-License-Identifier: Apache-2.0
// The linalg forms of the ops of kernels that a scalar body alone does not describe (`KernelOpInterface`).

#include "dialect/MorphOps.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace morph;

using Scalars = ArrayRef<Scalar>;
using Values = SmallVector<Value>;

static int64_t lastDimension(Value value) { return cast<RankedTensorType>(value.getType()).getShape().back(); }

//===----------------------------------------------------------------------===//
// Norms
//===----------------------------------------------------------------------===//

/// 1 / sqrt(sum / divisor + eps) of each line.
static Value buildInverseRoot(OpBuilder &builder, Location location, Value sum, double divisor, double eps) {
  return buildElementwise(builder, location, sum,
                          [&](Scalars in) { return SmallVector<Scalar>{1 / sqrt(in[0] / divisor + eps)}; })[0];
}

static Value buildSquareSum(OpBuilder &builder, Location location, Value x) {
  return buildLineSum(builder, location, x, [](Scalars in) { return in[0] * in[0]; });
}

int64_t RmsNormOp::getLineWidth() { return lastDimension(getX()); }
bool RmsNormOp::isUniformOperand(unsigned index) { return index == 1; }
Values RmsNormOp::lowerToLinalg(OpBuilder &builder, ValueRange operands) {
  Value squares = buildSquareSum(builder, getLoc(), operands[0]);
  Value r = buildInverseRoot(builder, getLoc(), squares, lastDimension(operands[0]), getEps().convertToDouble());
  return buildElementwise(builder, getLoc(), {operands[0], r, operands[1]},
                          [](Scalars in) { return SmallVector<Scalar>{in[2] * (in[0] * in[1])}; });
}

int64_t L2NormOp::getLineWidth() { return lastDimension(getX()); }
Values L2NormOp::lowerToLinalg(OpBuilder &builder, ValueRange operands) {
  Value squares = buildSquareSum(builder, getLoc(), operands[0]);
  Value r = buildInverseRoot(builder, getLoc(), squares, /*divisor=*/1, getEps().convertToDouble());
  return buildElementwise(builder, getLoc(), {operands[0], r},
                          [](Scalars in) { return SmallVector<Scalar>{in[0] * in[1]}; });
}

int64_t RmsNormInputGradOp::getLineWidth() { return lastDimension(getX()); }
bool RmsNormInputGradOp::isUniformOperand(unsigned index) { return index == 2; }
Values RmsNormInputGradOp::lowerToLinalg(OpBuilder &builder, ValueRange operands) {
  // dx = r * (w * dy - x * r^2 * mean(w * dy * x))
  Value dy = operands[0], x = operands[1], weight = operands[2];
  double width = lastDimension(x);
  Value squares = buildSquareSum(builder, getLoc(), x);
  Value inner = buildLineSum(builder, getLoc(), {dy, x, weight}, [](Scalars in) { return in[2] * in[0] * in[1]; });
  Value r = buildInverseRoot(builder, getLoc(), squares, width, getEps().convertToDouble());
  Value shift = buildElementwise(builder, getLoc(), {r, inner},
                                 [&](Scalars in) { return SmallVector<Scalar>{in[0] * in[0] * in[1] / width}; })[0];
  return buildElementwise(builder, getLoc(), {dy, x, weight, r, shift},
                          [](Scalars in) { return SmallVector<Scalar>{in[3] * (in[2] * in[0] - in[1] * in[4])}; });
}

int64_t L2NormGradOp::getLineWidth() { return lastDimension(getX()); }
Values L2NormGradOp::lowerToLinalg(OpBuilder &builder, ValueRange operands) {
  // dx = r * (dy - x * r^2 * sum(dy * x))
  Value dy = operands[0], x = operands[1];
  Value squares = buildSquareSum(builder, getLoc(), x);
  Value inner = buildLineSum(builder, getLoc(), {dy, x}, [](Scalars in) { return in[0] * in[1]; });
  Value r = buildInverseRoot(builder, getLoc(), squares, /*divisor=*/1, getEps().convertToDouble());
  Value shift = buildElementwise(builder, getLoc(), {r, inner},
                                 [](Scalars in) { return SmallVector<Scalar>{in[0] * in[0] * in[1]}; })[0];
  return buildElementwise(builder, getLoc(), {dy, x, r, shift},
                          [](Scalars in) { return SmallVector<Scalar>{in[2] * (in[0] - in[1] * in[3])}; });
}

bool RmsNormWeightGradOp::sumsRows() { return true; }
int64_t RmsNormWeightGradOp::getLineWidth() { return lastDimension(getX()); }
Values RmsNormWeightGradOp::lowerToLinalg(OpBuilder &builder, ValueRange operands) {
  Value dy = operands[0], x = operands[1];
  Value squares = buildSquareSum(builder, getLoc(), x);
  Value r = buildInverseRoot(builder, getLoc(), squares, lastDimension(x), getEps().convertToDouble());
  return {buildRowSum(builder, getLoc(), {dy, x, r}, /*rank=*/1, [](Scalars in) { return in[0] * (in[1] * in[2]); })};
}

//===----------------------------------------------------------------------===//
// Sums
//===----------------------------------------------------------------------===//

bool ReduceToOp::sumsRows() { return true; }
int64_t ReduceToOp::getLineWidth() { return getRank() == 0 ? lastDimension(getX()) : 0; }
Values ReduceToOp::lowerToLinalg(OpBuilder &builder, ValueRange operands) {
  auto element = [](Scalars in) { return in[0]; };
  if (getRank() > 0)
    return {buildRowSum(builder, getLoc(), operands, getRank(), element)};
  Value lines = buildLineSum(builder, getLoc(), operands, element);
  return {buildRowSum(builder, getLoc(), lines, /*rank=*/0, element)};
}

//===----------------------------------------------------------------------===//
// Views
//===----------------------------------------------------------------------===//

/// Groups of dimensions of a tensor of `rank` dimensions whose last one becomes two.
static SmallVector<ReassociationIndices> groupLastTwo(int64_t rank) {
  SmallVector<ReassociationIndices> groups;
  for (int64_t i = 0; i < rank; ++i)
    groups.push_back({i});
  groups.back().push_back(rank);
  return groups;
}

Values SplitHeadsOp::lowerToLinalg(OpBuilder &builder, ValueRange operands) {
  auto type = cast<RankedTensorType>(operands[0].getType());
  SmallVector<int64_t> shape(type.getShape());
  shape.back() /= getHeads();
  shape.insert(shape.end() - 1, getHeads());
  auto split = RankedTensorType::get(shape, type.getElementType());
  return {builder.create<tensor::ExpandShapeOp>(getLoc(), split, operands[0], groupLastTwo(type.getRank()))};
}

Values MergeHeadsOp::lowerToLinalg(OpBuilder &builder, ValueRange operands) {
  int64_t rank = cast<RankedTensorType>(operands[0].getType()).getRank();
  return {builder.create<tensor::CollapseShapeOp>(getLoc(), operands[0], groupLastTwo(rank - 1))};
}

//===----------------------------------------------------------------------===//
// Precision
//===----------------------------------------------------------------------===//

Values CastOp::lowerToLinalg(OpBuilder &builder, ValueRange operands) {
  Type element = getResult().getType().getElementType();
  return buildElementwise(builder, getLoc(), operands,
                          [&](Scalars in) { return SmallVector<Scalar>{convert(in[0], element)}; });
}

//===----------------------------------------------------------------------===//
// Blends
//===----------------------------------------------------------------------===//

/// Element `index` of a gate, outside of any loop.
static Scalar extractShare(OpBuilder &builder, Location location, Value gate, int64_t index) {
  Value position = builder.create<arith::ConstantIndexOp>(location, index);
  return Scalar(builder, location, builder.create<tensor::ExtractOp>(location, gate, position));
}

/// The share of candidate `index`: its gate, or for the last one what the gates leave.
static Scalar buildShare(OpBuilder &builder, Location location, Value gate, int64_t index) {
  int64_t gates = cast<RankedTensorType>(gate.getType()).getDimSize(0);
  if (index < gates)
    return extractShare(builder, location, gate, index);
  Scalar sum = extractShare(builder, location, gate, 0);
  for (int64_t i = 1; i < gates; ++i)
    sum = sum + extractShare(builder, location, gate, i);
  return 1 - sum;
}

bool BlendOp::isUniformOperand(unsigned index) { return index == 0; }
Values BlendOp::lowerToLinalg(OpBuilder &builder, ValueRange operands) {
  Value gate = operands[0];
  ValueRange candidates = operands.drop_front();
  int64_t count = candidates.size();
  if (count == 2) {
    // Exact at both ends, so that a gate of 0 or 1 gives a candidate itself.
    Scalar share = extractShare(builder, getLoc(), gate, 0), rest = 1 - share;
    return buildElementwise(builder, getLoc(), candidates, [&](Scalars in) {
      Scalar difference = in[0] - in[1];
      Scalar low = fma(in[0].with(share.get()), difference, in[1]);
      Scalar high = in[0] - difference * in[0].with(rest.get());
      return SmallVector<Scalar>{selectBelow(in[0].with(share.get()), 0.5, low, high)};
    });
  }
  SmallVector<Value> shares;
  for (int64_t i = 0; i < count; ++i)
    shares.push_back(buildShare(builder, getLoc(), gate, i).get());
  return buildElementwise(builder, getLoc(), candidates, [&](Scalars in) {
    Scalar sum = in.back() * in.back().with(shares.back());
    for (int64_t i = 0; i + 1 < count; ++i)
      sum = fma(in[i], in[i].with(shares[i]), sum);
    return SmallVector<Scalar>{sum};
  });
}

bool BlendCandidateGradOp::isUniformOperand(unsigned index) { return index == 1; }
Values BlendCandidateGradOp::lowerToLinalg(OpBuilder &builder, ValueRange operands) {
  Value share = buildShare(builder, getLoc(), operands[1], getIndex()).get();
  return buildElementwise(builder, getLoc(), operands[0],
                          [&](Scalars in) { return SmallVector<Scalar>{in[0] * in[0].with(share)}; });
}

bool BlendGateGradOp::sumsRows() { return true; }
int64_t BlendGateGradOp::getLineWidth() { return lastDimension(getDy()); }
Values BlendGateGradOp::lowerToLinalg(OpBuilder &builder, ValueRange operands) {
  Value dy = operands.front(), last = operands.back();
  Values lines;
  for (Value candidate : operands.drop_front().drop_back())
    lines.push_back(
        buildLineSum(builder, getLoc(), {dy, candidate, last}, [](Scalars in) { return in[0] * (in[1] - in[2]); }));
  return {buildTotals(builder, getLoc(), lines)};
}
