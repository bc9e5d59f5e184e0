// SPDX-License-Identifier: Apache-2.0
// The mixers that can take the place of full attention, and what they cost in a model.

#ifndef MORPH_TOOLS_MORPHTRANSLATE_MIXERLIST_H
#define MORPH_TOOLS_MORPHTRANSLATE_MIXERLIST_H

#include "dialect/MorphOps.h"

#include "llvm/Support/JSON.h"

namespace morph {

/// One object a mixer that comes with Morph or that the model declares, sorted by name: `name`, `doc`, `options`
/// (`name`, `default`, `ranges`), and, in a model of the base phase, of its first layer with the options' defaults:
/// `parameters`, `state_bytes` at a context of that many tokens for one sequence, with cached keys of two bytes, and
/// `flops_per_token`, the operations of one token that is decoded there. Where the mixer does not fit the model,
/// `error` says why instead.
llvm::json::Value makeMixerList(ModelOp model, int64_t context);

} // namespace morph

#endif // MORPH_TOOLS_MORPHTRANSLATE_MIXERLIST_H
