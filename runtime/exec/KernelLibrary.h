// SPDX-License-Identifier: Apache-2.0
// Compiled kernels of a plan: a shared object that the compiler made (passes/lower/CompileKernels.h). Neither MLIR nor
// Torch.

#ifndef MORPH_RUNTIME_EXEC_KERNELLIBRARY_H
#define MORPH_RUNTIME_EXEC_KERNELLIBRARY_H

#include "runtime/base/Status.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace morph {

/// Calls `body(begin, end)` on ranges that together are [0, count), on several threads where it likes, with at least
/// `grain` rows each where there are as many. at::parallel_for fits, with a 0 in front.
using ParallelRows =
    std::function<void(int64_t count, int64_t grain, const std::function<void(int64_t begin, int64_t end)> &body)>;

/// Computes the rows [begin, end) of the results. `buffers` are the operands', then the results', each whole and
/// contiguous; `sizes` the dimensions of the row space. Each row is computed from that row of the operands, after all
/// of it has been read once; the result does not depend on how rows are split between calls.
using KernelFunction = void (*)(void *const *buffers, const int64_t *sizes, int64_t begin, int64_t end);

/// The file of compiled kernels of a name, in the cache that the compiler fills:
/// ${MORPH_CACHE:-~/.cache/morph}/kernels.
std::string kernelObjectPath(const std::string &name);

/// A loaded object. Copies share it; it is closed with the last.
class KernelLibrary {
public:
  /// Loads the object at `path`, which is ours (loading runs code: an object is trusted because it comes from the
  /// compiler's cache, not because of what it says), and checks that it holds the kernels of `hash`. Chooses the best
  /// instruction set of those that it has and this machine runs.
  static StatusOr<KernelLibrary> open(const std::string &path, const std::string &hash);

  /// The instruction set that is used: "v4" (AVX-512), "v3" (AVX2), or "generic".
  const std::string &instructionSet() const { return suffix; }
  /// Those that this machine runs, the best first.
  static std::vector<std::string> instructionSets();

  /// The function of a kernel, null where there is none; of another instruction set where one is given.
  KernelFunction find(const std::string &kernel, const std::string &instructionSet = "") const;

  /// Calls a kernel on all rows: `sizes` are the dimensions of its row space, `grain` the rows that are worth a thread.
  Status call(const std::string &kernel, const std::vector<void *> &buffers, const std::vector<int64_t> &sizes,
              int64_t grain, const ParallelRows &parallel) const;

private:
  std::shared_ptr<void> handle;
  std::string path;
  std::string suffix;
};

} // namespace morph

#endif // MORPH_RUNTIME_EXEC_KERNELLIBRARY_H
