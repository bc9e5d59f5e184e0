// SPDX-License-Identifier: Apache-2.0
// A plan's code for a GPU.

#ifndef MORPH_PASSES_LOWER_CUDA_COMPILEDEVICE_H
#define MORPH_PASSES_LOWER_CUDA_COMPILEDEVICE_H

#include "dialect/MorphOps.h"
#include "runtime/plan/Plan.h"

namespace morph {

/// The dialects that kernels go through; they must be loaded.
void registerDeviceDialects(mlir::DialectRegistry &registry);

/// What kernels become: PTX; PTX of every tile that one is picked of, for TileAnswers.def, with a remark a kernel and
/// tile; or nothing, where only the launches are asked for, which tell costs.
enum class DeviceText { Ptx, EveryTile, None };

/// Gives a plan of `model`, and its update, code for the targets called `chips` (`plan.devices`), and writes the PTX of
/// each beside the plan at `planPath`. Errors are reported at the model: an unknown target, an op that has no form on
/// GPUs, a file that cannot be written.
llvm::LogicalResult compilePlanForDevices(ModelOp model, plan::Plan &plan, llvm::ArrayRef<std::string> chips,
                                          llvm::StringRef planPath, DeviceText text);

} // namespace morph

#endif // MORPH_PASSES_LOWER_CUDA_COMPILEDEVICE_H
