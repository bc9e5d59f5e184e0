// SPDX-License-Identifier: Apache-2.0
// A plan's code for a GPU.

#ifndef MORPH_PASSES_LOWER_CUDA_COMPILEDEVICE_H
#define MORPH_PASSES_LOWER_CUDA_COMPILEDEVICE_H

#include "dialect/MorphOps.h"
#include "passes/lower/cuda/PtxCode.h"
#include "runtime/plan/Plan.h"

namespace morph {

/// The dialects that kernels go through; they must be loaded.
void registerDeviceDialects(mlir::DialectRegistry &registry);

/// A file of PTX: `<hash>.ptx`.
struct PtxFile {
  std::string hash; ///< SHA-256 of the text.
  std::string text;
};

/// Gives a plan of `model`, and its update, code for the target (`plan.device`), and returns what it refers to. Errors
/// are reported at the model: an op that has no form on GPUs.
mlir::FailureOr<std::vector<PtxFile>> compilePlanForDevice(ModelOp model, plan::Plan &plan, const PtxTarget &target);

/// Compiles as above for the target called `chip`, and writes the files beside the plan at `planPath`. Errors are
/// reported at the model: an unknown target, a file that cannot be written.
llvm::LogicalResult compilePlanForDevice(ModelOp model, plan::Plan &plan, llvm::StringRef chip,
                                         llvm::StringRef planPath);

} // namespace morph

#endif // MORPH_PASSES_LOWER_CUDA_COMPILEDEVICE_H
