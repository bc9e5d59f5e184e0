// SPDX-License-Identifier: Apache-2.0
// The memory that the values of runs lie in. The programs of a stage run one after another and share one.

#ifndef MORPH_RUNTIME_EXEC_ARENA_H
#define MORPH_RUNTIME_EXEC_ARENA_H

#include <ATen/ATen.h>

namespace morph {

class Arena {
public:
  explicit Arena(at::Device device = at::kCPU) : device_(device) {}
  /// At least `bytes`, aligned to 64. Growing moves the memory and leaves what it held.
  void *reserve(int64_t bytes);
  int64_t bytes() const { return memory_.defined() ? memory_.numel() : 0; }
  /// The memory as it is now: who holds it keeps it from being freed.
  const at::Tensor &memory() const { return memory_; }
  /// Counts up whenever the memory has moved.
  int64_t generation() const { return generation_; }

private:
  at::Device device_;
  at::Tensor memory_;
  int64_t generation_ = 0;
};

} // namespace morph

#endif // MORPH_RUNTIME_EXEC_ARENA_H
