// SPDX-License-Identifier: Apache-2.0
#include "passes/lower/VectorMath.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"

using namespace mlir;

namespace {

/// exp(x) = 2^n e^r: n the nearest integer to x / ln 2, r the rest, e^r a polynomial (that of Cephes' expf).
struct ExpPattern : public OpRewritePattern<math::ExpOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(math::ExpOp op, PatternRewriter &rewriter) const override {
    Type type = op.getType();
    if (!getElementTypeOrSelf(type).isF32())
      return failure();
    Location location = op.getLoc();
    Type integers = IntegerType::get(op.getContext(), 32);
    if (auto shaped = dyn_cast<ShapedType>(type))
      integers = shaped.clone(integers);
    auto splat = [&](TypedAttr attribute, Type of) -> Value {
      if (auto shaped = dyn_cast<ShapedType>(of))
        attribute = DenseElementsAttr::get(shaped, Attribute(attribute));
      return rewriter.create<arith::ConstantOp>(location, attribute);
    };
    auto number = [&](float value) { return splat(rewriter.getF32FloatAttr(value), type); };
    auto integer = [&](int32_t value) { return splat(rewriter.getI32IntegerAttr(value), integers); };
    auto fma = [&](Value a, Value b, Value c) -> Value { return rewriter.create<math::FmaOp>(location, a, b, c); };
    auto limit = [&](arith::CmpFPredicate beyond, Value x, float bound) -> Value {
      Value isBeyond = rewriter.create<arith::CmpFOp>(location, beyond, x, number(bound));
      return rewriter.create<arith::SelectOp>(location, isBeyond, number(bound), x);
    };
    // Beyond the limits the result is zero or infinity, which the scaling below gives. NaN passes.
    Value x = limit(arith::CmpFPredicate::OGT, op.getOperand(), 89.0f);
    x = limit(arith::CmpFPredicate::OLT, x, -104.0f);
    // Adding 1.5 * 2^23 rounds to an integer, which the lowest bits of the sum hold.
    Value sum = fma(x, number(1.44269504f), number(12582912.0f));
    Value n = rewriter.create<arith::SubFOp>(location, sum, number(12582912.0f));
    Value r = fma(n, number(-0.693359375f), x);
    r = fma(n, number(2.12194440e-4f), r);
    Value p = number(1.9875691500e-4f);
    for (float coefficient : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
      p = fma(p, r, number(coefficient));
    Value square = rewriter.create<arith::MulFOp>(location, r, r);
    p = rewriter.create<arith::AddFOp>(location, fma(p, square, r), number(1.0f));
    // 2^n as two factors, so that results are right up to infinity and down to the last denormal number.
    Value bits = rewriter.create<arith::BitcastOp>(location, integers, sum);
    Value exponent = rewriter.create<arith::SubIOp>(location, bits, integer(0x4b400000));
    Value half = rewriter.create<arith::ShRSIOp>(location, exponent, integer(1));
    Value rest = rewriter.create<arith::SubIOp>(location, exponent, half);
    for (Value part : {half, rest}) {
      Value biased = rewriter.create<arith::AddIOp>(location, part, integer(127));
      Value shifted = rewriter.create<arith::ShLIOp>(location, biased, integer(23));
      Value factor = rewriter.create<arith::BitcastOp>(location, type, shifted);
      p = rewriter.create<arith::MulFOp>(location, p, factor);
    }
    rewriter.replaceOp(op, p);
    return success();
  }
};

} // namespace

void morph::populateVectorMath(RewritePatternSet &patterns) {
  patterns.add<ExpPattern>(patterns.getContext(), /*benefit=*/2);
  populateMathPolynomialApproximationPatterns(patterns);
}
