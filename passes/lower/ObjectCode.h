// SPDX-License-Identifier: Apache-2.0
// Machine code of a module in the LLVM dialect, as a shared object. LLVM alone.

#ifndef MORPH_PASSES_LOWER_OBJECTCODE_H
#define MORPH_PASSES_LOWER_OBJECTCODE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace llvm {
class Module;
}

namespace morph {

/// An instruction set that kernels are compiled for.
struct CpuTarget {
  std::string suffix; ///< Of the kernels' symbols: `<kernel>.<suffix>`.
  std::string cpu;    ///< LLVM's name of the processor.
};

/// The instruction sets of this machine's kind that objects hold: on x86-64 "v3" (AVX2) and "v4" (AVX-512), elsewhere
/// "generic".
std::vector<CpuTarget> getCpuTargets();

/// The host's triple, for which objects are made.
std::string getTargetTriple();

/// The bytes of a shared object with every function of `module` once a target. It needs no library.
llvm::Expected<std::string> makeSharedObject(const llvm::Module &module, llvm::ArrayRef<CpuTarget> targets);

} // namespace morph

#endif // MORPH_PASSES_LOWER_OBJECTCODE_H
