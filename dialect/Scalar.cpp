// SPDX-License-Identifier: Apache-2.0
#include "dialect/Scalar.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace morph {

Scalar Scalar::constant(double number) const {
  return with(builder->create<arith::ConstantOp>(location, builder->getFloatAttr(value.getType(), number)));
}

Scalar operator+(Scalar a, Scalar b) { return a.with(a.builder->create<arith::AddFOp>(a.location, a.value, b.value)); }
Scalar operator-(Scalar a, Scalar b) { return a.with(a.builder->create<arith::SubFOp>(a.location, a.value, b.value)); }
Scalar operator*(Scalar a, Scalar b) { return a.with(a.builder->create<arith::MulFOp>(a.location, a.value, b.value)); }
Scalar operator/(Scalar a, Scalar b) { return a.with(a.builder->create<arith::DivFOp>(a.location, a.value, b.value)); }
Scalar operator-(Scalar a) { return a.with(a.builder->create<arith::NegFOp>(a.location, a.value)); }

Scalar exp(Scalar x) { return x.with(x.builder->create<math::ExpOp>(x.location, x.value)); }
Scalar log(Scalar x) { return x.with(x.builder->create<math::LogOp>(x.location, x.value)); }
Scalar log1p(Scalar x) { return x.with(x.builder->create<math::Log1pOp>(x.location, x.value)); }
Scalar sqrt(Scalar x) { return x.with(x.builder->create<math::SqrtOp>(x.location, x.value)); }
Scalar abs(Scalar x) { return x.with(x.builder->create<math::AbsFOp>(x.location, x.value)); }

Scalar fma(Scalar a, Scalar b, Scalar c) {
  return a.with(a.builder->create<math::FmaOp>(a.location, a.value, b.value, c.value));
}

Scalar max(Scalar a, Scalar b) {
  Value isLarger = a.builder->create<arith::CmpFOp>(a.location, arith::CmpFPredicate::OGT, a.value, b.value);
  return a.with(a.builder->create<arith::SelectOp>(a.location, isLarger, a.value, b.value));
}

Scalar selectBelow(Scalar x, double limit, Scalar a, Scalar b) {
  Value isBelow =
      x.builder->create<arith::CmpFOp>(x.location, arith::CmpFPredicate::OLT, x.value, x.constant(limit).value);
  return x.with(x.builder->create<arith::SelectOp>(x.location, isBelow, a.value, b.value));
}

Scalar convert(Scalar x, Type type) {
  unsigned from = x.value.getType().getIntOrFloatBitWidth(), to = type.getIntOrFloatBitWidth();
  if (from == to)
    return x;
  if (from < to)
    return x.with(x.builder->create<arith::ExtFOp>(x.location, type, x.value));
  return x.with(x.builder->create<arith::TruncFOp>(x.location, type, x.value));
}

/// An empty tensor of a shape whose only dynamic dimension is the first, of `like`'s rows.
static Value createEmpty(OpBuilder &builder, Location location, Value like, ArrayRef<int64_t> shape, Type element) {
  Value rows = builder.create<tensor::DimOp>(location, like, 0);
  return builder.create<tensor::EmptyOp>(location, shape, element, rows);
}

/// How an operand is read in the domain of the first one.
static AffineMap indexOperand(MLIRContext *context, int64_t domainRank, RankedTensorType type) {
  // Rows and lines share the leading dimensions, uniform operands the trailing ones.
  int64_t rank = type.getRank();
  bool isUniform = type.hasStaticShape();
  SmallVector<AffineExpr> results;
  for (int64_t i = 0; i < rank; ++i)
    results.push_back(getAffineDimExpr(isUniform ? domainRank - rank + i : i, context));
  return AffineMap::get(domainRank, 0, results, context);
}

static SmallVector<AffineMap> indexOperands(MLIRContext *context, int64_t domainRank, ValueRange operands) {
  SmallVector<AffineMap> maps;
  for (Value operand : operands)
    maps.push_back(indexOperand(context, domainRank, cast<RankedTensorType>(operand.getType())));
  return maps;
}

static SmallVector<Scalar> scalarsOf(OpBuilder &builder, Location location, ValueRange arguments) {
  SmallVector<Scalar> scalars;
  for (Value argument : arguments)
    scalars.emplace_back(builder, location, argument);
  return scalars;
}

SmallVector<Value> buildElementwise(OpBuilder &builder, Location location, ValueRange operands, ElementwiseBody body) {
  auto domain = cast<RankedTensorType>(operands.front().getType());
  MLIRContext *context = builder.getContext();
  // The body gives the types of the results, so it is built first, in a block of its own.
  Block scratch;
  for (Value operand : operands)
    scratch.addArgument(getElementTypeOrSelf(operand.getType()), location);
  OpBuilder inner(context);
  inner.setInsertionPointToStart(&scratch);
  SmallVector<Value> yielded;
  for (Scalar result : body(scalarsOf(inner, location, scratch.getArguments())))
    yielded.push_back(result.get());
  inner.create<linalg::YieldOp>(location, yielded);

  SmallVector<AffineMap> maps = indexOperands(context, domain.getRank(), operands);
  SmallVector<Value> outputs;
  for (Value value : yielded) {
    outputs.push_back(createEmpty(builder, location, operands.front(), domain.getShape(), value.getType()));
    maps.push_back(builder.getMultiDimIdentityMap(domain.getRank()));
    scratch.addArgument(value.getType(), location);
  }
  SmallVector<utils::IteratorType> iterators(domain.getRank(), utils::IteratorType::parallel);
  auto generic =
      builder.create<linalg::GenericOp>(location, ValueRange(outputs).getTypes(), operands, outputs, maps, iterators);
  Block &block = generic.getRegion().emplaceBlock();
  block.addArguments(scratch.getArgumentTypes(), SmallVector<Location>(scratch.getNumArguments(), location));
  for (auto [from, to] : llvm::zip_equal(scratch.getArguments(), block.getArguments()))
    from.replaceAllUsesWith(to);
  block.getOperations().splice(block.end(), scratch.getOperations());
  return SmallVector<Value>(generic.getResults());
}

/// A linalg op that adds `body` of the operands to `start`, whose elements are indexed by `place`. Dimensions that it
/// does not use are summed over.
static Value buildSum(OpBuilder &builder, Location location, ValueRange operands, Value start, AffineMap place,
                      llvm::function_ref<Scalar(ArrayRef<Scalar>)> body) {
  int64_t rank = place.getNumDims();
  SmallVector<AffineMap> maps = indexOperands(builder.getContext(), rank, operands);
  maps.push_back(place);
  SmallVector<utils::IteratorType> iterators;
  for (int64_t i = 0; i < rank; ++i)
    iterators.push_back(place.isFunctionOfDim(i) ? utils::IteratorType::parallel : utils::IteratorType::reduction);
  auto generic = builder.create<linalg::GenericOp>(location, start.getType(), operands, start, maps, iterators,
                                                   [&](OpBuilder &inner, Location where, ValueRange arguments) {
                                                     SmallVector<Scalar> scalars = scalarsOf(inner, where, arguments);
                                                     Scalar sum = scalars.pop_back_val();
                                                     inner.create<linalg::YieldOp>(where, (sum + body(scalars)).get());
                                                   });
  return generic.getResult(0);
}

static Value fillWithZeros(OpBuilder &builder, Location location, Value empty) {
  Value zero = builder.create<arith::ConstantOp>(location, builder.getF32FloatAttr(0));
  return builder.create<linalg::FillOp>(location, zero, empty).getResult(0);
}

Value buildLineSum(OpBuilder &builder, Location location, ValueRange operands,
                   llvm::function_ref<Scalar(ArrayRef<Scalar>)> body) {
  auto domain = cast<RankedTensorType>(operands.front().getType());
  int64_t rank = domain.getRank();
  Value empty = createEmpty(builder, location, operands.front(), domain.getShape().drop_back(), builder.getF32Type());
  return buildSum(builder, location, operands, fillWithZeros(builder, location, empty),
                  builder.getMultiDimIdentityMap(rank).getMajorSubMap(rank - 1), body);
}

Value buildRowSum(OpBuilder &builder, Location location, ValueRange operands, int64_t rank,
                  llvm::function_ref<Scalar(ArrayRef<Scalar>)> body) {
  auto domain = cast<RankedTensorType>(operands.front().getType());
  Value empty = builder.create<tensor::EmptyOp>(location, domain.getShape().take_back(rank), builder.getF32Type());
  return buildSum(builder, location, operands, fillWithZeros(builder, location, empty),
                  AffineMap::get(domain.getRank(), 0,
                                 builder.getMultiDimIdentityMap(domain.getRank()).getResults().take_back(rank),
                                 builder.getContext()),
                  body);
}

Value buildTotals(OpBuilder &builder, Location location, ValueRange values) {
  int64_t rank = cast<RankedTensorType>(values.front().getType()).getRank();
  Value empty =
      builder.create<tensor::EmptyOp>(location, ArrayRef<int64_t>{int64_t(values.size())}, builder.getF32Type());
  Value totals = fillWithZeros(builder, location, empty);
  for (auto [index, value] : llvm::enumerate(values)) {
    AffineMap place = AffineMap::get(rank, 0, builder.getAffineConstantExpr(index));
    totals = buildSum(builder, location, value, totals, place, [](ArrayRef<Scalar> in) { return in[0]; });
  }
  return totals;
}

} // namespace morph
