// SPDX-License-Identifier: Apache-2.0
// How the values of a kernel lie in its row space.

#ifndef MORPH_DIALECT_KERNELROWS_H
#define MORPH_DIALECT_KERNELROWS_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Operation.h"

#include <optional>
#include <string>
#include <utility>

namespace morph {

/// Whether all sizes of a tensor are known: then all rows of a kernel read the same value.
bool isUniform(mlir::Type type);

/// Elements a row of a tensor whose first `rows` dimensions are dynamic and whose others are static; nothing for any
/// other type, and where the elements are none or too many.
std::optional<int64_t> getRowElements(mlir::Type type, int64_t rows);

/// The leading dynamic dimensions of a tensor, if the others are static; nothing for any other type.
std::optional<int64_t> countLeadingDynamic(mlir::Type type);

/// The type of the rows that an op which can be in a kernel goes over.
mlir::Type getRowType(mlir::Operation *op);

/// Whether a value is the result of an op that sums over rows.
bool isRowSum(mlir::Value value);

/// Says why an op, which has been verified, computes no rows of a kernel of that many `rows` dimensions; empty if it
/// does.
std::string explainNotRowwise(mlir::Operation *op, int64_t rows);

/// How the ops of a kernel cut a row into lines of equal width.
struct KernelLines {
  int64_t sum = 0; ///< Elements that ops sum over; 0 where none does.
  /// The greatest common divisor of the elements of uniform operands that have several, and of sums over rows.
  int64_t uniform = 0;

  /// Adds an op's lines. False, and unchanged, where they do not fit.
  bool join(mlir::Operation *op);

  /// The width of the lines, of which every row is a whole number; 0 where a row can be cut anywhere.
  int64_t getWidth() const { return sum ? sum : uniform; }
};

class KernelOp;

/// Pairs of a result and an argument of a kernel, by number, such that the result may be written where the argument is:
/// they have the same elements, and no pass over a line reads the argument after the result has been written. No result
/// and no argument is in two of them, and there is no way to pair more. Targets keep to this: a line is gone over once,
/// and once more after each sum; a pass reads all of an element's operands before it writes.
llvm::SmallVector<std::pair<unsigned, unsigned>> findInPlace(KernelOp kernel);

} // namespace morph

#endif // MORPH_DIALECT_KERNELROWS_H
