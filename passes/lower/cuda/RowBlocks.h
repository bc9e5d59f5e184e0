// SPDX-License-Identifier: Apache-2.0
// Kernels of rows as blocks of threads.

#ifndef MORPH_PASSES_LOWER_CUDA_ROWBLOCKS_H
#define MORPH_PASSES_LOWER_CUDA_ROWBLOCKS_H

#include "passes/lower/KernelToLinalg.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace morph {

/// How the blocks of a kernel share its rows.
struct RowBlocks {
  /// What a block has `perBlock` of.
  enum class Unit {
    Elements, ///< Nothing cuts a row.
    Lines,
    Rows, ///< There are sums over rows: a block makes the parts of plan::kRowBlock rows.
  };
  Unit unit;
  int64_t perBlock;
  int64_t threads;
  int64_t unitsPerRow; ///< Elements or lines of a row; 1 where the unit is a row.
};

/// Adds to `module` a `gpu.func` of the kernel's name (of buildLinalg), and takes the kernel's own function away:
///
///     kernel(!llvm.ptr<1> a buffer, ..., i64 rows)
///
/// Buffers are the operands', then the results', each whole, contiguous and aligned to 16 bytes; of a sum over rows the
/// buffer is for its parts, as in lowerToRowLoops. A line is a group of threads, of which each holds its elements of
/// all values in registers: an element is loaded once and stored once. Sums are added in one order, whatever the
/// device.
mlir::FailureOr<RowBlocks> lowerToRowBlocks(const LinalgKernel &kernel, mlir::gpu::GPUModuleOp module);

} // namespace morph

#endif // MORPH_PASSES_LOWER_CUDA_ROWBLOCKS_H
