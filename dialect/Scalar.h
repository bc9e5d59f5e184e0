// SPDX-License-Identifier: Apache-2.0
// Expressions on scalars that build ops of arith and math: the bodies of elementwise ops, as their records write them.
// The same words on tensors are in runtime/kernels/Elementwise.cpp.

#ifndef MORPH_DIALECT_SCALAR_H
#define MORPH_DIALECT_SCALAR_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/Value.h"

namespace morph {

/// A floating-point scalar in the IR. Operators build ops at the builder's insertion point; a number beside a scalar
/// becomes a constant of its type.
class Scalar {
public:
  Scalar(mlir::OpBuilder &builder, mlir::Location location, mlir::Value value)
      : builder(&builder), location(location), value(value) {}

  mlir::Value get() const { return value; }
  /// A constant of this scalar's type.
  Scalar constant(double number) const;
  /// A value that belongs to the same piece of IR.
  Scalar with(mlir::Value other) const { return Scalar(*builder, location, other); }

  friend Scalar operator+(Scalar a, Scalar b);
  friend Scalar operator-(Scalar a, Scalar b);
  friend Scalar operator*(Scalar a, Scalar b);
  friend Scalar operator/(Scalar a, Scalar b);
  friend Scalar operator-(Scalar a);
  friend Scalar operator+(double a, Scalar b) { return b.constant(a) + b; }
  friend Scalar operator+(Scalar a, double b) { return a + a.constant(b); }
  friend Scalar operator-(double a, Scalar b) { return b.constant(a) - b; }
  friend Scalar operator-(Scalar a, double b) { return a - a.constant(b); }
  friend Scalar operator*(double a, Scalar b) { return b.constant(a) * b; }
  friend Scalar operator*(Scalar a, double b) { return a * a.constant(b); }
  friend Scalar operator/(double a, Scalar b) { return b.constant(a) / b; }
  friend Scalar operator/(Scalar a, double b) { return a / a.constant(b); }

  friend Scalar exp(Scalar x);
  friend Scalar log(Scalar x);
  friend Scalar log1p(Scalar x);
  friend Scalar sqrt(Scalar x);
  friend Scalar abs(Scalar x);
  /// a * b + c, rounded once.
  friend Scalar fma(Scalar a, Scalar b, Scalar c);
  /// The larger of two; the second where one is not a number.
  friend Scalar max(Scalar a, Scalar b);
  /// `a` where x < limit, else `b`.
  friend Scalar selectBelow(Scalar x, double limit, Scalar a, Scalar b);
  /// x in another floating-point type.
  friend Scalar convert(Scalar x, mlir::Type type);

private:
  mlir::OpBuilder *builder;
  mlir::Location location;
  mlir::Value value;
};

// Declared again so that a call with a number in it finds them.
Scalar exp(Scalar x);
Scalar log(Scalar x);
Scalar log1p(Scalar x);
Scalar sqrt(Scalar x);
Scalar abs(Scalar x);
Scalar fma(Scalar a, Scalar b, Scalar c);
Scalar max(Scalar a, Scalar b);
Scalar selectBelow(Scalar x, double limit, Scalar a, Scalar b);
Scalar convert(Scalar x, mlir::Type type);
inline Scalar fma(Scalar a, Scalar b, double c) { return fma(a, b, a.constant(c)); }
inline Scalar fma(Scalar a, double b, double c) { return fma(a, a.constant(b), a.constant(c)); }
inline Scalar max(Scalar a, double b) { return max(a, a.constant(b)); }
inline Scalar sigmoid(Scalar x) { return 1 / (1 + exp(-x)); }

/// Builds one result of an elementwise op a value it returns, from scalars of the operands.
using ElementwiseBody = llvm::function_ref<llvm::SmallVector<Scalar>(llvm::ArrayRef<Scalar>)>;

/// One linalg op that applies `body` to the elements of its operands. The first operand gives the domain; the others
/// are of its shape, lines of it (all dimensions but the last), or uniform, with its trailing dimensions.
llvm::SmallVector<mlir::Value> buildElementwise(mlir::OpBuilder &builder, mlir::Location location,
                                                mlir::ValueRange operands, ElementwiseBody body);

/// The sum of `body` over each line of the operands: of the shape of the first one without its last dimension.
mlir::Value buildLineSum(mlir::OpBuilder &builder, mlir::Location location, mlir::ValueRange operands,
                         llvm::function_ref<Scalar(llvm::ArrayRef<Scalar>)> body);

/// The sum of `body` over the rows of the operands and over their dimensions but the last `rank`: of the shape of these
/// in the first operand, which must be known.
mlir::Value buildRowSum(mlir::OpBuilder &builder, mlir::Location location, mlir::ValueRange operands, int64_t rank,
                        llvm::function_ref<Scalar(llvm::ArrayRef<Scalar>)> body);

/// A vector whose element i is the sum of all elements of `values[i]`, which are of one shape.
mlir::Value buildTotals(mlir::OpBuilder &builder, mlir::Location location, mlir::ValueRange values);

namespace OpTrait {
/// An op that a scalar body describes (Morph_Elementwise in MorphKernelTraits.td).
template <typename ConcreteType> class Elementwise : public mlir::OpTrait::TraitBase<ConcreteType, Elementwise> {};
} // namespace OpTrait

} // namespace morph

#endif // MORPH_DIALECT_SCALAR_H
