// SPDX-License-Identifier: Apache-2.0
// Kernels as vector loops over rows.

#ifndef MORPH_PASSES_LOWER_ROWLOOPS_H
#define MORPH_PASSES_LOWER_ROWLOOPS_H

#include "passes/lower/KernelToLinalg.h"

namespace morph {

/// Replaces a kernel's function (of buildLinalg) by an `llvm.func` of the same name:
///
///     void kernel(void **buffers, const int64_t *sizes, int64_t begin, int64_t end)
///
/// `buffers` are the operands', then the results'; `sizes` the dimensions of the row space, first to last. It computes
/// the rows [begin, end) of the results, row r being at r times the elements of a row. Rows do not depend on how they
/// are split between calls. Of a sum over rows the buffer gets parts, one a block of plan::kRowBlock rows, each added
/// up row by row; then `begin` is the first row of a block, and `end` too, or the last of all.
mlir::LogicalResult lowerToRowLoops(const LinalgKernel &kernel);

} // namespace morph

#endif // MORPH_PASSES_LOWER_ROWLOOPS_H
