// SPDX-License-Identifier: Apache-2.0

#include "runtime/exec/HeldMemory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <atomic>
#include <cstring>
#include <utility>

namespace morph {

namespace {

std::atomic<int64_t> held{0}, peak{0}, allocations{0};

/// The allocator that was there before, with a count.
class CountingAllocator : public c10::Allocator {
public:
  explicit CountingAllocator(c10::Allocator &inner) : inner_(inner) {}

  c10::DataPtr allocate(size_t bytes) override {
    c10::DataPtr block = inner_.allocate(bytes);
    void *const data = block.get();
    const c10::Device device = block.device();
    addHeldBytes(static_cast<int64_t>(bytes));
    allocations.fetch_add(1, std::memory_order_relaxed);
    return {data, new Block{std::move(block), static_cast<int64_t>(bytes)}, &release, device};
  }
  void copy_data(void *to, const void *from, std::size_t bytes) const override { std::memcpy(to, from, bytes); }

private:
  struct Block {
    c10::DataPtr data;
    int64_t bytes;
  };
  static void release(void *context) {
    Block *const block = static_cast<Block *>(context);
    addHeldBytes(-block->bytes);
    delete block;
  }
  c10::Allocator &inner_;
};

} // namespace

void countHeldMemory() {
  // Lives as long as the last tensor, which may be static.
  static CountingAllocator *const allocator = new CountingAllocator(*c10::GetDefaultCPUAllocator());
  c10::SetCPUAllocator(allocator);
}

void addHeldBytes(int64_t bytes) {
  const int64_t now = held.fetch_add(bytes) + bytes;
  int64_t most = peak.load();
  while (now > most && !peak.compare_exchange_weak(most, now)) {
  }
}

int64_t heldBytes() { return held.load(); }

int64_t peakHeldBytes() { return peak.load(); }

void restartPeak() { peak.store(held.load()); }

int64_t allocationCount() { return allocations.load(); }

} // namespace morph
