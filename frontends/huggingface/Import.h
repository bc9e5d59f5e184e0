// SPDX-License-Identifier: Apache-2.0
// A Hugging Face folder as IR.

#ifndef MORPH_FRONTENDS_HUGGINGFACE_IMPORT_H
#define MORPH_FRONTENDS_HUGGINGFACE_IMPORT_H

#include "frontends/Diagnostics.h"
#include "frontends/ModelConfig.h"
#include "frontends/huggingface/Rope.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace morph {

/// What of a folder's weights is looked at.
enum class WeightCheck {
  Required,  ///< There are weights, and they fit the configuration.
  IfPresent, ///< Where there are weights they fit.
};

/// Imports the model of a folder. Its weights have the types of the checkpoint, or that of config.json where there is
/// none. `usedAt` is where the folder's path was written, `positions` what a spec asks for. Prints errors, and returns
/// null after one.
mlir::OwningOpRef<mlir::ModuleOp> importHuggingFace(mlir::MLIRContext &context, llvm::StringRef folder,
                                                    llvm::StringRef name, WeightCheck check, Diagnostics &diagnostics,
                                                    SourceRange usedAt = {}, ModelConfig *configOut = nullptr,
                                                    const std::optional<ContextRequest> &positions = std::nullopt);

} // namespace morph

#endif // MORPH_FRONTENDS_HUGGINGFACE_IMPORT_H
