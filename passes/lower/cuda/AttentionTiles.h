// SPDX-License-Identifier: Apache-2.0
// Square tiles of rows in shared memory and their products in fp32, as the forms of softmax attention have them.
// Legend: B batch, T queries, S keys, H query heads, G key-value heads, R = H / G, D head dimension, M rows of a tile.

#ifndef MORPH_PASSES_LOWER_CUDA_ATTENTIONTILES_H
#define MORPH_PASSES_LOWER_CUDA_ATTENTIONTILES_H

#include "passes/lower/cuda/DeviceForms.h"

namespace morph {

/// What attention and its gradient have in common. A row is a query of one of the R heads of a key-value head: row r is
/// query r / R of head r % R, so that heads share the keys and values that a block loads.
struct AttentionShape {
  /// `first`: the place of q among the operands, which k, v and start follow.
  AttentionShape(DeviceFormCall &call, size_t first);

  size_t first;
  int64_t heads, groups, width;
  double scale;
  int64_t window; ///< 0: none.
  double softcap; ///< 0: none.
  bool hasStart, hasOffset;
  plan::DType type; ///< Of q, k and v.
  plan::Dim batch, queries, keys;

  int64_t group() const { return heads / groups; }
  /// The first element of row `row` of a group in q [B,T,H,D], and of a key in k [B,S,G,D].
  Index rowElement(Index batch, Index queries, Index g, Index row) const {
    return ((batch * queries + row / group()) * groups + g) * (group() * width) + row % group() * width;
  }
  Index keyElement(Index batch, Index keys, Index g, Index key) const {
    return ((batch * keys + key) * groups + g) * width;
  }
  /// Where the logarithm of a row's sum lies in [B,H,T].
  Index logSumElement(Index batch, Index queries, Index g, Index row) const {
    return ((batch * groups + g) * group() + row % group()) * queries + row / group();
  }
  /// What takes the products' place where there is a soft cap: scores are `scale` times it, whatever there is.
  /// Multiplied by `slopeOf` of it, gradients of scores are those of products, but for `scale`.
  Scalar capped(Scalar product) const;
  Scalar slopeOf(Scalar capped) const;
  plan::SizeFormula tilesOfRows(int64_t tile) const { return productOf(queries, group(), tile); }
  /// What kernels depend on.
  std::string variant() const;
  /// Whether the forms of tensor cores are for it: of bf16, and with a head's sums in registers.
  bool isForTensorCores() const { return type == plan::DType::BF16 && width <= 256; }
  /// q, k, v, start and offset of the op.
  std::vector<plan::LaunchArgument> arguments() const;
};

/// What attention leaves: its result, and, where they are asked for, the logarithms of its rows' sums [B,H,T].
struct AttentionOutputs {
  plan::LaunchArgument out;
  std::optional<plan::LaunchArgument> lse;
};

/// The launches of attention on the operands of `shape`.
void launchAttention(DeviceFormCall &call, const AttentionShape &shape, const AttentionOutputs &outputs);

/// A block of 16 x 16 threads on tiles of M = 16 * `perThread` rows. Of a product of two tiles [M,M] a thread has
/// `perThread` rows that follow each other and as many columns, 16 apart; of sums [M,D] the same rows.
class AttentionTiles {
public:
  static constexpr int64_t kSide = 16, kThreads = kSide * kSide;
  using Carried = KernelBuilder::Carried;

  /// The largest tiles of which `rows` tiles [M,D] and one [M,M] fit in shared memory.
  AttentionTiles(int64_t width, int64_t rowTiles);

  int64_t tile() const { return kSide * perThread; }
  int64_t sharedBytes() const { return 4 * (rowTiles * tile() * stride() + tile() * weightStride()); }
  int64_t sumCount() const { return perThread * vector * pieces; }

  /// Begins a kernel.
  void begin(KernelBuilder &kernel);
  /// Tile [M,D] `number` in shared memory, and the tile [M,M].
  mlir::Value rows(int64_t number) { return k->dynamicShared(number * tile() * stride()); }
  mlir::Value weights() { return k->dynamicShared(rowTiles * tile() * stride()); }

  /// Rows from memory: `place` gives the first element of a row, and whether there is one; zeros else.
  void load(mlir::Value to, mlir::Value from, plan::DType type,
            llvm::function_ref<std::pair<Index, mlir::Value>(Index row)> place);
  /// The products of the rows of two tiles: `perThread` x `perThread`.
  Carried products(mlir::Value a, mlir::Value b);
  /// Stores a product where `weights` is.
  void storeWeights(llvm::ArrayRef<Scalar> product);
  /// sums[m,d] += sum_n weights[m,n] values[n,d]
  Carried addWeighted(mlir::Value values, llvm::ArrayRef<Scalar> sums);
  /// Of each of this thread's rows the inner product of that of a tile [M,D] with one in memory, fp32, as `load` has
  /// it.
  Carried innerProducts(mlir::Value tile, mlir::Value from,
                        llvm::function_ref<std::pair<Index, mlir::Value>(Index row)> place);
  /// Stores sums [M,D] times a factor a row, to where `place` says.
  void storeSums(llvm::ArrayRef<Scalar> sums, llvm::ArrayRef<Scalar> factors, mlir::Value to,
                 llvm::function_ref<std::pair<Index, mlir::Value>(Index row)> place);

  /// The rows and columns of this thread.
  Index row(int64_t i) { return *firstRow + i; }
  Index column(int64_t j) { return *firstColumn + j * kSide; }
  /// Of what the threads of a row have.
  Scalar rowSum(Scalar value) { return k->laneSum(value, kSide); }
  Scalar rowMax(Scalar value) { return k->laneMax(value, kSide); }

  int64_t perThread;

private:
  int64_t stride() const { return (width + 3) / 4 * 4 + 4; }
  int64_t weightStride() const { return tile() + 4; }

  int64_t width, rowTiles;
  int64_t vector, pieces; ///< A thread's columns of sums: `pieces` times `vector` that follow each other.
  KernelBuilder *k = nullptr;
  std::optional<Index> firstRow, firstColumn;
};

/// The keys that the queries of a tile of rows see: positions, of which begin is a multiple of the tile.
struct AttentionKeys {
  AttentionKeys(KernelBuilder &k, const AttentionShape &shape, Index batch, Index queries, Index keys,
                mlir::Value start, mlir::Value offset);

  /// Position of row r, and the first position that a query at one sees.
  Index positionOf(Index row) const { return base + row / shape.group(); }
  Index firstSeen(Index position) const;
  mlir::Value isVisible(Index key, Index position) const;

  KernelBuilder &k;
  const AttentionShape &shape;
  Index base;  ///< Position of query 0.
  Index start; ///< Of the sequence's first key that is no padding.
};

/// A tile of rows, of those of one key-value head, and what these rows see.
struct AttentionRowTile {
  /// Tile `number` of `rowTile` rows of what a block of the grid (x, G, B) has; its keys come in tiles of `keyTile`.
  /// The kernel's sizes are T and S.
  AttentionRowTile(KernelBuilder &k, const AttentionShape &shape, Index number, int64_t rowTile, int64_t keyTile,
                   mlir::Value start, mlir::Value offset);

  /// The first element of a row of the tile in q, and whether there is one.
  std::pair<Index, mlir::Value> place(Index row) const {
    return {shape.rowElement(batch, queries, group, firstRow + row), firstRow + row < rows};
  }
  /// The same of the key at a position, which may lie in a ring.
  std::pair<Index, mlir::Value> placeOfKey(Index position) const;

  KernelBuilder &k;
  const AttentionShape &shape;
  Index queries, keys, rows, group, batch;
  AttentionKeys seen;
  Index firstRow;
  Index end, first, begin; ///< The keys that a row sees are from `first` to `end`; `begin` is that of a tile.
  Index firstSlot;         ///< Where the key at `first` lies.
};

/// The tile of rows that a block of AttentionTiles has.
struct AttentionRows : AttentionRowTile {
  AttentionRows(KernelBuilder &k, const AttentionShape &shape, AttentionTiles &tiles, mlir::Value start,
                mlir::Value offset);

  /// Whether this thread's row i sees its key j of the tile of keys at `at`.
  mlir::Value isVisible(Index at, size_t i, size_t j) const {
    return seen.isVisible(at + tiles.column(static_cast<int64_t>(j)), positions[i]);
  }
  /// A softmax that goes on, for this thread's row i: its products with the keys at `at` become shares, not yet divided
  /// by their sum, relative to the greatest product so far. Returns what sums of shares before are to be multiplied by,
  /// as `sum` is here.
  Scalar addShares(Index at, size_t i, llvm::MutableArrayRef<Scalar> products, Scalar &greatest, Scalar &sum);

  AttentionTiles &tiles;
  llvm::SmallVector<Index> positions; ///< Of this thread's rows.
};

/// Tiles of `tile` rows in the order in which blocks take them: the last queries see the most keys, and go first.
inline Index tileOfBlock(Index tiles, Index block) { return tiles - 1 - block; }

} // namespace morph

#endif // MORPH_PASSES_LOWER_CUDA_ATTENTIONTILES_H
