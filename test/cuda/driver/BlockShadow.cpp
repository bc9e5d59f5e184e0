// SPDX-License-Identifier: Apache-2.0
#include "test/cuda/driver/BlockShadow.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

namespace morph::standin {

bool BlockShadow::Cell::operator==(const Cell &other) const {
  static_assert(std::has_unique_object_representations_v<Cell> && sizeof(Cell) % 8 == 0);
  uint64_t ours[sizeof(Cell) / 8], theirs[sizeof(Cell) / 8], difference = 0;
  std::memcpy(ours, this, sizeof(Cell));
  std::memcpy(theirs, &other, sizeof(Cell));
  for (size_t i = 0; i < sizeof(Cell) / 8; ++i)
    difference |= ours[i] ^ theirs[i];
  return difference == 0;
}

void BlockShadow::begin(uint32_t threads, uint32_t bytes) {
  // Times go on from block to block: what is older than the block's beginning is as if it had never been.
  const size_t count = cellsOf(bytes);
  if (cells.size() < count || next > (1u << 30)) {
    cells.assign(std::max(count, cells.size()), {});
    std::fill(lineCells.begin(), lineCells.end(), Cell());
    next = 1;
  }
  base = next;
  usedLines = 0;
  if (++block == 0) {
    std::fill(lines.begin(), lines.end(), Line());
    block = 1;
  }
  const uint32_t warpCount = (threads + 31) / 32;
  warps.resize(warpCount);
  for (Warp &warp : warps) {
    warp.time = base;
    warp.floor = base - 1;
    warp.known.assign(warpCount, base - 1);
    warp.lanes.clear();
  }
  laneTimes.assign(warpCount * 32, base);
  next = base + 1;
}

bool BlockShadow::isOrdered(const Stamp &before, uint32_t thread) const {
  if (before.thread == thread)
    return true;
  const Warp &warp = warps[thread / 32];
  if (before.thread / 32 != thread / 32)
    return before.warpTime <= warp.known[before.thread / 32];
  return before.laneTime <= warp.floor ||
         (!warp.lanes.empty() && before.laneTime <= warp.lanes[(thread % 32) * 32 + before.thread % 32]);
}

BlockShadow::Cell *BlockShadow::globalCells(uint64_t address) {
  constexpr uint64_t perLine = kLineBytes / kGranule;
  const uint64_t number = address / kLineBytes;
  auto find = [&](uint64_t wanted) {
    // Fibonacci hashing; a line lies in the first free place from its own on.
    size_t place = wanted * 0x9e3779b97f4a7c15ull >> 32 & (lines.size() - 1);
    while (lines[place].block == block && lines[place].number != wanted)
      place = (place + 1) & (lines.size() - 1);
    return place;
  };
  if (lines.empty())
    lines.resize(1 << 10);
  size_t place = find(number);
  if (lines[place].block != block) {
    if (2 * (usedLines + 1) > lines.size()) {
      std::vector<Line> before(2 * lines.size());
      before.swap(lines);
      for (const Line &line : before)
        if (line.block == block)
          lines[find(line.number)] = line;
      place = find(number);
    }
    lines[place] = {number, block, uint32_t(usedLines++ * perLine)};
    // Cells of earlier blocks are as if they had never been, by their times.
    if (lineCells.size() < usedLines * perLine)
      lineCells.resize(2 * usedLines * perLine);
  }
  return &lineCells[lines[place].cells + address % kLineBytes / kGranule];
}

BlockShadow::Found BlockShadow::look(uint32_t thread, Cell *cells, uint32_t bytes, bool mayBeUnwritten) {
  Cell before, after;
  for (uint32_t i = 0; i < cellsOf(bytes); ++i) {
    Cell &cell = cells[i];
    // Cells of a word have mostly been treated alike.
    if (i > 0 && cell == before) {
      cell = after;
      continue;
    }
    before = cell;
    if (!isCurrent(cell.writer)) {
      if (!mayBeUnwritten)
        return {Finding::Uninitialised, 0, 0, i * kGranule};
    } else {
      if (cell.isInFlight)
        return {Finding::InFlight, cell.writer.thread, cell.site, i * kGranule};
      if (!isOrdered(cell.writer, thread))
        return {Finding::WriteRead, cell.writer.thread, cell.site, i * kGranule};
    }
    if (!isCurrent(cell.readers[0]) || isOrdered(cell.readers[0], thread))
      cell.readers[0] = now(thread);
    else
      cell.readers[1] = now(thread);
    after = cell;
  }
  return {};
}

BlockShadow::Found BlockShadow::change(uint32_t thread, uint32_t site, Cell *cells, uint32_t bytes, bool isAtomic,
                                       bool isCopy, bool mayBeUnwritten) {
  const uint32_t count = cellsOf(bytes);
  for (uint32_t i = 0; i < count; ++i) {
    const Cell &cell = cells[i];
    if (i > 0 && cell == cells[i - 1])
      continue;
    if (isCurrent(cell.writer)) {
      if (cell.isInFlight)
        return {Finding::InFlight, cell.writer.thread, cell.site, i * kGranule};
      if (!isOrdered(cell.writer, thread) && !(isAtomic && cell.isAtomic))
        return {Finding::WriteWrite, cell.writer.thread, cell.site, i * kGranule};
    } else if (isAtomic && !mayBeUnwritten) {
      return {Finding::Uninitialised, 0, 0, i * kGranule};
    }
    for (const Stamp &reader : cell.readers)
      if (isCurrent(reader) && !isOrdered(reader, thread))
        return {Finding::ReadWrite, reader.thread, 0, i * kGranule};
  }
  Cell after;
  after.writer = now(thread);
  after.site = uint16_t(std::min(site, 0xffffu));
  after.isInFlight = isCopy;
  after.isAtomic = isAtomic;
  std::fill_n(cells, count, after);
  return {};
}

BlockShadow::Found BlockShadow::read(uint32_t thread, uint32_t, uint32_t address, uint32_t bytes) {
  return look(thread, &cells[address / kGranule], bytes, /*mayBeUnwritten=*/false);
}

BlockShadow::Found BlockShadow::write(uint32_t thread, uint32_t site, uint32_t address, uint32_t bytes, bool isAtomic) {
  return change(thread, site, &cells[address / kGranule], bytes, isAtomic, /*isCopy=*/false, /*mayBeUnwritten=*/false);
}

BlockShadow::Found BlockShadow::readGlobal(uint32_t thread, uint32_t, uint64_t address, uint32_t bytes) {
  return bytes < kGranule ? Found() : look(thread, globalCells(address), bytes, /*mayBeUnwritten=*/true);
}

BlockShadow::Found BlockShadow::writeGlobal(uint32_t thread, uint32_t site, uint64_t address, uint32_t bytes,
                                            bool isAtomic) {
  return bytes < kGranule ? Found()
                          : change(thread, site, globalCells(address), bytes, isAtomic, /*isCopy=*/false,
                                   /*mayBeUnwritten=*/true);
}

BlockShadow::Found BlockShadow::beginCopy(uint32_t thread, uint32_t site, uint32_t address, uint32_t bytes) {
  return change(thread, site, &cells[address / kGranule], bytes, /*isAtomic=*/false, /*isCopy=*/true,
                /*mayBeUnwritten=*/false);
}

void BlockShadow::endCopy(uint32_t thread, uint32_t address, uint32_t bytes) {
  for (uint32_t i = 0; i < cellsOf(bytes); ++i) {
    Cell &cell = cells[address / kGranule + i];
    if (cell.isInFlight && cell.writer.thread == thread) {
      cell.isInFlight = false;
      cell.writer = now(thread);
    }
  }
}

void BlockShadow::joinLanes(uint32_t index, uint32_t mask, uint32_t existing) {
  Warp &warp = warps[index];
  uint32_t *times = &laneTimes[index * 32];
  uint32_t latest = *std::max_element(times, times + 32);
  if ((mask & existing) == existing) {
    warp.floor = latest;
    warp.lanes.clear();
    std::fill(times, times + 32, latest + 1);
  } else {
    if (warp.lanes.empty())
      warp.lanes.assign(32 * 32, warp.floor);
    uint32_t joint[32] = {};
    for (uint32_t lane = 0; lane < 32; ++lane)
      if (mask >> lane & 1) {
        for (uint32_t i = 0; i < 32; ++i)
          joint[i] = std::max(joint[i], warp.lanes[lane * 32 + i]);
        joint[lane] = std::max(joint[lane], times[lane]);
      }
    for (uint32_t lane = 0; lane < 32; ++lane)
      if (mask >> lane & 1) {
        std::copy(joint, joint + 32, warp.lanes.begin() + lane * 32);
        times[lane] = latest + 1;
      }
  }
  next = std::max(next, latest + 2);
}

void BlockShadow::joinWarps(const std::vector<uint32_t> &masks, const std::vector<uint32_t> &existing) {
  std::vector<uint32_t> joint(warps.size(), 0);
  for (size_t w = 0; w < warps.size(); ++w)
    if (masks[w]) {
      for (size_t i = 0; i < warps.size(); ++i)
        joint[i] = std::max(joint[i], warps[w].known[i]);
      joint[w] = std::max(joint[w], warps[w].time);
    }
  for (size_t w = 0; w < warps.size(); ++w)
    if (masks[w]) {
      warps[w].known = joint;
      next = std::max(next, ++warps[w].time + 1);
      joinLanes(uint32_t(w), masks[w], existing[w]);
    }
}

} // namespace morph::standin
