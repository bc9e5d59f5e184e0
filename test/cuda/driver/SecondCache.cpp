// SPDX-License-Identifier: Apache-2.0
#include "test/cuda/driver/SecondCache.h"

#include <algorithm>

namespace morph::standin {

namespace {
constexpr uint64_t kSectorBytes = 32, kLineSectors = 4;
/// Sectors that a block asks for before the next one's turn comes.
constexpr uint64_t kTurn = 64;
} // namespace

void BlockRequests::add(const WarpRequest &request) {
  const bool isRead = request.how != kWrite, isWritten = request.how != kRead;
  for (unsigned lane = 0; lane < 32; ++lane) {
    if (!(request.mask >> lane & 1))
      continue;
    const uint64_t first = request.address[lane] / kSectorBytes;
    const uint64_t last = (request.address[lane] + request.bytes - 1) / kSectorBytes;
    Run *before = runs.empty() ? nullptr : &runs.back();
    if (before && before->isRead == isRead && before->isWritten == isWritten && first >= before->first &&
        first <= before->first + before->sectors) {
      before->sectors = uint32_t(std::max<uint64_t>(before->sectors, last + 1 - before->first));
      continue;
    }
    runs.push_back({first, uint32_t(last + 1 - first), isRead, isWritten});
  }
}

SecondCache::SecondCache(uint64_t bytes) : mostLines(std::max<uint64_t>(1, bytes / (kSectorBytes * kLineSectors))) {}

void SecondCache::writeBack(Line &line) {
  bytesStored += kSectorBytes * uint64_t(__builtin_popcount(line.written));
  line.written = 0;
}

void SecondCache::writeBack() {
  for (Line &line : lines)
    writeBack(line);
}

void SecondCache::access(const BlockRequests::Run &run) {
  for (uint64_t sector = run.first, end = run.first + run.sectors; sector < end;) {
    const uint64_t number = sector / kLineSectors, next = std::min(end, (number + 1) * kLineSectors);
    const uint32_t sectors = uint32_t(((1u << (next - sector)) - 1) << (sector % kLineSectors));
    sector = next;
    auto [place, isNew] = places.try_emplace(number);
    if (!isNew) {
      lines.splice(lines.begin(), lines, place->second);
    } else if (lines.size() < mostLines) {
      lines.push_front({number});
      place->second = lines.begin();
    } else {
      lines.splice(lines.begin(), lines, std::prev(lines.end()));
      writeBack(lines.front());
      places.erase(lines.front().number);
      lines.front() = {number};
      place->second = lines.begin();
    }
    Line &line = lines.front();
    if (run.isRead)
      bytesLoaded += kSectorBytes * uint64_t(__builtin_popcount(sectors & ~line.valid));
    if (run.isWritten)
      line.written |= sectors;
    line.valid |= sectors; // Of what is written in part nobody reads the rest.
  }
}

void countMemory(const std::vector<BlockRequests> &blocks, uint64_t mostAtOnce, uint64_t cacheBytes,
                 Counters::Launch &counts) {
  struct Running {
    uint64_t block, run;
  };
  const uint64_t atOnce = std::min<uint64_t>(mostAtOnce, blocks.size());
  SecondCache cache(uint64_t(double(cacheBytes) * double(atOnce) / double(mostAtOnce)));
  std::vector<Running> running;
  uint64_t begun = 0;
  while (begun < atOnce)
    running.push_back({begun++, 0});
  while (!running.empty()) {
    for (Running &one : running) {
      const auto &runs = blocks[one.block].runs;
      for (uint64_t sectors = 0; sectors < kTurn && one.run < runs.size(); sectors += runs[one.run++].sectors)
        cache.access(runs[one.run]);
      if (one.run == runs.size() && begun < blocks.size())
        one = {begun++, 0};
    }
    running.erase(std::remove_if(running.begin(), running.end(),
                                 [&](const Running &one) { return one.run == blocks[one.block].runs.size(); }),
                  running.end());
  }
  cache.writeBack();
  counts.memoryLoaded += cache.bytesLoaded;
  counts.memoryStored += cache.bytesStored;
}

} // namespace morph::standin
