// SPDX-License-Identifier: Apache-2.0
// PTX of a module in the LLVM dialect. LLVM alone.

#ifndef MORPH_PASSES_LOWER_CUDA_PTXCODE_H
#define MORPH_PASSES_LOWER_CUDA_PTXCODE_H

#include "runtime/plan/DeviceTargets.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <string>

namespace llvm {
class Module;
}

namespace morph {

/// The target of a name ("sm_90"), or null.
const plan::DeviceTarget *findPtxTarget(llvm::StringRef chip);
/// What to say of a name that is none.
std::string describeUnknownTarget(llvm::StringRef chip);

/// The PTX text of `module`, which it changes. It needs no library.
llvm::Expected<std::string> makePtx(llvm::Module &module, const plan::DeviceTarget &target);

} // namespace morph

#endif // MORPH_PASSES_LOWER_CUDA_PTXCODE_H
