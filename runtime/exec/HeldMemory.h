// SPDX-License-Identifier: Apache-2.0
// How much memory this process's tensors hold, and held at most: allocations of LibTorch's CPU allocator and how many
// they were, and the parts of mapped files that weights are views of.

#ifndef MORPH_RUNTIME_EXEC_HELDMEMORY_H
#define MORPH_RUNTIME_EXEC_HELDMEMORY_H

#include <cstdint>

namespace morph {

/// Counts all allocations from here on; to be called once, before the first tensor. Costs some nanoseconds each.
void countHeldMemory();

/// Adds bytes that no allocator knows of; negative ones take them away again.
void addHeldBytes(int64_t bytes);

/// The bytes held now, and the most held at once since the start or the last `restartPeak`.
int64_t heldBytes();
int64_t peakHeldBytes();
void restartPeak();

/// How many blocks LibTorch's CPU allocator has given out so far.
int64_t allocationCount();

} // namespace morph

#endif // MORPH_RUNTIME_EXEC_HELDMEMORY_H
