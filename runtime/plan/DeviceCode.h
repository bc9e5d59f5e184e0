// SPDX-License-Identifier: Apache-2.0
// Code of a plan for a GPU: which kernels an instruction launches, with what. The kernels themselves are PTX, a file
// beside the plan.

#ifndef MORPH_RUNTIME_PLAN_DEVICECODE_H
#define MORPH_RUNTIME_PLAN_DEVICECODE_H

#include "runtime/base/Status.h"

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace morph::plan {

/// times * ceil(scale * (the product of the sizes named) / per).
struct SizeTerm {
  int64_t times = 1;
  int64_t scale = 1;
  std::vector<std::string> of;
  int64_t per = 1;
};

/// A number that is known once the sizes of a run are: a sum.
using SizeFormula = std::vector<SizeTerm>;

inline SizeFormula constantFormula(int64_t number) { return {{number, 1, {}, 1}}; }

/// The value for sizes by name. Errors: a name that there is not, a value beyond 2^62.
StatusOr<int64_t> evaluate(const SizeFormula &formula, const std::map<std::string, int64_t> &sizes);

/// What a kernel gets for one of its parameters.
struct LaunchArgument {
  enum class Kind {
    Operand,  ///< The address of operand `index` of the instruction; null where it is absent.
    Result,   ///< The address of result `index`.
    Scratch,  ///< The address of the byte `size` of the instruction's scratch.
    Size,     ///< The number `size`, 64 bits.
    Document, ///< Which document of the window this is, from 0 on, 64 bits: its launches are made once a document.
  };
  Kind kind = Kind::Operand;
  int64_t index = 0;
  SizeFormula size;
};

/// A launch of an entry of the PTX. Blocks are one-dimensional.
struct DeviceLaunch {
  std::string kernel;
  std::array<SizeFormula, 3> grid; ///< Of blocks; nothing is launched where one of them is 0.
  int64_t threads = 1;
  int64_t sharedBytes = 0; ///< Dynamic shared memory of a block.
  std::vector<LaunchArgument> arguments;
};

/// What an instruction does on the device: its launches, one after the other. None for views and for matrix products
/// (matrixProduct in OpSizes.h), which a library computes.
struct InstructionCode {
  std::vector<DeviceLaunch> launches;
  SizeFormula scratchBytes; ///< What they need, aligned to 256.
};

/// The code of a whole plan for one generation of GPUs.
struct DeviceCode {
  std::string target; ///< "sm_90"; later generations run it, too.
  std::string ptx;    ///< SHA-256 of the PTX's text: its file is `<ptx>.ptx`. Empty: launches alone, which tell costs.
  std::vector<InstructionCode> instructions;
  std::string text; ///< The PTX, once its file has been read; no part of the plan's.
};

/// 10 * major + minor of the capability that a target's name says: "sm_90" as 90; 0 where it says none.
int capabilityOf(const std::string &target);

/// Threads of a block, and bytes of its shared memory, that any device has.
inline constexpr int64_t kMostBlockThreads = 1024;
inline constexpr int64_t kMostSharedBytes = 227 * 1024;

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_DEVICECODE_H
