// SPDX-License-Identifier: Apache-2.0
// Products of matrices that a block has in shared memory, as the chunked recurrence has them: bf16 on tensor cores,
// fp32 with fused multiply-adds. Either way the sums are fp32 in registers.

#ifndef MORPH_PASSES_LOWER_CUDA_BLOCKPRODUCTS_H
#define MORPH_PASSES_LOWER_CUDA_BLOCKPRODUCTS_H

#include "passes/lower/cuda/TensorTiles.h"

namespace morph {

/// A matrix in dynamic shared memory, of bf16 or fp32. Rows are longer than their elements by 16 bytes, so that rows
/// which follow each other lie in different banks.
struct SharedMatrix {
  int64_t byte = 0, rows = 0, columns = 0;
  plan::DType type = plan::DType::F32;
  bool isDouble = false; ///< Whether there is a second buffer behind it (BlockProducts::useBuffer).

  int64_t elementBytes() const { return type == plan::DType::BF16 ? 2 : 4; }
  int64_t stride() const { return columns + 16 / elementBytes(); }
  int64_t bytes() const { return rows * stride() * elementBytes(); }
};

/// A factor of a product: a matrix or its transpose.
struct Factor {
  Factor(const SharedMatrix &matrix, bool isTransposed = false) : matrix(matrix), isTransposed(isTransposed) {}
  Factor operator~() const { return {matrix, !isTransposed}; }

  const SharedMatrix &matrix;
  bool isTransposed;
};

/// Sums [rows,columns] are `Carried`, spread over the block's threads: `visit` says where each has its own. Rows,
/// columns and depths are multiples of 32.
class BlockProducts {
public:
  using Carried = KernelBuilder::Carried;
  using Pair = std::pair<Scalar, Scalar>;

  /// Blocks of 4 or 8 warps; factors of this type. With 8 warps rows are a multiple of 64.
  BlockProducts(plan::DType type, int64_t warps) : type(type), warps(warps) {}

  int64_t threads() const { return warps * 32; }
  bool isHalf() const { return type == plan::DType::BF16; }
  /// Takes shared memory for a factor, for a matrix of fp32, or for a vector of fp32.
  SharedMatrix take(int64_t rows, int64_t columns, bool isDouble = false) {
    return takeAs(rows, columns, type, isDouble);
  }
  SharedMatrix takeSingle(int64_t rows, int64_t columns) { return takeAs(rows, columns, plan::DType::F32, false); }
  int64_t sharedBytes() const { return mostBytes; }
  /// What is taken from here on may lie where that was which was taken since `mark`.
  int64_t mark() const { return bytes; }
  void release(int64_t mark) { bytes = mark; }

  void begin(KernelBuilder &kernel);
  /// Which of their two buffers matrices that have two are from here on, 0 or 1.
  void useBuffer(Index number) { buffer.emplace(number); }
  mlir::Value place(const SharedMatrix &matrix);

  Carried zeros(int64_t rows, int64_t columns);
  /// start + a b, whose inner size is `depth`. Threads must come here together; barriers are the caller's.
  Carried product(int64_t rows, int64_t columns, int64_t depth, Factor a, Factor b, llvm::ArrayRef<Scalar> start);
  /// Calls f with the number of each first of two sums of this thread that stand beside each other, and its place.
  void visit(int64_t rows, int64_t columns, llvm::function_ref<void(size_t number, Index row, Index column)> f);
  /// Calls f with each row that this thread has sums of, and the numbers of the first of each two.
  void visitRows(int64_t rows, int64_t columns, llvm::function_ref<void(Index row, llvm::ArrayRef<size_t> numbers)> f);
  /// The first column of a pair; the row does not matter.
  Index columnOf(int64_t rows, int64_t columns, size_t number);

  /// Threads that have a row together follow each other: the sum of what these have.
  Scalar rowSum(Scalar value) { return k->laneSum(value, isHalf() ? 4 : 8); }
  int64_t lanesOfRow() const { return isHalf() ? 4 : 8; }
  /// Into how many parts, one after another, the columns of a row go that warps have each.
  int64_t columnParts(int64_t rows) const { return isHalf() ? warps / rowWarps(rows) : 1; }
  Index columnPart(int64_t rows);

  /// Two elements that stand beside each other.
  void store(Pair values, const SharedMatrix &to, Index row, Index column);
  Pair load(const SharedMatrix &from, Index row, Index column);
  Scalar loadOne(const SharedMatrix &from, Index row, Index column) {
    return k->load(place(from), row * from.stride() + column, from.type);
  }
  void storeOne(Scalar value, const SharedMatrix &to, Index row, Index column) {
    k->store(value, place(to), row * to.stride() + column, to.type);
  }
  /// Sums to a matrix.
  void store(int64_t rows, int64_t columns, llvm::ArrayRef<Scalar> sums, const SharedMatrix &to);

  /// Rows and columns of a block of which `fill` leaves out what is above the diagonal.
  static constexpr int64_t kTriangleSide = 16;
  /// Fills a matrix from memory: `row` gives a row's first element, and whether there is one. Of its `width` elements
  /// those from `firstColumn` on are taken; zeros else. `change`, if there is one, gives what is stored of elements
  /// from (row, column) on. `isLower`: blocks above the diagonal are zeros, and not read. What comes is there after
  /// `finishFills` and a barrier.
  using Row = std::pair<Index, mlir::Value>;
  using Change = llvm::function_ref<void(Index row, Index column, llvm::MutableArrayRef<Scalar> values)>;
  void fill(const SharedMatrix &to, mlir::Value from, plan::DType fromType, int64_t width,
            std::optional<Index> firstColumn, llvm::function_ref<Row(Index row)> row, Change change = nullptr,
            bool isLower = false);
  /// Ends a group of fills, which may go on; waits for them.
  void commitFills();
  void waitForFills();
  void finishFills() {
    commitFills();
    waitForFills();
  }

  KernelBuilder *k = nullptr;
  plan::DType type;

private:
  SharedMatrix takeAs(int64_t rows, int64_t columns, plan::DType elementType, bool isDouble);
  int64_t rowWarps(int64_t rows) const;
  HalfTile tileOf(const SharedMatrix &matrix) const { return {matrix.rows, matrix.columns}; }
  Carried halfProduct(int64_t rows, int64_t columns, int64_t depth, Factor a, Factor b, llvm::ArrayRef<Scalar> start);
  Carried singleProduct(int64_t rows, int64_t columns, int64_t depth, Factor a, Factor b, llvm::ArrayRef<Scalar> start);

  int64_t warps, bytes = 0, mostBytes = 0;
  std::optional<TensorTiles> tensor;
  std::optional<Index> firstRow, firstColumn; ///< Of fp32.
  std::optional<Index> buffer;
};

} // namespace morph

#endif // MORPH_PASSES_LOWER_CUDA_BLOCKPRODUCTS_H
