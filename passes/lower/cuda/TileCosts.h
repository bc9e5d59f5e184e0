// SPDX-License-Identifier: Apache-2.0
// Which tile a kernel's blocks take: the one that a model of a multiprocessor finds the fastest, by what ptxas said of
// its registers.

#ifndef MORPH_PASSES_LOWER_CUDA_TILECOSTS_H
#define MORPH_PASSES_LOWER_CUDA_TILECOSTS_H

#include "runtime/plan/DeviceTargets.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"

#include <algorithm>
#include <cstdint>
#include <string>

namespace morph {

/// A block has `rows`, which its warps share, and goes over `columns` at a time.
struct KernelTile {
  int64_t rows, columns, warps;

  /// "128x64x4"
  std::string name() const;
  bool operator==(const KernelTile &other) const {
    return rows == other.rows && columns == other.columns && warps == other.warps;
  }
};

/// What a launch of the size that tiles are chosen for asks of a multiprocessor.
struct TileWork {
  int64_t blockBytes = 0;  ///< Shared memory of a block.
  double blocks = 0;       ///< Of the launch.
  double steps = 0;        ///< Tiles of columns that a block goes over, on average.
  int64_t activeWarps = 0; ///< Of a block, those that have rows.

  // Of one step of one block:
  double products = 0;    ///< Operations on tensor cores: two a multiplication with its addition.
  double sharedBytes = 0; ///< That go to and from shared memory.
  double elements = 0;    ///< Numbers between two products: scaled, masked, an exponential, rounded.
  double cacheBytes = 0;  ///< That come from the second cache, because other blocks have them, too.
  double memoryBytes = 0; ///< That come from memory.
  double waits = 1;       ///< Times that the block's warps wait for each other and for copies.
};

/// The model, for the first GPU of Devices.def that a target's code is for.
///
/// A unit of a multiprocessor takes of a step
///
///     tensor    products / operations a clock of the data sheet
///     shared    sharedBytes / 128
///     elements  elements / 8: an exponential is one of 16 a clock, the rest about eight instructions of 128
///
/// clocks. As many blocks as registers and shared memory leave room for are `resident`; with w warps of them to each of
/// the four schedulers, what is not of the busiest unit hides behind it but for the w-th part, and a wait of
/// kWaitClocks but for the resident-th part:
///
///     step = max(most + (sum - most) / w + waits kWaitClocks / resident, bytes / bytes a clock)
///     time = max(blocks / multiprocessors, resident) steps step
///
/// The last blocks are not counted as if they filled the device: how many they are is a matter of the launch, which
/// tiles are not picked for, the longest of a head come first, and what memory bounds is no slower with fewer of them.
/// kWaitClocks was set by hand so that this agrees, within 15 %, with what was measured on one H100 of attention on
/// heads of 64 and of 128; that it agrees with those figures proves nothing of other widths and GPUs. A tile that
/// was measured on a GPU is left only for a gain beyond the model's error.
class TileCosts {
public:
  explicit TileCosts(const plan::DeviceTarget &target);

  /// Estimated clocks; infinite where `resident` is 0. `width` is that of the heads: what the table has of the next one
  /// that is not less holds.
  double clocks(llvm::StringRef kind, int64_t width, const KernelTile &tile, const TileWork &work) const;
  /// What tiles are compared by: the clocks, less kModelError of them where the tile was measured on a GPU.
  double cost(llvm::StringRef kind, int64_t width, const KernelTile &tile, const TileWork &work) const;
  /// Blocks that a multiprocessor has at once; 0 where ptxas spilled or took all registers, where none fits, and where
  /// the table has no answer.
  int64_t resident(llvm::StringRef kind, int64_t width, const KernelTile &tile, int64_t blockBytes) const;

  double clockRate() const { return clock; }

  static constexpr double kModelError = .15;

private:
  llvm::StringRef target;
  double bandwidth = 0, tensor = 0, multiprocessors = 0, clock = 0, sharedBytes = 0;
};

/// Shared memory of a block that devices from sm_80 on have.
inline constexpr int64_t kBlockSharedBytes = 160 * 1024;

/// The launch that tiles are chosen for, which fills the device: sequences and positions, heads of a position, and keys
/// that a single position sees.
struct TileReference {
  static constexpr int64_t kBatch = 4, kPositions = 2048, kHeads = 16, kCachedKeys = 16384;
  static int64_t groups(int64_t group) { return std::max<int64_t>(1, kHeads / group); }
};

} // namespace morph

#endif // MORPH_PASSES_LOWER_CUDA_TILECOSTS_H
