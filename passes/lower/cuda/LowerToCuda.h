// SPDX-License-Identifier: Apache-2.0
// Kernels on GPUs: from linalg to gpu, and from there to PTX.

#ifndef MORPH_PASSES_LOWER_CUDA_LOWERTOCUDA_H
#define MORPH_PASSES_LOWER_CUDA_LOWERTOCUDA_H

#include "passes/lower/cuda/PtxCode.h"
#include "passes/lower/cuda/RowBlocks.h"

#include "mlir/Pass/PassManager.h"

namespace morph {

/// A module with `gpu.module @kernels`, and how its functions are launched.
struct CudaKernels {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  llvm::SmallVector<RowBlocks> rows; ///< One a kernel.

  mlir::gpu::GPUModuleOp getGpuModule() { return *module->getOps<mlir::gpu::GPUModuleOp>().begin(); }
};

/// Kernels, which have been verified, as blocks of threads. The dialects must be loaded. Errors are reported at a
/// kernel.
mlir::FailureOr<CudaKernels> buildCudaKernels(mlir::MLIRContext *context, llvm::ArrayRef<KernelOp> kernels);

/// Adds the passes that lower a `gpu.module` within the module to the LLVM dialect.
void addConversionToNvvm(mlir::OpPassManager &manager);

/// The PTX of `gpu.module @kernels`, which is lowered in the course. Errors are reported at the module.
mlir::FailureOr<std::string> translateToPtx(mlir::ModuleOp module, const plan::DeviceTarget &target);

} // namespace morph

#endif // MORPH_PASSES_LOWER_CUDA_LOWERTOCUDA_H
