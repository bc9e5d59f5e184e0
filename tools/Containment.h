// SPDX-License-Identifier: Apache-2.0
// Crashes of the compiler's programs as failures like others.

#ifndef MORPH_TOOLS_CONTAINMENT_H
#define MORPH_TOOLS_CONTAINMENT_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"

namespace morph {

/// Runs `work` and returns its exit status. A crash in it is reported in a line and gives 1; its stack goes to the file
/// that MORPH_CRASH_FILE names, where it names one.
///
/// MLIR 19 has a crash that any text can cause and nothing here can prevent: a value that is used before it is defined
/// in a nested region, followed by a syntax error in that region. The parser frees the region first and the use after
/// it (test/tools/morph-opt-crash.test has the text, few lines).
int runContained(llvm::StringRef program, llvm::function_ref<int()> work);

} // namespace morph

#endif // MORPH_TOOLS_CONTAINMENT_H
