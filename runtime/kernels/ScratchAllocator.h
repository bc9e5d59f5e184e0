// SPDX-License-Identifier: Apache-2.0
#ifndef MORPH_RUNTIME_KERNELS_SCRATCHALLOCATOR_H
#define MORPH_RUNTIME_KERNELS_SCRATCHALLOCATOR_H

#include "runtime/kernels/Matrix.h"
#include "runtime/plan/Workspace.h"

namespace morph {

/// Hands out pieces of a workspace, each at a multiple of 64 bytes from its start.
class ScratchAllocator {
public:
  explicit ScratchAllocator(void *memory) : next_(static_cast<char *>(memory)) {}
  template <typename T> T *take(int64_t count) {
    T *piece = reinterpret_cast<T *>(next_);
    next_ += plan::alignedBytes(count * static_cast<int64_t>(sizeof(T)));
    return piece;
  }
  /// The pieces that are left.
  void *rest() const { return next_; }
  template <typename T> Matrix<T> matrix(int64_t rows, int64_t columns) { return {take<T>(rows * columns), columns}; }

private:
  char *next_;
};

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_SCRATCHALLOCATOR_H
