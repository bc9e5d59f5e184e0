// SPDX-License-Identifier: Apache-2.0
// Kernels in linalg on tensors: what every target starts from.

#ifndef MORPH_PASSES_LOWER_KERNELTOLINALG_H
#define MORPH_PASSES_LOWER_KERNELTOLINALG_H

#include "dialect/MorphOps.h"

namespace morph {

/// Attributes of a kernel's function in linalg: the elements of a row, and the width of the lines that a row is cut
/// into (0 where it can be cut anywhere).
inline constexpr llvm::StringLiteral kRowElements = "row_elements";
inline constexpr llvm::StringLiteral kLineWidth = "line_width";

/// A module of one function a kernel, of its name: linalg on tensors, the dimensions of the row space made one. The
/// dialects must be loaded.
mlir::OwningOpRef<mlir::ModuleOp> buildLinalg(mlir::MLIRContext *context, llvm::ArrayRef<KernelOp> kernels);

} // namespace morph

#endif // MORPH_PASSES_LOWER_KERNELTOLINALG_H
