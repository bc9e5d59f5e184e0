// SPDX-License-Identifier: Apache-2.0
#include "test/cuda/driver/Worker.h"

#include "test/cuda/driver/Collectives.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <sys/mman.h>

namespace morph::standin {

namespace {

constexpr uint32_t kMostThreads = 1024;
constexpr size_t kStackBytes = size_t(256) << 10;
/// From stack to stack. Their tops must not all lie in the same sets of the caches.
constexpr size_t kStackStep = kStackBytes + 13 * 64;
constexpr uint32_t kSharedCapacity = 1 << 20;

std::string triple(const uint32_t *values) {
  return "(" + std::to_string(values[0]) + "," + std::to_string(values[1]) + "," + std::to_string(values[2]) + ")";
}

std::string hexadecimal(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof(text), "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

Worker &workerOf(MorphThread *thread) { return *static_cast<Worker *>(thread->block); }

const MorphApi kApi = {
    [](MorphThread *t, uint32_t site, uint64_t address, uint32_t bytes, uint32_t how) {
      return workerOf(t).accessGlobal(*t, site, address, bytes, how);
    },
    [](MorphThread *t, uint32_t site, uint64_t address, uint32_t bytes, uint32_t how) {
      return workerOf(t).accessShared(*t, site, address, bytes, how);
    },
    [](MorphThread *t, uint32_t site, uint64_t address, uint32_t bytes, uint32_t how) {
      return workerOf(t).accessLocal(*t, site, address, bytes, how);
    },
    [](MorphThread *t, uint32_t site, uint64_t address, uint32_t bytes, uint32_t how) {
      return workerOf(t).accessGeneric(*t, site, address, bytes, how);
    },
    [](MorphThread *t, uint32_t site, uint32_t kind, uint32_t mask) { workerOf(t).collective(*t, site, kind, mask); },
    [](MorphThread *t, uint32_t site, uint32_t id, uint32_t threads, uint32_t aligned) {
      workerOf(t).barrier(*t, site, id, threads, aligned != 0);
    },
    [](MorphThread *t, uint32_t site, uint64_t to, uint64_t from, uint32_t bytes, uint32_t source) {
      workerOf(t).copyAsync(*t, site, to, from, bytes, source);
    },
    [](MorphThread *t) { workerOf(t).commitAsync(*t); },
    [](MorphThread *t, uint32_t, uint32_t groups) { workerOf(t).waitAsync(*t, groups); },
    [](MorphThread *t) { workerOf(t).leave(*t); },
    [](MorphThread *t, uint32_t site) { workerOf(t).stop(*t, site, "trap", Fault::LaunchFailed); },
};

} // namespace

Worker::Worker() : MorphBlock{} {
  api = &kApi;
  void *memory = mmap(nullptr, kStackStep * kMostThreads, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  stacks = memory == MAP_FAILED ? nullptr : static_cast<char *>(memory);
  memory = mmap(nullptr, kSharedCapacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  shared = memory == MAP_FAILED ? nullptr : static_cast<uint8_t *>(memory);
  fibers.resize(kMostThreads);
}

Worker::~Worker() {
  if (stacks)
    munmap(stacks, kStackStep * kMostThreads);
  if (shared)
    munmap(shared, kSharedCapacity);
}

// --- Errors ----------------------------------------------------------------------------------------------------------

std::string Worker::threadText(uint32_t index) const { return "thread " + triple(threads[index].tid); }

std::string Worker::siteText(uint32_t site) const {
  const auto &instructions = launch->module->translation->instructions;
  if (site >= instructions.size())
    return "";
  return "PTX line " + std::to_string(instructions[site].line) + " `" + instructions[site].text + "`";
}

void Worker::report(const MorphThread &thread, uint32_t site, const std::string &what, Fault fault) {
  std::string place =
      launch->kernel->name + "/" + std::to_string(site) + "/" + what.substr(0, what.find_first_of("0123456789"));
  shared_->errors->add(place,
                       "kernel " + launch->kernel->name + ", " + siteText(site) + ", block " + triple(ctaid) +
                           " thread " + triple(thread.tid) + ": " + what,
                       fault);
}

void Worker::stop(const MorphThread &thread, uint32_t site, const std::string &what, Fault fault) {
  report(thread, site, what, fault);
  isAborted = true;
  shared_->isStopped = true;
  goToScheduler();
}

void Worker::goToScheduler() {
  Fiber abandoned;
  switchFiber(abandoned, scheduler);
  __builtin_unreachable();
}

void Worker::reportFound(const MorphThread &thread, uint32_t site, const std::string &where,
                         const BlockShadow::Found &found) {
  std::string other = threadText(found.other), line = siteText(found.site);
  switch (found.finding) {
  case BlockShadow::Finding::None:
    return;
  case BlockShadow::Finding::Uninitialised:
    return report(thread, site, "reads uninitialised " + where, Fault::LaunchFailed);
  case BlockShadow::Finding::InFlight:
    return report(thread, site,
                  "touches what an asynchronous copy that was not waited for writes, in " + where + " (" + other +
                      ", " + line + ")",
                  Fault::LaunchFailed);
  case BlockShadow::Finding::WriteRead:
    return report(thread, site,
                  "race: reads what another thread has written with no barrier between, in " + where + " (" + other +
                      ", " + line + ")",
                  Fault::LaunchFailed);
  case BlockShadow::Finding::WriteWrite:
    return report(thread, site,
                  "race: writes what another thread has written with no barrier between, in " + where + " (" + other +
                      ", " + line + ")",
                  Fault::LaunchFailed);
  case BlockShadow::Finding::ReadWrite:
    return report(thread, site,
                  "race: writes what another thread has read with no barrier between, in " + where + " (" + other + ")",
                  Fault::LaunchFailed);
  }
}

void Worker::reportShared(const MorphThread &thread, uint32_t site, uint64_t address, const BlockShadow::Found &found) {
  if (found.finding != BlockShadow::Finding::None)
    reportFound(thread, site, "shared memory at byte " + std::to_string(address + found.offset), found);
}

std::string Worker::placeText(uint64_t address) const {
  uint64_t begin = 0, size = 0;
  return shared_->memory->find(address, begin, size)
             ? std::to_string(address - begin) + " bytes into an allocation of " + std::to_string(size)
             : hexadecimal(address);
}

void Worker::checkGlobal(const MorphThread &thread, uint32_t site, uint64_t address, uint32_t bytes, uint32_t how) {
  checkBlocks(thread, site, address, bytes, how);
  const BlockShadow::Found found = how == kRead
                                       ? shadow.readGlobal(thread.index, site, address, bytes)
                                       : shadow.writeGlobal(thread.index, site, address, bytes, how == kAtomic);
  if (found.finding != BlockShadow::Finding::None)
    reportFound(thread, site, "device memory, " + placeText(address + found.offset), found);
}

void Worker::checkBlocks(const MorphThread &thread, uint32_t site, uint64_t address, uint32_t bytes, uint32_t how) {
  const GlobalShadow::Found found = shared_->shadow->access(blockIndex, address, bytes, how);
  counts.firstLoaded += found.firstRead;
  counts.firstStored += found.firstWritten;
  if (found.finding == GlobalShadow::Finding::None)
    return;
  std::string other = "other blocks have";
  if (found.other != GlobalShadow::kSeveral) {
    const uint32_t place[3] = {uint32_t(found.other % nctaid[0]), uint32_t(found.other / nctaid[0] % nctaid[1]),
                               uint32_t(found.other / nctaid[0] / nctaid[1])};
    other = "block " + triple(place) + " has";
  }
  report(thread, site,
         std::string("race of blocks: ") + (how == kRead ? "reads" : "writes") + " what " + other +
             (found.finding == GlobalShadow::Finding::ReadWrite ? " read" : " written") + " in the same launch, " +
             placeText(found.address),
         Fault::LaunchFailed);
}

// --- Memory ----------------------------------------------------------------------------------------------------------

const LiveRange &Worker::findLive(const MorphThread &thread, uint32_t site, uint64_t address, uint32_t bytes,
                                  uint32_t how) {
  const LiveRange *found = shared_->live->find(address, bytes);
  if (!found)
    stop(thread, site,
         std::string(how == kRead    ? "loads "
                     : how == kWrite ? "stores "
                                     : "changes ") +
             std::to_string(bytes) + " bytes at " + hexadecimal(address) + ", " +
             shared_->memory->explain(address, bytes, *shared_->live),
         Fault::IllegalAddress);
  return *found;
}

void Worker::checkInside(const MorphThread &thread, uint32_t site, uint64_t address, uint32_t bytes) {
  if (address + bytes > sharedBytes || !isInside[address] || !isInside[address + bytes - 1])
    stop(thread, site, "outside every variable of shared memory: byte " + std::to_string(address),
         Fault::IllegalAddress);
}

uint8_t *Worker::accessGlobal(MorphThread &thread, uint32_t site, uint64_t address, uint32_t bytes, uint32_t how) {
  if (address % bytes)
    stop(thread, site, "misaligned access of " + std::to_string(bytes) + " bytes at " + hexadecimal(address),
         Fault::Misaligned);
  LiveRange &range = cache[site & 63];
  uint64_t offset = address - range.begin;
  if (offset >= range.bytes || range.bytes - offset < bytes) {
    range = findLive(thread, site, address, bytes, how);
  }
  SiteCounts &counted = counts.sites[site];
  if (how != kWrite)
    counted.bytesLoaded += bytes;
  if (how != kRead)
    counted.bytesStored += bytes;
  record(thread, site, false, address, bytes, how);
  checkGlobal(thread, site, address, bytes, how);
  return reinterpret_cast<uint8_t *>(address + range.delta);
}

uint8_t *Worker::accessShared(MorphThread &thread, uint32_t site, uint64_t address, uint32_t bytes, uint32_t how) {
  address &= 0xffffffffu;
  if (address % bytes)
    stop(thread, site,
         "misaligned access of " + std::to_string(bytes) + " bytes at shared byte " + std::to_string(address),
         Fault::Misaligned);
  checkInside(thread, site, address, bytes);
  record(thread, site, true, address, bytes, how);
  reportShared(thread, site, address,
               how == kRead ? shadow.read(thread.index, site, uint32_t(address), bytes)
                            : shadow.write(thread.index, site, uint32_t(address), bytes, how == kAtomic));
  return shared + address;
}

uint8_t *Worker::accessLocal(MorphThread &thread, uint32_t site, uint64_t address, uint32_t bytes, uint32_t) {
  uint64_t offset = address - reinterpret_cast<uint64_t>(thread.local);
  if (address % bytes)
    stop(thread, site, "misaligned access of " + std::to_string(bytes) + " bytes of local memory", Fault::Misaligned);
  if (offset >= thread.localBytes || thread.localBytes - offset < bytes)
    stop(thread, site, "outside the thread's local memory", Fault::IllegalAddress);
  return reinterpret_cast<uint8_t *>(address);
}

uint8_t *Worker::accessGeneric(MorphThread &thread, uint32_t site, uint64_t address, uint32_t bytes, uint32_t how) {
  uint64_t offset = address - reinterpret_cast<uint64_t>(shared);
  if (offset < kSharedCapacity)
    return accessShared(thread, site, offset, bytes, how);
  if (address - reinterpret_cast<uint64_t>(thread.local) < thread.localBytes)
    return accessLocal(thread, site, address, bytes, how);
  return accessGlobal(thread, site, address, bytes, how);
}

void Worker::copyAsync(MorphThread &thread, uint32_t site, uint64_t to, uint64_t from, uint32_t bytes,
                       uint32_t source) {
  if (source > bytes)
    stop(thread, site, "cp.async of more source bytes than it copies", Fault::LaunchFailed);
  if (!checks) {
    uint8_t *target = shared + uint32_t(to);
    if (source)
      std::memcpy(target,
                  reinterpret_cast<const uint8_t *>(from - deviceBegin < deviceBytes ? from + deviceDelta : from),
                  source);
    std::memset(target + source, 0, bytes - source);
    return;
  }
  if (from % bytes || to % bytes)
    stop(thread, site, "misaligned asynchronous copy of " + std::to_string(bytes) + " bytes", Fault::Misaligned);
  AsyncCopy copy{uint32_t(to), bytes, {}};
  if (source) {
    // Of any number of bytes, aligned to the whole copy's.
    const LiveRange &range = findLive(thread, site, from, source, kRead);
    counts.sites[site].bytesLoaded += source;
    record(thread, site, false, from, source, kRead);
    checkGlobal(thread, site, from, source, kRead);
    std::memcpy(copy.data, reinterpret_cast<const uint8_t *>(from + range.delta), source);
  }
  checkInside(thread, site, to, bytes);
  record(thread, site, true, to, bytes, kWrite);
  reportShared(thread, site, to, shadow.beginCopy(thread.index, site, uint32_t(to), bytes));
  // Written when it is waited for, and no earlier.
  states[thread.index].copies.push_back(copy);
}

void Worker::commitAsync(MorphThread &thread) {
  if (checks)
    states[thread.index].groups.push_back(states[thread.index].copies.size());
}

void Worker::waitAsync(MorphThread &thread, uint32_t groups) {
  ThreadState &state = states[thread.index];
  if (state.groups.size() <= groups)
    return;
  size_t ended = state.groups.size() - groups, last = state.groups[ended - 1];
  for (size_t i = 0; i < last; ++i) {
    std::memcpy(shared + state.copies[i].to, state.copies[i].data, state.copies[i].bytes);
    shadow.endCopy(thread.index, state.copies[i].to, state.copies[i].bytes);
  }
  state.copies.erase(state.copies.begin(), state.copies.begin() + long(last));
  state.groups.erase(state.groups.begin(), state.groups.begin() + long(ended));
  for (size_t &end : state.groups)
    end -= last;
}

// --- Counting --------------------------------------------------------------------------------------------------------

void Worker::record(MorphThread &thread, uint32_t site, bool isShared, uint64_t address, uint32_t bytes, uint32_t how) {
  Warp &warp = warps[thread.warp];
  uint32_t &cursor = warp.cursor[thread.lane];
  const uint32_t bit = 1u << thread.lane;
  // Lanes mostly do the same one after another: the request is the next one, or a few further.
  const size_t end = std::min<size_t>(warp.requests.size(), size_t(cursor) + 64);
  for (size_t i = cursor; i < end; ++i) {
    WarpRequest &request = warp.requests[i];
    if (request.site == site && request.isShared == isShared && !(request.mask & bit)) {
      request.mask |= bit;
      request.address[thread.lane] = address;
      request.bytes = std::max(request.bytes, bytes);
      cursor = uint32_t(i + 1);
      return;
    }
  }
  warp.requests.emplace_back();
  WarpRequest &request = warp.requests.back();
  request.site = site;
  request.mask = bit;
  request.bytes = bytes;
  request.isShared = isShared;
  request.how = how;
  request.address[thread.lane] = address;
  cursor = uint32_t(warp.requests.size());
}

void Worker::flush(Warp &warp) {
  for (const WarpRequest &request : warp.requests) {
    counts.sites[request.site].add(request);
    if (!request.isShared)
      shared_->requests[blockIndex].add(request);
  }
  warp.requests.clear();
  std::fill(std::begin(warp.cursor), std::end(warp.cursor), 0u);
}

// --- Threads ---------------------------------------------------------------------------------------------------------

/// The next lane of those that are ready, by the block's order.
uint32_t Worker::choose(const Warp &warp) const {
  uint32_t turned = warp.rotation ? warp.ready >> warp.rotation | warp.ready << (32 - warp.rotation) : warp.ready;
  uint32_t lane = warp.isDescending ? 31 - uint32_t(__builtin_clz(turned)) : uint32_t(__builtin_ctz(turned));
  return (lane + warp.rotation) & 31;
}

/// Leaves the fiber of a thread that waits for another lane of its warp, or for the scheduler.
void Worker::switchFrom(uint32_t index) {
  Warp &warp = warps[index / 32];
  if (!warp.ready)
    return switchFiber(fibers[index], scheduler);
  uint32_t next = index / 32 * 32 + choose(warp);
  if (next == index) {
    warp.ready &= ~(1u << (index & 31));
    return;
  }
  warp.ready &= ~(1u << (next & 31));
  switchFiber(fibers[index], fibers[next]);
}

void Worker::finish(MorphThread &thread) {
  Warp &warp = warps[thread.warp];
  warp.done |= 1u << thread.lane;
  ++finished;
  ThreadState &state = states[thread.index];
  if (!state.copies.empty()) {
    commitAsync(thread);
    waitAsync(thread, 0);
  }
}

void Worker::leave(MorphThread &thread) {
  finish(thread);
  if (launch->kernel->needsFibers) {
    // As when its function returns.
    switchFrom(thread.index);
  } else {
    goToScheduler();
  }
  __builtin_unreachable();
}

void Worker::fiberEntry(void *argument) {
  auto *thread = static_cast<MorphThread *>(argument);
  Worker &worker = workerOf(thread);
  worker.launch->function(thread);
  worker.leave(*thread);
}

void Worker::plainEntry(void *argument) {
  auto *worker = static_cast<Worker *>(argument);
  while (worker->plainNext < worker->count) {
    uint32_t place = worker->plainNext++;
    MorphThread &thread = worker->threads[worker->warpOrder[place]];
    worker->launch->function(&thread);
    worker->finish(thread);
  }
  worker->goToScheduler();
}

/// Whether everything that a lane waits for has come.
bool Worker::completes(const Warp &warp, uint32_t lane) const {
  uint32_t mask = warp.mask[lane];
  if ((warp.waiting & mask) != mask)
    return false;
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    uint32_t other = uint32_t(__builtin_ctz(rest));
    if (warp.site[other] != warp.site[lane] || warp.mask[other] != mask)
      return false;
  }
  return true;
}

void Worker::collective(MorphThread &thread, uint32_t site, uint32_t kind, uint32_t mask) {
  Warp &warp = warps[thread.warp];
  const uint32_t lane = thread.lane, bit = 1u << lane;
  if (kind == kActiveMask)
    mask = bit;
  if (!(mask & bit))
    stop(thread, site, "the mask " + hexadecimal(mask) + " has not the lane itself", Fault::LaunchFailed);
  if (kind >= kMmaM16N8K16Bf16 && warp.existing != 0xffffffffu)
    stop(thread, site, "the warp has not all of its 32 lanes", Fault::LaunchFailed);
  warp.site[lane] = site;
  warp.mask[lane] = mask & warp.existing;
  warp.kind[lane] = kind;
  warp.waiting |= bit;
  if (kind == kActiveMask || !completes(warp, lane))
    return switchFrom(thread.index);
  mask &= warp.existing;
  warp.waiting &= ~mask;
  MorphThread *lanes = &threads[thread.warp * 32];
  if (checks && mask == warp.existing)
    flush(warp);
  if (kind == kBarrierWarp) {
    if (checks)
      shadow.joinLanes(thread.warp, mask, warp.existing);
  } else if (kind == kLoadMatrix || kind == kLoadMatrixTransposed) {
    loadMatrix(lanes, site, kind == kLoadMatrixTransposed);
  } else {
    runCollective(kind, lanes, mask);
  }
  // The last to come goes on, the others are ready.
  warp.ready |= mask & ~bit;
}

void Worker::loadMatrix(MorphThread *lanes, uint32_t site, bool isTransposed) {
  const uint32_t n = lanes[0].count;
  const uint8_t *rows[32];
  for (uint32_t row = 0; row < 8 * n; ++row) {
    MorphThread &thread = lanes[row];
    rows[row] = checks ? accessShared(thread, site, thread.address, 16, kRead) : shared + uint32_t(thread.address);
  }
  for (uint32_t lane = 0; lane < 32; ++lane)
    for (uint32_t matrix = 0; matrix < n; ++matrix) {
      uint16_t halves[2];
      for (uint32_t h = 0; h < 2; ++h) {
        uint32_t row = lane >> 2, column = (lane & 3) * 2 + h;
        const uint8_t *from = isTransposed ? rows[8 * matrix + column] + 2 * row : rows[8 * matrix + row] + 2 * column;
        std::memcpy(&halves[h], from, 2);
      }
      lanes[lane].out[matrix] = halves[0] | uint32_t(halves[1]) << 16;
    }
}

void Worker::barrier(MorphThread &thread, uint32_t site, uint32_t id, uint32_t expected, bool isAligned) {
  if (id >= kNamedBarriers)
    stop(thread, site, "there is no barrier " + std::to_string(id), Fault::LaunchFailed);
  if (expected % 32)
    stop(thread, site, "a barrier of " + std::to_string(expected) + " threads, which are no whole warps",
         Fault::LaunchFailed);
  if (expected == 0)
    expected = count;
  Warp &warp = warps[thread.warp];
  const uint32_t bit = 1u << thread.lane;
  NamedBarrier &named = barriers[id];
  if (named.arrived && named.expected != expected)
    stop(thread, site,
         "barrier " + std::to_string(id) + " is waited at with " + std::to_string(named.expected) +
             " threads and with " + std::to_string(expected),
         Fault::LaunchFailed);
  if (isAligned)
    for (uint32_t rest = warp.atBarrier; rest; rest &= rest - 1) {
      uint32_t other = uint32_t(__builtin_ctz(rest));
      if (states[thread.warp * 32 + other].barrier == id && warp.site[other] != site)
        stop(thread, site,
             "lanes of one warp wait at different instructions for a barrier: lane " + std::to_string(other) + " at " +
                 siteText(warp.site[other]),
             Fault::LaunchFailed);
    }
  named.expected = expected;
  warp.site[thread.lane] = site;
  warp.atBarrier |= bit;
  states[thread.index].barrier = id;
  if (++named.arrived >= expected)
    releaseBarrier(id);
  // Who goes on first is the scheduler's choice, not the last to come.
  switchFiber(fibers[thread.index], scheduler);
}

void Worker::shuffleWarps() {
  for (size_t i = warpOrder.size(); i > 1; --i)
    std::swap(warpOrder[i - 1], warpOrder[random.below(i)]);
}

void Worker::releaseBarrier(uint32_t id) {
  barriers[id] = {};
  std::vector<uint32_t> masks(warps.size()), existing(warps.size());
  for (size_t w = 0; w < warps.size(); ++w) {
    Warp &warp = warps[w];
    existing[w] = warp.existing;
    for (uint32_t rest = warp.atBarrier; rest; rest &= rest - 1) {
      uint32_t lane = uint32_t(__builtin_ctz(rest));
      if (states[w * 32 + lane].barrier == id)
        masks[w] |= 1u << lane;
    }
    warp.atBarrier &= ~masks[w];
    warp.ready |= masks[w];
    if (checks && masks[w] == warp.existing)
      flush(warp);
  }
  if (checks)
    shadow.joinWarps(masks, existing);
  shuffleWarps();
}

/// Lanes that asked who is active, once no other lane of the warp can go on: those at the same instruction are.
bool Worker::releaseActive(Warp &warp) {
  for (uint32_t rest = warp.waiting; rest; rest &= rest - 1) {
    uint32_t lane = uint32_t(__builtin_ctz(rest));
    if (warp.kind[lane] != kActiveMask)
      continue;
    uint32_t together = 0;
    for (uint32_t others = warp.waiting; others; others &= others - 1) {
      uint32_t other = uint32_t(__builtin_ctz(others));
      if (warp.kind[other] == kActiveMask && warp.site[other] == warp.site[lane])
        together |= 1u << other;
    }
    size_t first = size_t(&warp - warps.data()) * 32;
    for (uint32_t others = together; others; others &= others - 1)
      threads[first + uint32_t(__builtin_ctz(others))].out[0] = together;
    warp.waiting &= ~together;
    warp.ready |= together;
    return true;
  }
  return false;
}

void Worker::reportStuck() {
  // One thread that waits speaks for all.
  for (Warp &warp : warps)
    for (uint32_t rest = warp.waiting | warp.atBarrier; rest; rest &= rest - 1) {
      uint32_t lane = uint32_t(__builtin_ctz(rest)), index = uint32_t(&warp - warps.data()) * 32 + lane;
      std::string what;
      if (warp.atBarrier >> lane & 1) {
        if (warp.waiting)
          continue; // Lanes at a collective say more.
        const NamedBarrier &named = barriers[states[index].barrier];
        what = "barrier " + std::to_string(states[index].barrier) +
               " is not reached by all: " + std::to_string(named.arrived) + " of " + std::to_string(named.expected) +
               " threads wait";
        for (uint32_t other = 0; other < count; ++other) {
          const Warp &its = warps[other / 32];
          uint32_t bit = 1u << (other & 31);
          if (its.done & bit) {
            what += ", " + threadText(other) + " has left";
            break;
          }
          if ((its.waiting & bit) || states[other].barrier != states[index].barrier) {
            what += ", " + threadText(other) + " is at " + siteText(its.site[other & 31]);
            break;
          }
        }
      } else {
        what = "the lanes " + hexadecimal(warp.mask[lane]) + " do not all come";
        for (uint32_t others = warp.mask[lane]; others; others &= others - 1) {
          uint32_t other = uint32_t(__builtin_ctz(others));
          if (warp.done >> other & 1) {
            what += ": lane " + std::to_string(other) + " has left";
            break;
          }
          if (warp.site[other] != warp.site[lane] || warp.mask[other] != warp.mask[lane]) {
            what += ": lane " + std::to_string(other) + " is at " + siteText(warp.site[other]);
            break;
          }
        }
      }
      report(threads[index], warp.site[lane], what, Fault::LaunchFailed);
      isAborted = true;
      shared_->isStopped = true;
      return;
    }
}

void Worker::runFibers() {
  for (uint32_t i = 0; i < count; ++i)
    prepareFiber(fibers[i], stacks + kStackStep * i, kStackBytes, &Worker::fiberEntry, &threads[i]);
  while (finished < count && !isAborted) {
    bool hasRun = false;
    for (size_t i = 0; i < warpOrder.size() && !isAborted; ++i) {
      Warp &warp = warps[warpOrder[i]];
      if (!warp.ready && !releaseActive(warp))
        continue;
      hasRun = true;
      uint32_t lane = choose(warp);
      warp.ready &= ~(1u << lane);
      switchFiber(scheduler, fibers[warpOrder[i] * 32 + lane]);
      // By the order from its beginning: the first that can goes as far as it can.
      break;
    }
    if (!hasRun && finished < count && !isAborted)
      reportStuck();
  }
}

void Worker::runPlain() {
  plainNext = 0;
  while (plainNext < count && !isAborted) {
    // Again where a thread has left in the middle of a function.
    prepareFiber(fibers[0], stacks, kStackBytes, &Worker::plainEntry, this);
    switchFiber(scheduler, fibers[0]);
  }
}

// --- Blocks ----------------------------------------------------------------------------------------------------------

void Worker::beginLaunch(SharedLaunch &all) {
  shared_ = &all;
  launch = all.launch;
  checks = all.options->checks;
  const KernelInfo &kernel = *launch->kernel;
  const Translation &translation = *launch->module->translation;
  params = launch->params.data();
  globals = launch->module->globals.data();
  sharedOffsets = kernel.sharedOffsets.data();
  dynamicBytes = launch->dynamicShared;
  sharedBytes = kernel.dynamicBegin + launch->dynamicShared;
  deviceBegin = all.memory->begin();
  deviceBytes = all.memory->span();
  deviceDelta = all.memory->delta();
  std::copy(launch->grid, launch->grid + 3, nctaid);
  std::copy(launch->block, launch->block + 3, ntid);
  count = ntid[0] * ntid[1] * ntid[2];
  counts = {};
  if (checks) {
    blockCounts.assign(translation.blocks.size(), 0);
    executed = blockCounts.data();
    counts.sites.resize(translation.instructions.size());
  }
  std::fill(std::begin(cache), std::end(cache), LiveRange{});
  isInside.assign(sharedBytes, 0);
  for (const KernelInfo::Region &region : kernel.shared)
    std::fill_n(isInside.begin() + region.begin, region.bytes, 1);
  std::fill(isInside.begin() + kernel.dynamicBegin, isInside.end(), 1);
  uint32_t warpCount = (count + 31) / 32;
  threads.resize(warpCount * 32);
  states.resize(count);
  warps.resize(warpCount);
  size_t localBytes = (kernel.localBytes + 31) / 16 * 16;
  locals.resize(kernel.localBytes ? localBytes * (kernel.needsFibers ? count : 1) + 16 : 16);
  uint8_t *aligned = reinterpret_cast<uint8_t *>((reinterpret_cast<uintptr_t>(locals.data()) + 15) & ~uintptr_t(15));
  for (uint32_t i = 0; i < threads.size(); ++i) {
    MorphThread &thread = threads[i];
    thread = {};
    thread.block = this;
    thread.index = i;
    thread.lane = i & 31;
    thread.warp = i >> 5;
    thread.tid[0] = i % ntid[0];
    thread.tid[1] = i / ntid[0] % ntid[1];
    thread.tid[2] = i / ntid[0] / ntid[1];
    thread.local = aligned + (kernel.localBytes && kernel.needsFibers && i < count ? localBytes * i : 0);
    thread.localBytes = kernel.localBytes;
  }
}

void Worker::runBlock(uint64_t block) {
  random = Random(shared_->seed ^ (block * 0xd1342543de82ef95ull + 1));
  blockIndex = block;
  ctaid[0] = uint32_t(block % nctaid[0]);
  ctaid[1] = uint32_t(block / nctaid[0] % nctaid[1]);
  ctaid[2] = uint32_t(block / nctaid[0] / nctaid[1]);
  finished = 0;
  isAborted = false;
  if (checks) {
    std::memset(shared, 0xff, sharedBytes);
    shadow.begin(count, uint32_t(sharedBytes));
  }
  std::fill(std::begin(barriers), std::end(barriers), NamedBarrier{});
  for (ThreadState &state : states) {
    state.copies.clear();
    state.groups.clear();
  }
  for (uint32_t w = 0; w < warps.size(); ++w) {
    Warp &warp = warps[w];
    uint32_t lanes = std::min(32u, count - w * 32);
    warp.existing = warp.ready = lanes == 32 ? 0xffffffffu : (1u << lanes) - 1;
    warp.waiting = warp.atBarrier = warp.done = 0;
    warp.rotation = uint32_t(random.below(32));
    warp.isDescending = random.below(2);
    warp.requests.clear();
    std::fill(std::begin(warp.cursor), std::end(warp.cursor), 0u);
  }
  if (launch->kernel->needsFibers) {
    warpOrder.resize(warps.size());
    std::iota(warpOrder.begin(), warpOrder.end(), 0u);
    shuffleWarps();
    runFibers();
  } else {
    // The order of all threads: up or down, from any place on.
    warpOrder.resize(count);
    uint32_t from = uint32_t(random.below(count));
    bool isDescending = random.below(2);
    for (uint32_t i = 0; i < count; ++i)
      warpOrder[i] = (isDescending ? count - 1 - i + from : i + from) % count;
    runPlain();
  }
  if (checks)
    for (Warp &warp : warps)
      flush(warp);
  ++counts.blocks;
  counts.threads += count;
}

void Worker::endLaunch() {
  const Translation &translation = *launch->module->translation;
  for (size_t i = 0; i < blockCounts.size(); ++i)
    for (uint32_t site : translation.blocks[i])
      counts.sites[site].threads += blockCounts[i];
}

void Worker::run(SharedLaunch &all) {
  beginLaunch(all);
  while (!all.isStopped) {
    uint64_t place = all.nextBlock++;
    if (place >= all.blocks)
      break;
    runBlock(uint64_t(((unsigned __int128)place * all.factor + all.shift) % all.blocks));
  }
  if (checks)
    endLaunch();
}

} // namespace morph::standin
