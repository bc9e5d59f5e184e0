// SPDX-License-Identifier: Apache-2.0
// What is left to MLIR of the texts of modules.

#ifndef MORPH_TEST_FUZZ_IRTEXT_H
#define MORPH_TEST_FUZZ_IRTEXT_H

#include "llvm/ADT/StringRef.h"

namespace morph::fuzz {

/// Whether some value is read before it is defined, as far as the text shows. MLIR 19 frees a region whose text is
/// wrong before what refers forward into it, and reads freed memory (test/tools/morph-opt-crash.test); no Morph program
/// needs such a value, so those texts are left to MLIR.
bool refersForward(llvm::StringRef text);

} // namespace morph::fuzz

#endif // MORPH_TEST_FUZZ_IRTEXT_H
