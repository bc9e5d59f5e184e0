// SPDX-License-Identifier: Apache-2.0
#include "passes/lower/cuda/TileCosts.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace morph;

namespace {

/// From a step's barrier, with the wait for copies and the fragments that come first, until the units are busy again.
/// Set by hand: what the units' time lacked to the times of attention on an H100, of heads of 64 and 128
/// (passes/lower/README.md).
constexpr double kWaitClocks = 600;
/// Bytes of the second cache, of those of the memory; and what of the latter's data sheet is reached
/// (tools/python/bench).
constexpr double kCacheSpeed = 2.5, kMemoryShare = .78;
constexpr double kElementsAClock = 8, kSharedBytesAClock = 128, kSchedulers = 4;
constexpr int64_t kMostWarps = 64, kMostBlocks = 32, kRegisters = 65536, kWarpThreads = 32;
/// Of a thread. A kernel that has all of them spills with other heads, windows or paddings than the table's.
constexpr int64_t kMostRegisters = 255;
/// Registers of a warp are handed out by as many, and the system has as much shared memory of each block.
constexpr int64_t kRegisterUnit = 256, kSystemBytes = 1024;

/// What ptxas said of a kernel.
struct TileAnswer {
  const char *kind;
  int64_t width;
  KernelTile tile;
  const char *target;
  int64_t registers, spilledBytes;
};

constexpr TileAnswer kAnswers[] = {
#define MORPH_TILE(kind, width, rows, columns, warps, target, registers, spilledBytes)                                 \
  {kind, width, {rows, columns, warps}, target, registers, spilledBytes},
#include "passes/lower/cuda/TileAnswers.def"
    {"", 0, {0, 0, 0}, "", 0, 0}};

/// Tiles whose kernels tools/gpu-check has timed on an H100, of the gradients' before they were given the forward's
/// sums.
struct MeasuredTile {
  const char *kind;
  int64_t width;
  KernelTile tile;
  const char *target;
};

constexpr MeasuredTile kMeasured[] = {
    {"attention", 64, {128, 64, 4}, "sm_90"},      {"attention", 128, {128, 64, 8}, "sm_90"},
    {"attention_rows", 64, {128, 32, 4}, "sm_90"}, {"attention_rows", 128, {128, 32, 8}, "sm_90"},
    {"attention_keys", 64, {128, 32, 8}, "sm_90"}, {"attention_keys", 128, {128, 32, 8}, "sm_90"},
};

const TileAnswer *findAnswer(llvm::StringRef target, llvm::StringRef kind, int64_t width, const KernelTile &tile) {
  const TileAnswer *nearest = nullptr;
  for (const TileAnswer &answer : kAnswers)
    if (target == answer.target && kind == answer.kind && width <= answer.width && tile == answer.tile &&
        (!nearest || answer.width < nearest->width))
      nearest = &answer;
  return nearest;
}

} // namespace

std::string KernelTile::name() const {
  return std::to_string(rows) + "x" + std::to_string(columns) + "x" + std::to_string(warps);
}

TileCosts::TileCosts(const plan::DeviceTarget &of) : target(of.name) {
#define MORPH_DEVICE(key, name, code, memory, gigabytes, teraflops, single, count, megahertz, kilobytes)               \
  if (multiprocessors == 0 && target == code) {                                                                        \
    clock = 1e6 * megahertz;                                                                                           \
    multiprocessors = count;                                                                                           \
    bandwidth = 1e9 * gigabytes / (count * clock);                                                                     \
    tensor = 1e12 * teraflops / (count * clock);                                                                       \
    sharedBytes = 1024.0 * kilobytes;                                                                                  \
  }
#include "runtime/plan/Devices.def"
#undef MORPH_DEVICE
}

int64_t TileCosts::resident(llvm::StringRef kind, int64_t width, const KernelTile &tile, int64_t blockBytes) const {
  const TileAnswer *answer = findAnswer(target, kind, width, tile);
  if (!answer || answer->spilledBytes > 0 || answer->registers == kMostRegisters || blockBytes > kBlockSharedBytes)
    return 0;
  const int64_t registers = (answer->registers * kWarpThreads + kRegisterUnit - 1) / kRegisterUnit * kRegisterUnit;
  return std::min({kMostWarps / tile.warps, kMostBlocks, kRegisters / (registers * tile.warps),
                   static_cast<int64_t>(sharedBytes) / (blockBytes + kSystemBytes)});
}

double TileCosts::cost(llvm::StringRef kind, int64_t width, const KernelTile &tile, const TileWork &work) const {
  const bool isMeasured = llvm::any_of(kMeasured, [&](const MeasuredTile &measured) {
    return kind == measured.kind && width == measured.width && tile == measured.tile && target == measured.target;
  });
  return clocks(kind, width, tile, work) * (isMeasured ? 1 - kModelError : 1);
}

double TileCosts::clocks(llvm::StringRef kind, int64_t width, const KernelTile &tile, const TileWork &work) const {
  const double blocks = std::min(static_cast<double>(resident(kind, width, tile, work.blockBytes)),
                                 std::ceil(work.blocks / multiprocessors));
  if (blocks == 0)
    return std::numeric_limits<double>::infinity();
  const double units[] = {work.products / tensor, work.sharedBytes / kSharedBytesAClock,
                          work.elements / kElementsAClock};
  const double most = *std::max_element(std::begin(units), std::end(units)), sum = units[0] + units[1] + units[2];
  const double beside = std::max(1.0, blocks * static_cast<double>(work.activeWarps) / kSchedulers);
  const double reached = bandwidth * kMemoryShare;
  const double step = std::max(most + (sum - most) / beside + work.waits * kWaitClocks / blocks,
                               work.memoryBytes / reached + work.cacheBytes / (kCacheSpeed * reached));
  return std::max(work.blocks / multiprocessors, blocks) * work.steps * step;
}
