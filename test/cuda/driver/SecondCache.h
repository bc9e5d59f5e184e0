// SPDX-License-Identifier: Apache-2.0
// What of a launch's requests to global memory the device's second cache does not have: the bytes that its memory gives
// and takes. The stand-in runs blocks one after another; here their requests are gone through again as a device would
// have them, many blocks at once.
//
// The model: lines of 128 bytes in four sectors, of which the least recently used one goes; what is written is kept
// until its line goes or the launch ends, and is then written back, once. A launch finds the cache empty, for at the
// sizes that fill a device what the launch before has left is gone. Blocks begin in the grid's order, as many at once
// as threads and shared memory allow (registers are not known here), and go on at one pace. A launch with fewer blocks
// than that has this share of the cache, as it would have beside others.
// What it is not: hardware does not forget strictly by age, and its cache has two halves, each of which may keep a copy
// of what both sides read. The first cache is not there; what it gives, the second one gives here.

#ifndef MORPH_TEST_CUDA_DRIVER_SECONDCACHE_H
#define MORPH_TEST_CUDA_DRIVER_SECONDCACHE_H

#include "test/cuda/driver/Counters.h"

#include <cstdint>
#include <list>
#include <unordered_map>
#include <vector>

namespace morph::standin {

/// The requests of a block, in its order: sectors that follow each other are one.
class BlockRequests {
public:
  struct Run {
    uint64_t first = 0; ///< Sector.
    uint32_t sectors = 0;
    bool isRead = false, isWritten = false; ///< Atomics are both.
  };
  void add(const WarpRequest &request);

  std::vector<Run> runs;
};

class SecondCache {
public:
  explicit SecondCache(uint64_t bytes);

  void access(const BlockRequests::Run &run);
  /// Writes back what is left.
  void writeBack();

  uint64_t bytesLoaded = 0, bytesStored = 0; ///< By the memory.

private:
  struct Line {
    uint64_t number = 0;
    uint32_t valid = 0, written = 0; ///< A bit a sector.
  };
  void writeBack(Line &line);

  uint64_t mostLines;
  std::list<Line> lines; ///< The newest first.
  std::unordered_map<uint64_t, std::list<Line>::iterator> places;
};

/// Goes through the requests of a launch's blocks, of which a device with a cache of `cacheBytes` has `mostAtOnce` at
/// once.
void countMemory(const std::vector<BlockRequests> &blocks, uint64_t mostAtOnce, uint64_t cacheBytes,
                 Counters::Launch &counts);

} // namespace morph::standin

#endif // MORPH_TEST_CUDA_DRIVER_SECONDCACHE_H
