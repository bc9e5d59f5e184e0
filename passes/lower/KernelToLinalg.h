// SPDX-License-Identifier: Apache-2.0
// Kernels in linalg on tensors: what every target starts from.

#ifndef MORPH_PASSES_LOWER_KERNELTOLINALG_H
#define MORPH_PASSES_LOWER_KERNELTOLINALG_H

#include "dialect/MorphOps.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace morph {

/// A kernel as a function of its name: linalg on tensors, the dimensions of the row space made one.
struct LinalgKernel {
  mlir::func::FuncOp function;
  int64_t rowElements; ///< Elements of a row.
  int64_t lineWidth;   ///< Elements of the lines that a row is cut into; 0 where it can be cut anywhere.
};

/// Kernels, and the module that their functions are in.
struct LinalgKernels {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  llvm::SmallVector<LinalgKernel> kernels;
};

/// The kernels of a module's models, in their order.
llvm::SmallVector<KernelOp> getKernels(mlir::ModuleOp module);
/// The same, where there are any: else an error is reported at the module.
mlir::FailureOr<llvm::SmallVector<KernelOp>> getKernelsToLower(mlir::ModuleOp module);

/// `module @kernels` of kernels, which have been verified. The dialects must be loaded.
LinalgKernels buildLinalg(mlir::MLIRContext *context, llvm::ArrayRef<KernelOp> kernels);

} // namespace morph

#endif // MORPH_PASSES_LOWER_KERNELTOLINALG_H
