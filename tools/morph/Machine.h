// SPDX-License-Identifier: Apache-2.0
// What of the machine decides the bits of a run's numbers.

#ifndef MORPH_TOOLS_MORPH_MACHINE_H
#define MORPH_TOOLS_MORPH_MACHINE_H

#include "tools/morph/Files.h"
#include "tools/morph/Toolchain.h"

#include <string>

namespace morph {

struct Machine {
  int64_t threads = 0;        ///< That products use: the spec's number, or where that is 0, LibTorch's.
  std::string instructionSet; ///< In morph-run's words.
  std::string device;         ///< On which programs run: "cpu", or the GPU with what it runs by.
  std::string target;         ///< The generation whose code it runs ("sm_90"); empty of the CPU.

  bool operator==(const Machine &other) const {
    return threads == other.threads && instructionSet == other.instructionSet && device == other.device;
  }
  bool operator!=(const Machine &other) const { return !(*this == other); }
  Json toJson() const {
    return {{"threads", threads}, {"instruction_set", instructionSet}, {"device", device}, {"target", target}};
  }
  /// Where this machine is not as `other`: "with 2 threads, on a CPU with AVX512, avx512f".
  std::string differencesFrom(const Machine &other) const;
};

/// The runtime on this machine, as morph-run says.
struct Runtime {
  Machine machine;
  std::string libtorch;    ///< Version, build settings and libraries.
  int64_t deviceBytes = 0; ///< Memory of the GPU; 0 of the CPU.
  int64_t devices = 0;     ///< GPUs that programs see, where they run on one.
};
/// Asks morph-run. `threads` and `device` are the spec's `model.threads` and `model.device`. Errors: "no CUDA device".
StatusOr<Runtime> askRuntime(const Toolchain &tools, int64_t threads, const std::string &device);

/// The generation whose code programs on that device run ("sm_90"); empty of the CPU, of which nothing is asked.
StatusOr<std::string> targetOf(const Toolchain &tools, const std::string &device);

/// The machine that a file of Machine::toJson describes.
StatusOr<Machine> readMachine(const fs::path &file);

} // namespace morph

#endif // MORPH_TOOLS_MORPH_MACHINE_H
