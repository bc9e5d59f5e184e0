// SPDX-License-Identifier: Apache-2.0
// Which matrices adapters are asked for: what morph-add-adapters adds them to, and of what a teacher keeps the old
// value.

#ifndef MORPH_PASSES_ADAPTERS_H
#define MORPH_PASSES_ADAPTERS_H

#include "passes/Symbols.h"

namespace morph {

/// The matrices of the base checkpoint in whose names one of `parts` stands; `unmatched` becomes a part that is in
/// none.
SymbolNames findAdapted(ModelOp model, llvm::ArrayRef<std::string> parts, llvm::StringRef &unmatched);

} // namespace morph

#endif // MORPH_PASSES_ADAPTERS_H
