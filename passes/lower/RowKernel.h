// SPDX-License-Identifier: Apache-2.0
// What a kernel in linalg form computes, pass by pass over a line: what the schedules of all targets go by.

#ifndef MORPH_PASSES_LOWER_ROWKERNEL_H
#define MORPH_PASSES_LOWER_ROWKERNEL_H

#include "passes/lower/KernelToLinalg.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/IRMapping.h"

#include "llvm/ADT/SetVector.h"

namespace morph {

/// What a tensor is to the loop over lines.
enum class RowKind {
  Row,  ///< An element each.
  Line, ///< One number a line.
  Sum,  ///< A sum over rows, of which each line adds its part.
};

/// A linalg op of a kernel: `phase` is the pass over the line that it is computed in, after the sums of the passes
/// before. The result of a sum over the line is there from the next one on.
struct RowStep {
  mlir::linalg::GenericOp op;
  RowKind kind;
  bool isLineSum;
  int phase;
};

/// Whether a value is the same for all rows: an argument, or a sum over them.
inline bool isUniformTensor(mlir::Value value) {
  return mlir::cast<mlir::RankedTensorType>(value.getType()).hasStaticShape();
}

/// The analysis of a kernel's function.
class RowKernel {
public:
  /// Reports what is of no kernel's linalg form.
  static mlir::FailureOr<RowKernel> analyse(const LinalgKernel &kernel);

  mlir::func::FuncOp source;
  int64_t rowElements, lineWidth;
  llvm::SmallVector<RowStep> steps;
  llvm::SmallVector<mlir::Operation *> prologue; ///< Scalars that are the same for all rows.
  llvm::SmallVector<mlir::Value> returned;       ///< Roots.
  llvm::SetVector<mlir::Value> temporaries;      ///< Elements that a later pass reads and that are no result.
  int passes = 1;

  /// The tensor that a value is a view of.
  mlir::Value rootOf(mlir::Value value) const {
    auto root = roots.find(value);
    return root == roots.end() ? value : root->second;
  }
  RowKind kindOf(mlir::Value root) const { return kinds.lookup(root); }
  /// The pass in which an element or a line's number is there.
  int phaseOf(mlir::Value root) const { return phases.lookup(root); }
  /// Whether a sum over rows is of numbers of lines; else it is of elements.
  bool isTotal(mlir::linalg::GenericOp op) const;
  /// Which element of its result a total is added to.
  static int64_t placeOfTotal(mlir::linalg::GenericOp op);

private:
  explicit RowKernel(const LinalgKernel &kernel)
      : source(kernel.function), rowElements(kernel.rowElements), lineWidth(kernel.lineWidth) {}
  void analyse(mlir::linalg::GenericOp op);

  llvm::DenseMap<mlir::Value, mlir::Value> roots;
  llvm::DenseMap<mlir::Value, RowKind> kinds;
  llvm::DenseMap<mlir::Value, int> phases;
};

/// Builds what a linalg op's body yields for `arguments`: vectors of `lanes` elements each, or, with `lanes` 0,
/// scalars. `scalars` has what the body reads from outside. Multiplication and addition become one rounding here and
/// not in LLVM, so that whole vectors, tails and all targets agree.
llvm::SmallVector<mlir::Value> buildRowBody(mlir::OpBuilder &builder, mlir::Location location,
                                            mlir::linalg::GenericOp op, llvm::ArrayRef<mlir::Value> arguments,
                                            const mlir::IRMapping &scalars, int64_t lanes);

} // namespace morph

#endif // MORPH_PASSES_LOWER_ROWKERNEL_H
