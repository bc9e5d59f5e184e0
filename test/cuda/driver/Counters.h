// SPDX-License-Identifier: Apache-2.0
// What kernels did, by instruction: how often, which bytes, and what a warp's request costs the memory.

#ifndef MORPH_TEST_CUDA_DRIVER_COUNTERS_H
#define MORPH_TEST_CUDA_DRIVER_COUNTERS_H

#include "test/cuda/StandIn.h"
#include "test/cuda/driver/Prelude.h"
#include "test/cuda/driver/Translate.h"

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace morph::standin {

/// An access that lanes of a warp made with one instruction.
struct WarpRequest {
  uint32_t site = 0, mask = 0, bytes = 0; ///< Bytes of one lane.
  bool isShared = false;
  uint32_t how = kRead; ///< As in MorphAccess.
  uint64_t address[32];
};

/// Of one instruction.
struct SiteCounts {
  uint64_t threads = 0;
  uint64_t bytesLoaded = 0, bytesStored = 0;
  uint64_t requests = 0, sectors = 0, idealSectors = 0;
  uint64_t sharedRequests = 0, wavefronts = 0, idealWavefronts = 0;

  void add(const SiteCounts &other);
  /// Counts a request: sectors of 32 bytes, or passes over 32 banks of 4 bytes (a warp in one, two or four parts, by
  /// the bytes of a lane).
  void add(const WarpRequest &request);
};

/// Counts by kernel.
class Counters {
public:
  struct Launch {
    uint64_t blocks = 0, threads = 0;
    /// Bytes that nobody had loaded, or stored, before: what a launch takes from and gives to memory at least.
    uint64_t firstLoaded = 0, firstStored = 0;
    uint64_t memoryLoaded = 0, memoryStored = 0; ///< SecondCache.h
    std::vector<SiteCounts> sites;               ///< By instruction of the module.
  };
  void add(const std::string &kernel, const std::shared_ptr<const Translation> &module, const Launch &launch);
  bool get(const std::string &kernel, MorphStandInCounters &counters) const;
  /// Empty where the kernel was never launched.
  std::string json(const std::string &kernel) const;
  void clear();

private:
  struct Kernel {
    std::shared_ptr<const Translation> module;
    uint64_t launches = 0, blocks = 0, threads = 0, firstLoaded = 0, firstStored = 0;
    uint64_t memoryLoaded = 0, memoryStored = 0;
    std::vector<SiteCounts> sites;
  };
  mutable std::mutex mutex;
  std::map<std::string, std::vector<Kernel>> kernels; ///< By module, for names may be in several.
};

} // namespace morph::standin

#endif // MORPH_TEST_CUDA_DRIVER_COUNTERS_H
