// SPDX-License-Identifier: Apache-2.0

#include "runtime/exec/HeldMemory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <atomic>
#include <cstring>

namespace morph {

namespace {

std::atomic<int64_t> held{0}, peak{0}, allocations{0};

/// Before a tensor's memory stands how much it is, so that the memory is its own context: libraries within LibTorch
/// (its oneDNN) allocate by `raw_allocate`, which asks for that.
constexpr size_t kHeader = 64; // c10's alignment, which stays.

/// The allocator that was there before, with a count.
class CountingAllocator : public c10::Allocator {
public:
  c10::DataPtr allocate(size_t bytes) override {
    const c10::Device device(c10::DeviceType::CPU);
    if (bytes == 0)
      return {nullptr, device};
    char *const block = static_cast<char *>(inner().raw_allocate(bytes + kHeader));
    std::memcpy(block, &bytes, sizeof(bytes));
    addHeldBytes(static_cast<int64_t>(bytes));
    allocations.fetch_add(1, std::memory_order_relaxed);
    return {block + kHeader, block + kHeader, &release, device};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void *to, const void *from, std::size_t bytes) const override { std::memcpy(to, from, bytes); }

private:
  static c10::Allocator &inner() { return *c10::GetDefaultCPUAllocator(); }
  static void release(void *data) {
    if (!data)
      return;
    char *const block = static_cast<char *>(data) - kHeader;
    size_t bytes = 0;
    std::memcpy(&bytes, block, sizeof(bytes));
    addHeldBytes(-static_cast<int64_t>(bytes));
    inner().raw_deallocate(block);
  }
};

} // namespace

void countHeldMemory() {
  // Lives as long as the last tensor, which may be static.
  static CountingAllocator *const allocator = new CountingAllocator;
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
