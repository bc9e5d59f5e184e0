// SPDX-License-Identifier: Apache-2.0
// What the passes share that make programs train: which programs they are.

#ifndef MORPH_PASSES_GRADIENTS_H
#define MORPH_PASSES_GRADIENTS_H

#include "dialect/MorphOps.h"

namespace morph {

/// Calls `transform` for each program of the model that trains something, or for the one of that name, where one is
/// given: an error where there is none.
mlir::LogicalResult forTrainingPrograms(ModelOp model, llvm::StringRef name,
                                        llvm::function_ref<mlir::LogicalResult(ProgramOp)> transform);

} // namespace morph

#endif // MORPH_PASSES_GRADIENTS_H
