// SPDX-License-Identifier: Apache-2.0
#ifndef MORPH_RUNTIME_KERNELS_SCRATCHALLOCATOR_H
#define MORPH_RUNTIME_KERNELS_SCRATCHALLOCATOR_H

#include "runtime/kernels/Matrix.h"
#include "runtime/plan/Workspace.h"

#include <cstdio>
#include <cstdlib>

namespace morph {

/// Hands out pieces of a workspace, each at a multiple of 64 bytes from its start. How much a kernel takes is said
/// twice, by the kernel and by runtime/plan/Workspace.h: where it takes more, the process ends, because what lies
/// behind is another's. Copies go on by themselves: they hand out the same memory.
class ScratchAllocator {
public:
  ScratchAllocator(void *memory, int64_t bytes) : next_(static_cast<char *>(memory)), left_(bytes) {}
  template <typename T> T *take(int64_t count) {
    const int64_t bytes = plan::alignedBytes(count * static_cast<int64_t>(sizeof(T)));
    if (bytes > left_)
      fail(bytes);
    T *piece = reinterpret_cast<T *>(next_);
    next_ += bytes;
    left_ -= bytes;
    return piece;
  }
  template <typename T> Matrix<T> matrix(int64_t rows, int64_t columns) { return {take<T>(rows * columns), columns}; }

private:
  [[noreturn]] __attribute__((cold, noinline)) void fail(int64_t bytes) const {
    std::fprintf(
        stderr,
        "morph: error: a kernel takes %lld bytes of scratch where %lld are left: runtime/plan/Workspace.h says "
        "less than it takes\n",
        static_cast<long long>(bytes), static_cast<long long>(left_));
    std::abort();
  }

  char *next_;
  int64_t left_;
};

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_SCRATCHALLOCATOR_H
