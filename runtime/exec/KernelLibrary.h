// SPDX-License-Identifier: Apache-2.0
// Compiled kernels of a plan: a shared object that the compiler made (passes/lower/CompileKernels.h). Neither MLIR nor
// Torch.

#ifndef MORPH_RUNTIME_EXEC_KERNELLIBRARY_H
#define MORPH_RUNTIME_EXEC_KERNELLIBRARY_H

#include "runtime/base/Status.h"
#include "runtime/exec/KernelAbi.h"

#include <memory>
#include <string>
#include <vector>

namespace morph {

/// A loaded object. Copies share it; it is closed with the last.
class KernelLibrary {
public:
  /// Loads the object at `path`, which is ours (loading runs code: an object is trusted because it comes from the
  /// compiler's cache, not because of what it says), where it is whole (its seal, runtime/base/Sha256.h) and holds the
  /// kernels of `hash`. Chooses the best instruction set of those that it has and this machine runs.
  static StatusOr<KernelLibrary> open(const std::string &path, const std::string &hash);

  /// The same of the object `name`, in the first of `folders` that has one which can be loaded.
  static StatusOr<KernelLibrary> openFirst(const std::vector<std::string> &folders, const std::string &name,
                                           const std::string &hash);

  /// The instruction set that is used: "v4" (AVX-512), "v3" (AVX2), or "generic".
  const std::string &instructionSet() const { return suffix; }
  /// Those that this machine runs, the best first.
  static std::vector<std::string> instructionSets();

  /// The function of a kernel, null where there is none; of another instruction set where one is given.
  KernelFunction find(const std::string &kernel, const std::string &instructionSet = "") const;

private:
  std::shared_ptr<void> handle;
  std::string suffix;
};

} // namespace morph

#endif // MORPH_RUNTIME_EXEC_KERNELLIBRARY_H
