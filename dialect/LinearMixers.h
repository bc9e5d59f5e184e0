// SPDX-License-Identifier: Apache-2.0
// Declared mixers in the place of a layer's full attention.

#ifndef MORPH_DIALECT_LINEARMIXERS_H
#define MORPH_DIALECT_LINEARMIXERS_H

#include "dialect/MorphOps.h"

namespace morph {

/// Creates, at the builder's insertion point, the mixer that computes what `softmax` does by `mixer` with all its
/// options, with weights under `prefix`. MixerExpander::check tells whether the declaration fits the layer.
LinearMixerOp createLinearMixer(mlir::OpBuilder &builder, SoftmaxMixerOp softmax, MixerOp mixer,
                                mlir::DictionaryAttr options, llvm::StringRef prefix);

/// What a layer's candidates of one kind are called: `kda`, then `kda_2`, `kda_3`; numbers are from 1.
std::string makeCandidateName(llvm::StringRef kind, size_t number);

/// Whether a candidate of that name is a mixer of that kind.
bool isCandidateOfKind(llvm::StringRef name, llvm::StringRef kind);

} // namespace morph

#endif // MORPH_DIALECT_LINEARMIXERS_H
