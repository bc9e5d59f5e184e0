// SPDX-License-Identifier: Apache-2.0
// Runs launches: blocks one after another on a few host threads, the threads of a block as fibers where they wait for
// each other and as plain calls where not, in orders that are legal and unlike the hardware's. Finds accesses outside
// live memory, misaligned ones, races in shared memory and of blocks, what is read before it is written, and waits that
// never end.

#ifndef MORPH_TEST_CUDA_DRIVER_MACHINE_H
#define MORPH_TEST_CUDA_DRIVER_MACHINE_H

#include "test/cuda/driver/Counters.h"
#include "test/cuda/driver/Errors.h"
#include "test/cuda/driver/HostCompile.h"
#include "test/cuda/driver/Memory.h"
#include "test/cuda/driver/Prelude.h"
#include "test/cuda/driver/Translate.h"

#include <memory>
#include <vector>

namespace morph::standin {

/// All that a launch may touch; null: whatever is alive.
using Confinement = std::shared_ptr<const std::vector<Span>>;

/// A module that can run: translated, compiled, its variables in device memory.
struct LoadedModule {
  std::shared_ptr<const Translation> translation;
  std::shared_ptr<const HostObject> object;
  std::vector<uint64_t> globals; ///< Device addresses of its variables.
};

struct Launch {
  std::shared_ptr<const LoadedModule> module;
  const KernelInfo *kernel = nullptr;
  MorphKernel function = nullptr;
  uint32_t grid[3] = {1, 1, 1}, block[3] = {1, 1, 1};
  uint32_t dynamicShared = 0;
  std::vector<uint8_t> params;
  Confinement confinement; ///< Beside the module's variables.
};

struct MachineOptions {
  bool checks = true;
  uint64_t seed = 0;
  unsigned threads = 1; ///< Of the host.
  /// Of the device: multiprocessors, shared memory of each, and the second cache.
  uint64_t processors = 1, sharedBytes = 0, cacheBytes = 0;
};

class Machine {
public:
  Machine(const MachineOptions &options, Memory &memory, Errors &errors, Counters &counters);
  ~Machine();

  /// Runs a launch to its end, or to its first error that hardware would stop at. What is alive is what is alive now,
  /// within the launch's confinement.
  void run(const Launch &launch);

private:
  struct Pool;
  std::unique_ptr<Pool> pool;
};

} // namespace morph::standin

#endif // MORPH_TEST_CUDA_DRIVER_MACHINE_H
