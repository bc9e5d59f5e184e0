// SPDX-License-Identifier: Apache-2.0
// Runs blocks of a launch on one host thread.

#ifndef MORPH_TEST_CUDA_DRIVER_WORKER_H
#define MORPH_TEST_CUDA_DRIVER_WORKER_H

#include "test/cuda/driver/BlockShadow.h"
#include "test/cuda/driver/Fiber.h"
#include "test/cuda/driver/GlobalShadow.h"
#include "test/cuda/driver/Machine.h"
#include "test/cuda/driver/Random.h"
#include "test/cuda/driver/SecondCache.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace morph::standin {

/// What workers of a launch share.
struct SharedLaunch {
  const Launch *launch = nullptr;
  const MachineOptions *options = nullptr;
  Memory *memory = nullptr;
  Errors *errors = nullptr;
  GlobalShadow *shadow = nullptr; ///< Null without checks.
  std::shared_ptr<const LiveRanges> live;
  std::vector<BlockRequests> requests; ///< By block, with checks: each is of the worker that runs the block.
  uint64_t blocks = 0, factor = 1, shift = 0, seed = 0;
  std::atomic<uint64_t> nextBlock{0};
  std::atomic<bool> isStopped{false};
};

/// A host thread's share of a launch: a block at a time. It is the MorphBlock that translated code sees.
class Worker : public MorphBlock {
public:
  Worker();
  ~Worker();
  Worker(const Worker &) = delete;

  void run(SharedLaunch &shared);

  // The functions of MorphApi.
  uint8_t *accessGlobal(MorphThread &thread, uint32_t site, uint64_t address, uint32_t bytes, uint32_t how);
  uint8_t *accessShared(MorphThread &thread, uint32_t site, uint64_t address, uint32_t bytes, uint32_t how);
  uint8_t *accessLocal(MorphThread &thread, uint32_t site, uint64_t address, uint32_t bytes, uint32_t how);
  uint8_t *accessGeneric(MorphThread &thread, uint32_t site, uint64_t address, uint32_t bytes, uint32_t how);
  void collective(MorphThread &thread, uint32_t site, uint32_t kind, uint32_t mask);
  void barrier(MorphThread &thread, uint32_t site, uint32_t id, uint32_t count, bool isAligned);
  void copyAsync(MorphThread &thread, uint32_t site, uint64_t to, uint64_t from, uint32_t bytes, uint32_t source);
  void commitAsync(MorphThread &thread);
  void waitAsync(MorphThread &thread, uint32_t groups);
  [[noreturn]] void leave(MorphThread &thread);
  /// An error that ends the launch; leaves the thread for good.
  [[noreturn]] void stop(const MorphThread &thread, uint32_t site, const std::string &what, Fault fault);

  Counters::Launch counts;
  std::vector<uint64_t> blockCounts;

private:
  struct Warp {
    uint32_t existing = 0, ready = 0, waiting = 0, atBarrier = 0, done = 0;
    uint32_t site[32], mask[32], kind[32];
    uint32_t rotation = 0;
    bool isDescending = false;
    uint32_t cursor[32];
    std::vector<WarpRequest> requests;
  };
  struct AsyncCopy {
    uint32_t to, bytes;
    uint8_t data[16];
  };
  struct ThreadState {
    std::vector<AsyncCopy> copies;
    std::vector<size_t> groups; ///< Ends of committed groups in `copies`.
    uint32_t barrier = 0;       ///< The one it waits at.
  };
  static constexpr uint32_t kNamedBarriers = 16;
  struct NamedBarrier {
    uint32_t arrived = 0, expected = 0;
  };

  // Errors.
  void report(const MorphThread &thread, uint32_t site, const std::string &what, Fault fault);
  void reportFound(const MorphThread &thread, uint32_t site, const std::string &where, const BlockShadow::Found &found);
  void reportShared(const MorphThread &thread, uint32_t site, uint64_t address, const BlockShadow::Found &found);
  /// Where an address of device memory lies.
  std::string placeText(uint64_t address) const;
  /// Reports an access to device memory that another thread's of the block forbids, or another block's of the same
  /// launch.
  void checkGlobal(const MorphThread &thread, uint32_t site, uint64_t address, uint32_t bytes, uint32_t how);
  void checkBlocks(const MorphThread &thread, uint32_t site, uint64_t address, uint32_t bytes, uint32_t how);
  std::string threadText(uint32_t index) const;
  std::string siteText(uint32_t site) const;

  // Memory: what is not there ends the launch.
  const LiveRange &findLive(const MorphThread &thread, uint32_t site, uint64_t address, uint32_t bytes, uint32_t how);
  void checkInside(const MorphThread &thread, uint32_t site, uint64_t address, uint32_t bytes);

  // Blocks.
  void beginLaunch(SharedLaunch &shared);
  void runBlock(uint64_t block);
  void runFibers();
  void runPlain();
  void endLaunch();
  static void fiberEntry(void *argument);
  static void plainEntry(void *argument);
  void finish(MorphThread &thread);
  [[noreturn]] void goToScheduler();
  void switchFrom(uint32_t index);
  void shuffleWarps();
  void releaseBarrier(uint32_t id);
  bool releaseActive(Warp &warp);
  void reportStuck();
  uint32_t choose(const Warp &warp) const;
  bool completes(const Warp &warp, uint32_t lane) const;
  void loadMatrix(MorphThread *lanes, uint32_t site, bool isTransposed);

  // Counting.
  void record(MorphThread &thread, uint32_t site, bool isShared, uint64_t address, uint32_t bytes, uint32_t how);
  void flush(Warp &warp);

  SharedLaunch *shared_ = nullptr;
  const Launch *launch = nullptr;
  bool checks = true;
  uint32_t count = 0;      ///< Threads of a block.
  uint64_t blockIndex = 0; ///< Of the block that runs, in the grid.
  std::vector<MorphThread> threads;
  std::vector<ThreadState> states;
  std::vector<Warp> warps;
  std::vector<uint32_t> warpOrder; ///< With plain calls: the order of all threads.
  NamedBarrier barriers[kNamedBarriers];
  std::vector<Fiber> fibers;
  Fiber scheduler;
  char *stacks = nullptr;
  std::vector<uint8_t> locals;
  std::vector<uint8_t> isInside; ///< Of shared memory: whether a byte is a variable's.
  BlockShadow shadow;
  LiveRange cache[64];
  Random random;
  uint32_t plainNext = 0; ///< Plain calls: the place in the order of the thread that runs.
  uint32_t finished = 0;
  bool isAborted = false;
};

} // namespace morph::standin

#endif // MORPH_TEST_CUDA_DRIVER_WORKER_H
