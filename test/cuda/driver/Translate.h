// SPDX-License-Identifier: Apache-2.0
// A module to C text on top of Prelude.h: a function a kernel, which one thread runs. What an instruction does is here;
// what an instruction or a part of its name is not known by is an error that names it.

#ifndef MORPH_TEST_CUDA_DRIVER_TRANSLATE_H
#define MORPH_TEST_CUDA_DRIVER_TRANSLATE_H

#include "test/cuda/driver/Ptx.h"

#include <cstdint>
#include <string>
#include <vector>

namespace morph::standin {

/// What instructions are counted by.
enum class InstructionClass {
  Integer,
  Float,
  Special, ///< The units of approximate functions, and divisions and roots.
  Convert,
  Move,
  Control,
  Global,
  Shared,
  Local, ///< Local memory and parameters.
  Atomic,
  Barrier,
  Collective,
  Mma
};
inline constexpr int kInstructionClasses = 13;

/// An instruction of the module, as errors and counters name it.
struct InstructionInfo {
  int line = 0;
  std::string text;
  InstructionClass kind = InstructionClass::Integer;
  uint32_t flops = 0;    ///< Of one thread, outside mma.
  uint32_t mmaFlops = 0; ///< Of a warp.
};

struct KernelInfo {
  /// A part of shared memory that a variable has; between parts are bytes that nobody may touch.
  struct Region {
    uint32_t begin = 0, bytes = 0;
  };
  std::string name, symbol;   ///< `symbol`: of the translated function.
  std::vector<Region> params; ///< By place: offset and size in the parameter buffer.
  uint32_t paramBytes = 0;
  uint32_t staticShared = 0;           ///< As NVIDIA's driver reports it.
  std::vector<Region> shared;          ///< Static ones, as laid out here.
  std::vector<uint32_t> sharedOffsets; ///< By shared variable of the module.
  uint32_t dynamicBegin = 0;           ///< Where dynamic shared memory begins.
  uint32_t localBytes = 0;
  uint32_t maximumThreads = 1024;
  uint32_t requiredThreads[3] = {0, 0, 0};
  bool needsFibers = false; ///< Threads wait for each other.
  bool hasGlobalAtomics = false;
};

struct Translation {
  std::string code;
  std::vector<InstructionInfo> instructions;
  std::vector<std::vector<uint32_t>> blocks; ///< Basic blocks: their instructions.
  std::vector<KernelInfo> kernels;
};

StatusOr<Translation> translate(const Module &module);

} // namespace morph::standin

#endif // MORPH_TEST_CUDA_DRIVER_TRANSLATE_H
