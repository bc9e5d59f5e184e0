// SPDX-License-Identifier: Apache-2.0
#include "test/cuda/driver/GlobalShadow.h"

#include "test/cuda/driver/Prelude.h"

#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>

namespace morph::standin {

namespace {

// A cell: the reader in bits 0 to 23, the writer in 24 to 47, bit 48: the writes were atomics, the launch above. A
// block is its number + 1, 0 is none. Grids beyond 2^24 blocks wrap, so that a few of their races are not seen; none is
// invented.
constexpr uint64_t kBlockBits = 24, kBlockMask = (uint64_t(1) << kBlockBits) - 1;
constexpr uint64_t kManyReaders = kBlockMask, kMostBlocks = kManyReaders - 1;
constexpr uint64_t kAtomicBit = uint64_t(1) << (2 * kBlockBits);
constexpr unsigned kLaunchShift = 2 * kBlockBits + 1;
constexpr uint64_t kMostLaunches = (uint64_t(1) << (64 - kLaunchShift)) - 1;
constexpr uint64_t kGranule = 2;

} // namespace

GlobalShadow::GlobalShadow(uint64_t begin, uint64_t span) : begin(begin), span(span) {
  void *memory = mmap(nullptr, span / kGranule * sizeof(uint64_t), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    std::fprintf(stderr, "stand-in driver: cannot reserve the addresses of the checks of global memory\n");
    std::abort();
  }
  cells = static_cast<std::atomic<uint64_t> *>(memory);
}

GlobalShadow::~GlobalShadow() { munmap(static_cast<void *>(cells), span / kGranule * sizeof(uint64_t)); }

void GlobalShadow::beginLaunch() {
  // Cells of older launches are as if they were empty; once their numbers come again, they are.
  if (++launch > kMostLaunches) {
    madvise(static_cast<void *>(cells), span / kGranule * sizeof(uint64_t), MADV_DONTNEED);
    launch = 1;
  }
}

GlobalShadow::Found GlobalShadow::access(uint64_t block, uint64_t address, uint32_t bytes, uint32_t how) {
  const uint64_t self = block % kMostBlocks + 1, offset = address - begin;
  if (offset >= span || bytes < kGranule)
    return {};
  Found found;
  for (uint64_t cell = offset / kGranule; cell < (offset + bytes) / kGranule; ++cell) {
    std::atomic<uint64_t> &place = cells[cell];
    uint64_t before = place.load(std::memory_order_relaxed), after = 0;
    bool isFirst = false;
    do {
      const uint64_t known = before >> kLaunchShift == launch ? before : launch << kLaunchShift;
      const uint64_t reader = known & kBlockMask, writer = known >> kBlockBits & kBlockMask;
      const bool isOthers = writer != 0 && writer != self;
      if (isOthers && !(how == kAtomic && (known & kAtomicBit)))
        return {how == kRead ? Finding::WriteRead : Finding::WriteWrite, writer - 1, begin + cell * kGranule, 0, 0};
      isFirst = (how == kRead ? reader : writer) == 0;
      if (how == kRead) {
        after = known + (reader == 0 ? self : reader == self ? 0 : kManyReaders - reader);
      } else {
        if (reader != 0 && reader != self)
          return {Finding::ReadWrite, reader == kManyReaders ? kSeveral : reader - 1, begin + cell * kGranule, 0, 0};
        // What a block wrote otherwise stays so: later atomics of others come too early or too late.
        const bool isAtomic = how == kAtomic && (writer == 0 || (known & kAtomicBit));
        after = (known & ~(kAtomicBit | kBlockMask << kBlockBits)) | self << kBlockBits | (isAtomic ? kAtomicBit : 0);
      }
    } while (after != before && !place.compare_exchange_weak(before, after, std::memory_order_relaxed));
    (how == kRead ? found.firstRead : found.firstWritten) += isFirst ? kGranule : 0;
  }
  return found;
}

} // namespace morph::standin
