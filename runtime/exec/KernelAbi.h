// SPDX-License-Identifier: Apache-2.0
// What the compiler of kernels (passes/lower/CompileKernels.h) and their loader (KernelLibrary.h) agree on.

#ifndef MORPH_RUNTIME_EXEC_KERNELABI_H
#define MORPH_RUNTIME_EXEC_KERNELABI_H

#include "runtime/base/CacheFolder.h"

#include <cstdint>
#include <string>
#include <vector>

namespace morph {

/// Computes the rows [begin, end) of the results. `buffers` are the operands', then the results', each whole and
/// contiguous; `sizes` the dimensions of the row space. Each row is computed from that row of the operands, after all
/// of it has been read once; the result does not depend on how rows are split between calls. Of a result that is a sum
/// over rows the buffer is for parts, fp32, one after the other: part b is the sum over the rows from b *
/// plan::kRowBlock on, as many as there are up to that number. Then `begin` is a multiple of plan::kRowBlock, and `end`
/// too or the number of rows.
using KernelFunction = void (*)(void *const *buffers, const int64_t *sizes, int64_t begin, int64_t end);

/// The version of the function's arguments and of their meaning.
inline constexpr int32_t kKernelAbi = 2;

/// What an object holds beside its functions `<kernel>.<instruction set>`: the version, an int32_t; the C string that
/// says what it was made of (plan::hashKernels); and a symbol for each of its instruction sets.
inline constexpr char kKernelAbiSymbol[] = "morph_kernels_abi";
inline constexpr char kKernelHashSymbol[] = "morph_kernels_hash";
inline constexpr char kKernelSetPrefix[] = "morph_kernels.";

/// Where objects are kept between runs: in the first of these folders that takes one.
inline std::vector<std::string> kernelFolders() {
  std::vector<std::string> folders;
  for (const std::string &folder : {cacheFolder(), temporaryFolder()})
    if (!folder.empty())
      folders.push_back(folder + "/kernels");
  return folders;
}

/// The file of an object in such a folder.
inline std::string kernelObjectFile(const std::string &folder, const std::string &name) {
  return folder + "/" + name + ".so";
}

} // namespace morph

#endif // MORPH_RUNTIME_EXEC_KERNELABI_H
