// SPDX-License-Identifier: Apache-2.0
// Tiles of bf16 in shared memory, how they come there, and their products on tensor cores with sums in fp32.

#ifndef MORPH_PASSES_LOWER_CUDA_TENSORTILES_H
#define MORPH_PASSES_LOWER_CUDA_TENSORTILES_H

#include "passes/lower/cuda/KernelBuilder.h"

namespace morph {

/// A tile [rows,columns] of bf16 in dynamic shared memory. Both are multiples of 16. Rows are 16 bytes longer than
/// their elements, so that eight rows that follow each other lie in different banks wherever 16 bytes of each are read.
struct HalfTile {
  HalfTile(int64_t rows, int64_t columns) : rows(rows), columns(columns) {}

  int64_t stride() const { return columns + 8; }
  int64_t elements() const { return rows * stride(); }
  int64_t bytes() const { return 2 * elements(); }

  int64_t rows, columns;
};

/// The next multiple of 16, as sizes of tiles are.
inline int64_t padTo16(int64_t size) { return (size + 15) / 16 * 16; }

/// What a warp multiplies, a block of 16 x 16: four registers of two bf16 a lane.
using Fragment = std::array<mlir::Value, 4>;

//===----------------------------------------------------------------------===//
// Instructions. Elements are of bf16; `shared` points to shared memory.
//===----------------------------------------------------------------------===//

/// Starts copying 16 bytes (`cp.async`), zeros where `isThere` is false; both addresses are multiples of 16.
void copyAsync(KernelBuilder &k, mlir::Value shared, Index element, mlir::Value global, Index globalElement,
               mlir::Value isThere = {});
/// Ends a group of this thread's copies.
void commitCopies(KernelBuilder &k);
/// Waits until all but the last `groups` groups of this thread's copies have come.
void waitCopies(KernelBuilder &k, int64_t groups = 0);
/// Four matrices of 8 x 8 (`ldmatrix`): lane 8 m + r gives the place of row r of matrix m, and gets elements 2 (lane %
/// 4) and the next of row lane / 4 of each, or, where `transposed`, of its transpose.
Fragment loadMatrices(KernelBuilder &k, mlir::Value shared, Index element, bool transposed);
/// sums[16,8] += a[16,16] b[16,8] (`mma.sync.m16n8k16`).
void multiplyAdd(KernelBuilder &k, const Fragment &a, mlir::Value b0, mlir::Value b1,
                 llvm::MutableArrayRef<Scalar> sums);
/// Two numbers rounded to bf16, in a register.
mlir::Value packHalves(KernelBuilder &k, Scalar low, Scalar high);
/// Stores such a register, to an even element.
void storeHalves(KernelBuilder &k, mlir::Value pair, mlir::Value pointer, Index element);

/// Products of a block of warps on tensor cores (`mma.sync.m16n8k16`: bf16 in, fp32 sums).
///
/// Sums of a warp are 16 rows and a multiple of 8 columns: `Carried` of 4 numbers for 8 columns. Number 4 n + e is
/// that of row `row(e)` and column 8 n + `column()` + e % 2. All threads of a warp must come to loads of fragments and
/// to products together.
class TensorTiles {
public:
  using Carried = KernelBuilder::Carried;
  static constexpr int64_t kWarp = 32;
  /// Rows and columns of a fragment.
  static constexpr int64_t kSide = 16;

  /// In a kernel of `threads`, a multiple of 32.
  TensorTiles(KernelBuilder &k, int64_t threads);

  Index lane() const { return laneIndex; }
  Index warp() const { return warpIndex; }
  /// The row, of 16, of number e of this lane's sums: numbers 0 and 1 have one, 2 and 3 that 8 below.
  Index row(int64_t e) const { return e % 4 < 2 ? sumRow : sumRow + 8; }
  /// The first column, of 8, of this lane's sums.
  Index column() const { return sumColumn; }

  /// The place of a tile in the block's dynamic shared memory: from byte `byte` on, a multiple of 16.
  mlir::Value place(int64_t byte);
  /// A place that many bytes further.
  mlir::Value advance(mlir::Value place, Index bytes);

  /// What a row of a tile is in memory: its first element, and whether there is one.
  using Row = std::pair<Index, mlir::Value>;
  /// Starts copying rows [rows,width] of bf16 to a tile, `width` elements of each, zeros beyond it and where there is
  /// no row. Where `width` is a multiple of 8, addresses of rows must be multiples of 16 bytes, and what is copied is
  /// there after `commitCopies`, `waitCopies` and a barrier; else after a barrier. Zeros, too, above the diagonal of
  /// blocks of `triangleSide`, if that is not 0.
  void copy(const HalfTile &tile, mlir::Value to, mlir::Value from, int64_t width,
            llvm::function_ref<Row(Index row)> place, int64_t triangleSide = 0);
  /// The block at (row, column) of a tile as the first factor, A [16,16]; `transposed`: of the tile's transpose, A =
  /// tile[row.., column..]^T.
  Fragment loadA(const HalfTile &tile, mlir::Value from, Index row, Index column, bool transposed = false);
  /// The block as the second factor. The tile has the 16 columns of B [16,16] as rows, as in A * tile^T, or, where
  /// `transposed`, B as it is, as in A * tile.
  Fragment loadB(const HalfTile &tile, mlir::Value from, Index row, Index column, bool transposed = false);
  /// Sums of 16 columns, rounded to bf16, as a first factor whose columns they are.
  Fragment round(llvm::ArrayRef<Scalar> sums);
  /// sums[16,16] += a b
  void multiplyAdd(const Fragment &a, const Fragment &b, llvm::MutableArrayRef<Scalar> sums);

  /// Of numbers that the four lanes of a row have.
  Scalar rowSum(Scalar value) { return k.laneSum(value, 4); }
  Scalar rowMax(Scalar value) { return k.laneMax(value, 4); }

  /// Stores sums of a warp, `width` columns of them, fp32 or bf16, to memory: `place` gives the first element of one of
  /// the 16 rows.
  void store(llvm::ArrayRef<Scalar> sums, mlir::Value to, int64_t width, plan::DType type,
             llvm::function_ref<Row(Index row)> place);
  /// Stores sums of a warp, rounded to bf16, into a tile from (row, column) on.
  void store(llvm::ArrayRef<Scalar> sums, const HalfTile &tile, mlir::Value to, Index row, Index column);

  KernelBuilder &k;

private:
  Fragment loadBlock(const HalfTile &tile, mlir::Value from, Index row, Index column, bool columnsFirst,
                     bool transposed);

  int64_t threads;
  Index laneIndex, warpIndex, sumRow, sumColumn;
};

} // namespace morph

#endif // MORPH_PASSES_LOWER_CUDA_TENSORTILES_H
