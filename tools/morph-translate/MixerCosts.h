// SPDX-License-Identifier: Apache-2.0
// What the token mixers of a model cost, for `morph plan`.

#ifndef MORPH_TOOLS_MORPH_TRANSLATE_MIXERCOSTS_H
#define MORPH_TOOLS_MORPH_TRANSLATE_MIXERCOSTS_H

#include "dialect/MorphOps.h"

#include "llvm/Support/JSON.h"

namespace morph {

/// For each layer of `@forward` and each of its token mixers, at contexts of 8K to 256K tokens: bytes of cache or state
/// of one sequence (`elementBytes` a cached key or value element, states fp32), operations to prefill the context, and
/// operations of the one token that follows. Asks the mixers' interface only, so every backend is there.
llvm::json::Value makeMixerCosts(ModelOp model, int64_t elementBytes);

} // namespace morph

#endif // MORPH_TOOLS_MORPH_TRANSLATE_MIXERCOSTS_H
