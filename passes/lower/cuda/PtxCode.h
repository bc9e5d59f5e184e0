// SPDX-License-Identifier: Apache-2.0
// PTX of a module in the LLVM dialect. LLVM alone.

#ifndef MORPH_PASSES_LOWER_CUDA_PTXCODE_H
#define MORPH_PASSES_LOWER_CUDA_PTXCODE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <string>

namespace llvm {
class Module;
}

namespace morph {

/// A generation of GPUs that code is made for. PTX runs on later ones, too.
struct PtxTarget {
  llvm::StringRef chip;    ///< "sm_90".
  llvm::StringRef feature; ///< The PTX version, as LLVM names it.
};

/// The targets: LLVM 19 knows no later one that is of use.
llvm::ArrayRef<PtxTarget> getPtxTargets();

/// The target of a name, or null.
const PtxTarget *findPtxTarget(llvm::StringRef chip);
/// What to say of a name that is none.
std::string describeUnknownTarget(llvm::StringRef chip);

/// The PTX text of `module`, which it changes. It needs no library.
llvm::Expected<std::string> makePtx(llvm::Module &module, const PtxTarget &target);

} // namespace morph

#endif // MORPH_PASSES_LOWER_CUDA_PTXCODE_H
