// SPDX-License-Identifier: Apache-2.0
// How the process keeps memory between the steps of a program.

#ifndef MORPH_RUNTIME_BASE_MEMORY_H
#define MORPH_RUNTIME_BASE_MEMORY_H

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace morph {

/// Tells the allocator to keep freed memory for the next step instead of giving it back to the system, which would cost
/// a page fault for every 4 KB of every tensor of every step. Peak memory does not change. A no-op without glibc.
inline void keepFreedMemory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20); // The most that glibc takes.
  mallopt(M_TRIM_THRESHOLD, 2147483647);
  mallopt(M_TOP_PAD, 64 << 20);
#endif
}

} // namespace morph

#endif // MORPH_RUNTIME_BASE_MEMORY_H
