// SPDX-License-Identifier: Apache-2.0
// Finds the places of the names in a JSON text, and names given twice, which llvm::json keeps neither of.

#ifndef MORPH_FRONTENDS_HUGGINGFACE_JSONSCANNER_H
#define MORPH_FRONTENDS_HUGGINGFACE_JSONSCANNER_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"

namespace morph {

/// Calls `visit` with the dotted path and the quoted text of every member name of a JSON text that is known to be well
/// formed, in its order. Members of lists are not visited. Stops and returns false when `visit` returns false.
bool scanJsonNames(llvm::StringRef text, llvm::function_ref<bool(llvm::StringRef path, llvm::StringRef name)> visit);

} // namespace morph

#endif // MORPH_FRONTENDS_HUGGINGFACE_JSONSCANNER_H
