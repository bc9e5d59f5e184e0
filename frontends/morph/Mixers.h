// SPDX-License-Identifier: Apache-2.0
// Declared mixers as IR: those that come with Morph (dialect/mixers/*.morph), and those of users' files.

#ifndef MORPH_FRONTENDS_MORPH_MIXERS_H
#define MORPH_FRONTENDS_MORPH_MIXERS_H

#include "dialect/MorphOps.h"
#include "frontends/Diagnostics.h"

namespace morph {

/// The names of the mixers that come with Morph, sorted.
llvm::ArrayRef<llvm::StringRef> getBuiltinMixers();

/// The text that declares one of them; empty where there is none.
llvm::StringRef getBuiltinMixerText(llvm::StringRef name);

/// The declaration of a name in a model: the one that it has, or the one that comes with Morph, which is added to it.
/// Null where there is neither, or where the name is another symbol's.
MixerOp declareMixer(ModelOp model, llvm::StringRef name);

/// Reads a `.morph` file and adds its mixers to a model that has none of their names. False after an error.
bool declareMixersOfFile(ModelOp model, llvm::StringRef path, Diagnostics &diagnostics);

/// Reads a `.morph` file and adds its mixer of that name to a model. Null after an error; `usedAt` is where the file is
/// named.
MixerOp declareMixerOfFile(ModelOp model, llvm::StringRef path, llvm::StringRef name, Diagnostics &diagnostics,
                           SourceRange usedAt);

} // namespace morph

#endif // MORPH_FRONTENDS_MORPH_MIXERS_H
