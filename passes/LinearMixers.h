// SPDX-License-Identifier: Apache-2.0
// Declared mixers in the place of a layer's full attention.

#ifndef MORPH_PASSES_LINEARMIXERS_H
#define MORPH_PASSES_LINEARMIXERS_H

#include "dialect/MorphOps.h"

namespace morph {

/// Creates, at the builder's insertion point, the mixer that computes what `softmax` does by `mixer` with all its
/// options, with weights under `prefix`. MixerExpander::check tells whether the declaration fits the layer.
LinearMixerOp createLinearMixer(mlir::OpBuilder &builder, SoftmaxMixerOp softmax, MixerOp mixer,
                                mlir::DictionaryAttr options, llvm::StringRef prefix);

} // namespace morph

#endif // MORPH_PASSES_LINEARMIXERS_H
