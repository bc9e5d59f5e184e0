// SPDX-License-Identifier: Apache-2.0
// Passes from kernels to machine code.

#ifndef MORPH_PASSES_LOWER_PASSES_H
#define MORPH_PASSES_LOWER_PASSES_H

#include "dialect/MorphOps.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/Pass.h"

namespace morph {

#define GEN_PASS_DECL
#include "passes/lower/Passes.h.inc"

/// `module @kernels` of kernels, which have been verified, as vector loops over rows. Errors are reported at a kernel.
/// The dialects must be loaded.
mlir::FailureOr<mlir::OwningOpRef<mlir::ModuleOp>> buildRowLoops(mlir::MLIRContext *context,
                                                                 llvm::ArrayRef<KernelOp> kernels);

/// Adds the passes that lower such a module to the LLVM dialect.
void addConversionToLlvm(mlir::OpPassManager &manager);

#define GEN_PASS_REGISTRATION
#include "passes/lower/Passes.h.inc"

} // namespace morph

#endif // MORPH_PASSES_LOWER_PASSES_H
