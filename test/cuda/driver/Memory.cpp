// SPDX-License-Identifier: Apache-2.0
#include "test/cuda/driver/Memory.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <sys/mman.h>

namespace morph::standin {

namespace {

constexpr uint64_t kPage = 4096;
/// Larger memory is not filled: that would touch all its pages.
constexpr uint64_t kMostFilled = uint64_t(256) << 20;

uint64_t roundUp(uint64_t value, uint64_t align) { return (value + align - 1) / align * align; }

uint64_t reserveSpan(uint64_t bytes, int protection) {
  void *address = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return address == MAP_FAILED ? 0 : reinterpret_cast<uint64_t>(address);
}

} // namespace

const LiveRange *LiveRanges::below(uint64_t address) const {
  auto after = std::upper_bound(ranges.begin(), ranges.end(), address,
                                [](uint64_t value, const LiveRange &range) { return value < range.begin; });
  return after == ranges.begin() ? nullptr : &*(after - 1);
}

const LiveRange *LiveRanges::find(uint64_t address, uint64_t bytes) const {
  const LiveRange *range = below(address);
  if (!range)
    return nullptr;
  uint64_t offset = address - range->begin;
  return offset < range->bytes && range->bytes - offset >= bytes ? range : nullptr;
}

LiveRanges LiveRanges::within(std::vector<Span> spans) const {
  std::sort(spans.begin(), spans.end(), [](const Span &a, const Span &b) { return a.begin < b.begin; });
  LiveRanges found;
  for (size_t i = 0; i < spans.size();) {
    Span all = spans[i++];
    for (; i < spans.size() && spans[i].begin < all.end; ++i)
      all.end = std::max(all.end, spans[i].end);
    for (const LiveRange &range : ranges) {
      uint64_t begin = std::max(all.begin, range.begin), end = std::min(all.end, range.begin + range.bytes);
      if (begin < end)
        found.ranges.push_back({begin, end - begin, range.delta});
    }
  }
  return found;
}

Memory::Memory(uint64_t total, bool isFilled) : total_(total), isFilled(isFilled) {
  // Twice the device, so that addresses return late: what is freed and used again is seen.
  span_ = roundUp(2 * total, kPage) + (uint64_t(1) << 30);
  device = reserveSpan(span_, PROT_NONE);
  host = reserveSpan(span_, PROT_READ | PROT_WRITE);
  if (!device || !host) {
    std::fprintf(stderr, "stand-in driver: cannot reserve %llu bytes of addresses\n", (unsigned long long)span_);
    total_ = span_ = 0;
  }
  next = device;
}

Memory::~Memory() {
  if (device)
    munmap(reinterpret_cast<void *>(device), span_);
  if (host)
    munmap(reinterpret_cast<void *>(host), span_);
}

void Memory::fill(uint64_t begin, uint64_t bytes) {
  if (isFilled && bytes <= kMostFilled)
    std::memset(hostAddress(begin), 0xff, bytes);
}

uint64_t Memory::reserve(uint64_t bytes) {
  uint64_t room = roundUp(bytes, 512);
  if (bytes == 0 || bytes > total_ || room > total_ - used_)
    return 0;
  // At least a page between allocations; the next place, and from the beginning again behind the last.
  uint64_t need = roundUp(bytes, kPage) + kPage;
  for (int pass = 0; pass < 2; ++pass) {
    uint64_t at = pass == 0 ? next : device;
    for (auto after = allocations.lower_bound(at);; ++after) {
      if (after != allocations.begin()) {
        auto before = std::prev(after);
        at = std::max(at, roundUp(before->first + before->second.bytes, kPage) + kPage);
      }
      uint64_t end = after == allocations.end() ? device + span_ : after->first;
      if (at + need <= end) {
        Allocation allocation;
        allocation.bytes = bytes;
        allocations[at] = allocation;
        used_ += room;
        next = at + need;
        for (auto gone = freed.begin(); gone != freed.end();)
          gone = gone->first < at + bytes && gone->second > at ? freed.erase(gone) : std::next(gone);
        return at;
      }
      if (after == allocations.end())
        break;
    }
  }
  return 0;
}

void Memory::setAllocated(uint64_t address) {
  Allocation &allocation = allocations[address];
  allocation.isAllocated = true;
  fill(address, allocation.bytes);
  snapshot = nullptr;
}

bool Memory::release(uint64_t address) {
  auto found = allocations.find(address);
  if (found == allocations.end())
    return false;
  uint64_t bytes = found->second.bytes;
  madvise(hostAddress(address), roundUp(bytes, kPage), MADV_DONTNEED);
  used_ -= roundUp(bytes, 512);
  if (freed.size() > 4096)
    freed.clear();
  freed[address] = address + bytes;
  allocations.erase(found);
  snapshot = nullptr;
  return true;
}

bool Memory::find(uint64_t address, uint64_t &begin, uint64_t &bytes) const {
  auto after = allocations.upper_bound(address);
  if (after == allocations.begin())
    return false;
  --after;
  if (address - after->first >= after->second.bytes)
    return false;
  begin = after->first;
  bytes = after->second.bytes;
  return true;
}

void Memory::addHost(uint64_t begin, uint64_t bytes) {
  hosts[begin] = begin + bytes;
  snapshot = nullptr;
}

bool Memory::removeHost(uint64_t begin) {
  snapshot = nullptr;
  return hosts.erase(begin) != 0;
}

bool Memory::isHost(uint64_t begin, uint64_t bytes) const {
  auto after = hosts.upper_bound(begin);
  return after != hosts.begin() && begin + bytes <= std::prev(after)->second;
}

std::shared_ptr<const LiveRanges> Memory::live() {
  if (snapshot)
    return snapshot;
  auto now = std::make_shared<LiveRanges>();
  for (const auto &[begin, allocation] : allocations) {
    if (allocation.isAllocated)
      now->ranges.push_back({begin, allocation.bytes, delta()});
  }
  for (auto [begin, end] : hosts)
    now->ranges.push_back({begin, end - begin, 0});
  std::sort(now->ranges.begin(), now->ranges.end(),
            [](const LiveRange &a, const LiveRange &b) { return a.begin < b.begin; });
  snapshot = now;
  return snapshot;
}

std::string Memory::explain(uint64_t address, uint64_t bytes, const LiveRanges &ranges) const {
  auto offset = [](uint64_t value) { return std::to_string(value); };
  uint64_t begin = 0, size = 0;
  if (find(address, begin, size)) {
    const Allocation &allocation = allocations.at(begin);
    std::string place = offset(address - begin) + " bytes into an allocation of " + offset(size);
    if (!allocation.isAllocated)
      return place + " that its stream has not reached yet";
    if (address - begin + bytes > size)
      return place + ", beyond its end";
    // It is alive, and not the launch's.
    if (const LiveRange *begun = ranges.find(address, 1))
      return place + ", beyond the end of a buffer of " + offset(begun->bytes) + " bytes that the launch was given";
    place += ", in no buffer that the launch was given";
    const LiveRange *below = ranges.below(address);
    return below && below->begin >= begin
               ? place + " (" + offset(address - below->begin - below->bytes) + " bytes behind the nearest below)"
               : place;
  }
  for (auto [first, last] : freed)
    if (address >= first && address < last)
      return offset(address - first) + " bytes into an allocation of " + offset(last - first) + " that was freed";
  auto after = allocations.upper_bound(address);
  if (after != allocations.begin() && isDevice(address)) {
    const auto &before = *std::prev(after);
    uint64_t end = before.first + before.second.bytes;
    if (address - end < kPage)
      return offset(address - end) + " bytes behind an allocation of " + offset(before.second.bytes);
  }
  if (after != allocations.end() && after->first - address < kPage)
    return offset(after->first - address) + " bytes before an allocation of " + offset(after->second.bytes);
  if (address < kPage)
    return "a null pointer";
  return isDevice(address) ? "in no allocation" : "no device memory";
}

} // namespace morph::standin
