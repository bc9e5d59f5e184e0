// SPDX-License-Identifier: Apache-2.0
// Kernels as one shared object.

#ifndef MORPH_PASSES_LOWER_COMPILEKERNELS_H
#define MORPH_PASSES_LOWER_COMPILEKERNELS_H

#include "dialect/MorphOps.h"
#include "passes/lower/ObjectCode.h"
#include "runtime/exec/KernelAbi.h"
#include "runtime/plan/Plan.h"

#include <string>
#include <vector>

namespace morph {

struct KernelCompileOptions {
  std::vector<CpuTarget> targets = getCpuTargets();
  /// What the object says it was made of (plan::hashKernels), so that a plan finds its own; empty:
  /// `KernelObject::hash`.
  std::string origin;
  /// Where objects are kept between runs, in the first that takes them; empty: nowhere.
  std::vector<std::string> folders = kernelFolders();
};

/// A shared object with every kernel once an instruction set, as `<kernel>.<suffix>` (passes/lower/RowLoops.h), and
/// what else runtime/exec/KernelAbi.h names.
struct KernelObject {
  std::string bytes;
  /// Of the kernels' text and origin, the compiler and the targets: objects of one hash are the same.
  std::string hash;
  std::vector<std::string> kernels;
  bool isKept = false; ///< It is in one of the folders.
};

/// What `KernelObject::hash` is for these kernels, without compiling them.
std::string hashObject(llvm::ArrayRef<KernelOp> kernels, const KernelCompileOptions &options);

/// Compiles kernels, which have been verified, or takes their object from a folder that has it. Errors are reported at
/// the first kernel.
mlir::FailureOr<KernelObject> compileKernels(llvm::ArrayRef<KernelOp> kernels, const KernelCompileOptions &options);

/// Compiles the kernels that a plan of `model` launches and keeps the object; `plan.kernelObject` names it. A warning
/// where no folder takes it.
llvm::LogicalResult compilePlanKernels(ModelOp model, plan::Plan &plan);

} // namespace morph

#endif // MORPH_PASSES_LOWER_COMPILEKERNELS_H
