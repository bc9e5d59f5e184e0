// SPDX-License-Identifier: Apache-2.0
// The mixers that a hybrid export declares: `mixers.mlir` beside config.json.

#ifndef MORPH_FRONTENDS_HUGGINGFACE_DECLAREDMIXERS_H
#define MORPH_FRONTENDS_HUGGINGFACE_DECLAREDMIXERS_H

#include "frontends/Diagnostics.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <optional>

namespace morph {

/// Reads a folder's `mixers.mlir`: a module of one `morph.model`, which holds `morph.mixer`s and nothing else. A module
/// that is null where there is no such file; nothing after an error.
std::optional<mlir::OwningOpRef<mlir::ModuleOp>> readDeclaredMixers(mlir::MLIRContext &context, llvm::StringRef folder,
                                                                    Diagnostics &diagnostics);

} // namespace morph

#endif // MORPH_FRONTENDS_HUGGINGFACE_DECLAREDMIXERS_H
