// SPDX-License-Identifier: Apache-2.0
// A ModelConfig as IR: of the base phase, or of the hybrid phase for a hybrid that was exported.

#ifndef MORPH_FRONTENDS_MODELBUILDER_H
#define MORPH_FRONTENDS_MODELBUILDER_H

#include "frontends/ModelConfig.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace morph {

/// Loads the dialects that models are made of.
void loadModelDialects(mlir::MLIRContext &context);

/// Builds the module with `morph.model @name`: the weights under the names of Hugging Face's Llama family, the rope
/// table, `@forward` (ids [B,T] to hidden [B,T,C]) and `@head` (rows [N,C] to logits [N,V]). Weights have the type
/// `config.weightType`, and initial values where `config.init` is present. Every op is located at `location`, those of
/// a layer under the layer's name. Mixers are those that `declared` has, or else those that come with Morph. Fails,
/// with an error at `location`, for a linear mixer that is unknown or whose options are wrong.
mlir::OwningOpRef<mlir::ModuleOp> buildModel(mlir::MLIRContext &context, const ModelConfig &config,
                                             llvm::StringRef name, mlir::Location location,
                                             mlir::ModuleOp declared = {});

/// The MLIR type of a weight's elements.
mlir::Type getElementType(mlir::MLIRContext &context, WeightType type);

} // namespace morph

#endif // MORPH_FRONTENDS_MODELBUILDER_H
