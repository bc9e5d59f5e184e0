// SPDX-License-Identifier: Apache-2.0
// What memory the machine has, and how the process keeps it between the steps of a program.

#ifndef MORPH_RUNTIME_BASE_MEMORY_H
#define MORPH_RUNTIME_BASE_MEMORY_H

#include <algorithm>
#include <fstream>
#include <string>

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

/// Bytes that can be had without swapping: pages that only cache files count as free, and a container's limit binds.
inline double availableMemory() {
  double available = 1e18;
  std::ifstream information("/proc/meminfo");
  std::string line;
  while (std::getline(information, line))
    if (line.rfind("MemAvailable:", 0) == 0)
      available = 1024 * std::stod(line.substr(13));
  // A container's limit, less what it uses beyond the page cache.
  std::ifstream limitFile("/sys/fs/cgroup/memory.max"), statistics("/sys/fs/cgroup/memory.stat");
  double limit = 0, used = 0;
  if (limitFile >> limit) {
    std::string name;
    double value;
    while (statistics >> name >> value)
      if (name == "anon" || name == "slab_unreclaimable")
        used += value;
    available = std::min(available, limit - used);
  }
  return available;
}

} // namespace morph

#endif // MORPH_RUNTIME_BASE_MEMORY_H
