// SPDX-License-Identifier: Apache-2.0
// Device memory: where allocations lie, which of them are alive, and the host's view of them.
// Device addresses are reserved but never mapped, and the bytes lie elsewhere, a fixed distance away: a host program
// that follows a device address ends, as it would with hardware.

#ifndef MORPH_TEST_CUDA_DRIVER_MEMORY_H
#define MORPH_TEST_CUDA_DRIVER_MEMORY_H

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace morph::standin {

/// Bytes that kernels may touch; the host has them at `begin + delta`.
struct LiveRange {
  uint64_t begin = 0, bytes = 0, delta = 0;
};

/// A part of device memory.
struct Span {
  uint64_t begin = 0, end = 0;
};

/// All live ranges at one time, ordered.
class LiveRanges {
public:
  /// The last range that begins at `address` or below, or null.
  const LiveRange *below(uint64_t address) const;
  /// The range that holds all bytes from `address` on, or null.
  const LiveRange *find(uint64_t address, uint64_t bytes) const;
  /// What of these lies within `spans`. Spans that overlap are one range, and those side by side are two.
  LiveRanges within(std::vector<Span> spans) const;
  std::vector<LiveRange> ranges;
};

class Memory {
public:
  /// `total`: bytes of the device; `isFilled`: what is new is filled with 0xff.
  Memory(uint64_t total, bool isFilled);
  ~Memory();
  Memory(const Memory &) = delete;

  uint64_t total() const { return total_; }
  uint64_t used() const { return used_; }
  uint64_t begin() const { return device; }
  uint64_t span() const { return span_; }
  uint64_t delta() const { return host - device; }

  /// A new address, multiple of 256; 0 where the device is full. It is not alive before `setAllocated`.
  uint64_t reserve(uint64_t bytes);
  void setAllocated(uint64_t address);
  /// False where no allocation begins there.
  bool release(uint64_t address);
  bool isAllocation(uint64_t address) const { return allocations.count(address) != 0; }
  /// The allocation around an address: where it begins and its size. False where there is none.
  bool find(uint64_t address, uint64_t &begin, uint64_t &bytes) const;

  /// Host memory that kernels may read and write at its own address.
  void addHost(uint64_t begin, uint64_t bytes);
  bool removeHost(uint64_t begin);
  bool isHost(uint64_t begin, uint64_t bytes) const;

  /// The live ranges now; shared until they change.
  std::shared_ptr<const LiveRanges> live();
  /// Why an access is none to one of `ranges`, which are all live ones or a launch's.
  std::string explain(uint64_t address, uint64_t bytes, const LiveRanges &ranges) const;
  /// Host address of device memory; no check.
  char *hostAddress(uint64_t address) const { return reinterpret_cast<char *>(address + delta()); }
  bool isDevice(uint64_t address) const { return address - device < span_; }

private:
  struct Allocation {
    uint64_t bytes = 0;
    bool isAllocated = false;
  };
  void fill(uint64_t begin, uint64_t bytes);

  uint64_t total_, used_ = 0, span_ = 0, device = 0, host = 0, next = 0;
  bool isFilled;
  std::map<uint64_t, Allocation> allocations;
  std::map<uint64_t, uint64_t> freed; ///< Begin to end, for explanations; the newest few.
  std::map<uint64_t, uint64_t> hosts; ///< Begin to end.
  std::shared_ptr<const LiveRanges> snapshot;
};

} // namespace morph::standin

#endif // MORPH_TEST_CUDA_DRIVER_MEMORY_H
