// SPDX-License-Identifier: Apache-2.0
// What is known of every two bytes of a block's shared memory, and of device memory that it touches: which of its
// threads wrote and read it last, and what has ordered that before others. Orders come from barriers of the block
// (warps learn of each other) and of a warp (lanes learn of each other); shuffles and votes order nothing, as PTX has
// it.

#ifndef MORPH_TEST_CUDA_DRIVER_BLOCKSHADOW_H
#define MORPH_TEST_CUDA_DRIVER_BLOCKSHADOW_H

#include <cstdint>
#include <string>
#include <vector>

namespace morph::standin {

class BlockShadow {
public:
  /// What an access was found to be.
  enum class Finding { None, Uninitialised, InFlight, WriteWrite, WriteRead, ReadWrite };
  struct Found {
    Finding finding = Finding::None;
    uint32_t other = 0, site = 0; ///< The other thread, and the instruction of a write.
    uint32_t offset = 0;          ///< Of the byte, from the first one of the access.
  };

  /// Begins a block of `threads` with `bytes` of shared memory.
  void begin(uint32_t threads, uint32_t bytes);

  /// Of bytes that are aligned to their number, at most 16. A single byte counts as two.
  Found read(uint32_t thread, uint32_t site, uint32_t address, uint32_t bytes);
  Found write(uint32_t thread, uint32_t site, uint32_t address, uint32_t bytes, bool isAtomic);
  /// The same of device memory, where single bytes are left alone, as by GlobalShadow.
  Found readGlobal(uint32_t thread, uint32_t site, uint64_t address, uint32_t bytes);
  Found writeGlobal(uint32_t thread, uint32_t site, uint64_t address, uint32_t bytes, bool isAtomic);
  /// A copy on its way: nobody may touch the bytes until it has landed.
  Found beginCopy(uint32_t thread, uint32_t site, uint32_t address, uint32_t bytes);
  void endCopy(uint32_t thread, uint32_t address, uint32_t bytes);

  /// Lanes of a warp that passed its barrier together.
  void joinLanes(uint32_t warp, uint32_t mask, uint32_t existing);
  /// Lanes of warps that passed a barrier of the block together; `masks` by warp, 0: not there.
  void joinWarps(const std::vector<uint32_t> &masks, const std::vector<uint32_t> &existing);

private:
  /// A time at which a thread did something: the warp's count of barriers of the block, the lane's of all barriers.
  struct Stamp {
    uint32_t warpTime = 0, laneTime = 0, thread = 0;
  };
  struct Cell {
    Stamp writer, readers[2]; ///< Of readers the first one since the write that is not ordered, and the last.
    uint16_t site = 0;
    bool isInFlight = false, isAtomic = false;

    bool operator==(const Cell &other) const;
  };
  struct Warp {
    uint32_t time = 0;
    uint32_t floor = 0;          ///< Everything of its lanes up to here is known to all of them.
    std::vector<uint32_t> known; ///< Times of other warps.
    std::vector<uint32_t> lanes; ///< 32 x 32: what a lane knows of others; empty until a part of the warp joins.
  };
  Stamp now(uint32_t thread) const { return {warps[thread / 32].time, laneTimes[thread], thread}; }
  /// The cells of 16 bytes of device memory follow each other. A table of those that the block has touched, by hashes:
  /// few beside all memory.
  struct Line {
    uint64_t number = 0; ///< Of its address.
    uint32_t block = 0;  ///< In whose time it was touched; 0: never.
    uint32_t cells = 0;  ///< Where they begin.
  };
  static constexpr uint64_t kLineBytes = 16;
  static constexpr uint32_t kGranule = 2;
  static uint32_t cellsOf(uint32_t bytes) { return (bytes + kGranule - 1) / kGranule; }
  Cell *globalCells(uint64_t address);

  bool isCurrent(const Stamp &stamp) const { return stamp.warpTime >= base; }
  bool isOrdered(const Stamp &before, uint32_t thread) const;
  Found look(uint32_t thread, Cell *cells, uint32_t bytes, bool mayBeUnwritten);
  Found change(uint32_t thread, uint32_t site, Cell *cells, uint32_t bytes, bool isAtomic, bool isCopy,
               bool mayBeUnwritten);

  uint32_t base = 1, next = 1;
  std::vector<Cell> cells; ///< Of shared memory.
  std::vector<Line> lines;
  std::vector<Cell> lineCells;
  uint32_t block = 0, usedLines = 0;
  std::vector<Warp> warps;
  std::vector<uint32_t> laneTimes;
};

} // namespace morph::standin

#endif // MORPH_TEST_CUDA_DRIVER_BLOCKSHADOW_H
