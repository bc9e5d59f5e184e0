// SPDX-License-Identifier: Apache-2.0
// The token mixers of a hybrid as Python: what tools/python/export/morph_export.py puts into the folder that it writes.

#ifndef MORPH_PASSES_EMITPYTORCH_H
#define MORPH_PASSES_EMITPYTORCH_H

#include "dialect/MorphOps.h"

#include "llvm/Support/JSON.h"

namespace morph {

/// The mixers of a model of the hybrid phase:
///
///   layers        one object a layer: `kind` "full" with `window` (null: all) and `weights`, or the name of a declared
///                 mixer with `class`, `weights` (the last part of its weights' prefix) and `options`
///   classes       a class of PyTorch for each mixer with its options, and the names that modeling_morph.py expects
///   states        by class, what decoding keeps: names and words
///   declarations  by kind, the text of the `morph.mixer`
///   module        IR that holds the declarations alone
///
/// Fails, with an error at the op, for a layer with a choice, for one without a mixer, and for an op of a declaration
/// that has no form in PyTorch.
mlir::FailureOr<llvm::json::Value> emitPyTorch(ModelOp model);

} // namespace morph

#endif // MORPH_PASSES_EMITPYTORCH_H
