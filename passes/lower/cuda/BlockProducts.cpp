// SPDX-License-Identifier: Apache-2.0
#include "passes/lower/cuda/BlockProducts.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace morph;

using Carried = KernelBuilder::Carried;

/// Threads that have the columns of a row of fp32 sums, two of every 16 each.
static constexpr int64_t kSumLanes = 8;

SharedMatrix BlockProducts::takeAs(int64_t rows, int64_t columns, plan::DType elementType, bool isDouble) {
  SharedMatrix matrix{bytes, rows, columns, elementType, isDouble};
  bytes += matrix.bytes() * (isDouble ? 2 : 1);
  mostBytes = std::max(mostBytes, bytes);
  return matrix;
}

void BlockProducts::begin(KernelBuilder &kernel) {
  k = &kernel;
  if (isHalf())
    tensor.emplace(kernel, threads());
  firstRow.emplace(kernel.thread() / kSumLanes);
  firstColumn.emplace(kernel.thread() % kSumLanes * 2);
}

Value BlockProducts::place(const SharedMatrix &matrix) {
  Value first = k->dynamicShared(matrix.byte / 4);
  if (!matrix.isDouble)
    return first;
  return k->builder.create<LLVM::GEPOp>(k->location, first.getType(), k->builder.getI8Type(), first,
                                        ValueRange{(*buffer * matrix.bytes()).get()});
}

/// Warps below each other; those that are left stand beside each other.
int64_t BlockProducts::rowWarps(int64_t rows) const {
  int64_t count = std::min<int64_t>(4, warps);
  while (rows / TensorTiles::kSide % count != 0)
    count /= 2;
  return count;
}

Index BlockProducts::columnPart(int64_t rows) { return isHalf() ? tensor->warp() / rowWarps(rows) : k->integer(0); }

Carried BlockProducts::zeros(int64_t rows, int64_t columns) {
  return Carried(static_cast<size_t>(rows * columns / threads()), k->number(0));
}

void BlockProducts::visit(int64_t rows, int64_t columns,
                          llvm::function_ref<void(size_t number, Index row, Index column)> f) {
  visitRows(rows, columns, [&](Index row, ArrayRef<size_t> numbers) {
    for (size_t number : numbers)
      f(number, row, columnOf(rows, columns, number));
  });
}

void BlockProducts::visitRows(int64_t rows, int64_t columns,
                              llvm::function_ref<void(Index row, ArrayRef<size_t> numbers)> f) {
  if (isHalf()) {
    const int64_t down = rowWarps(rows), each = columns / (warps / down), blocks = rows / TensorTiles::kSide / down;
    for (int64_t block = 0; block < blocks; ++block)
      for (int64_t half = 0; half < 4; half += 2) {
        SmallVector<size_t> numbers;
        for (int64_t piece = 0; piece < each / 8; ++piece)
          numbers.push_back(static_cast<size_t>(block * each / 2 + 4 * piece + half));
        f((tensor->warp() % down + block * down) * TensorTiles::kSide + tensor->row(half), numbers);
      }
    return;
  }
  const int64_t stride = threads() / kSumLanes, each = columns / kSumLanes;
  for (int64_t row = 0; row < rows / stride; ++row) {
    SmallVector<size_t> numbers;
    for (int64_t column = 0; column < each; column += 2)
      numbers.push_back(static_cast<size_t>(row * each + column));
    f(*firstRow + row * stride, numbers);
  }
}

Index BlockProducts::columnOf(int64_t rows, int64_t columns, size_t number) {
  auto at = static_cast<int64_t>(number);
  if (!isHalf())
    return *firstColumn + at % (columns / kSumLanes) / 2 * (2 * kSumLanes);
  const int64_t down = rowWarps(rows), each = columns / (warps / down);
  return tensor->warp() / down * each + tensor->column() + at % (each / 2) / 4 * 8;
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

Carried BlockProducts::product(int64_t rows, int64_t columns, int64_t depth, Factor a, Factor b,
                               ArrayRef<Scalar> start) {
  return isHalf() ? halfProduct(rows, columns, depth, a, b, start) : singleProduct(rows, columns, depth, a, b, start);
}

Carried BlockProducts::halfProduct(int64_t rows, int64_t columns, int64_t depth, Factor a, Factor b,
                                   ArrayRef<Scalar> start) {
  constexpr int64_t side = TensorTiles::kSide;
  const int64_t down = rowWarps(rows), each = columns / (warps / down), blocks = rows / side / down;
  Value ofA = place(a.matrix), ofB = place(b.matrix);
  Index row = tensor->warp() % down * side, column = tensor->warp() / down * each;
  return k->loop(k->integer(0), k->integer(depth), side, start, [&](Index at, ArrayRef<Scalar> before) {
    Carried sums(before);
    SmallVector<Fragment> rowsOfA;
    for (int64_t block = 0; block < blocks; ++block) {
      Index first = row + block * down * side;
      rowsOfA.push_back(a.isTransposed ? tensor->loadA(tileOf(a.matrix), ofA, at, first, true)
                                       : tensor->loadA(tileOf(a.matrix), ofA, first, at, false));
    }
    for (int64_t piece = 0; piece < each / side; ++piece) {
      Index first = column + piece * side;
      Fragment columnsOfB = b.isTransposed ? tensor->loadB(tileOf(b.matrix), ofB, first, at, false)
                                           : tensor->loadB(tileOf(b.matrix), ofB, at, first, true);
      for (int64_t block = 0; block < blocks; ++block)
        tensor->multiplyAdd(rowsOfA[static_cast<size_t>(block)], columnsOfB,
                            MutableArrayRef(sums).slice(static_cast<size_t>(block * each / 2 + piece * 8), 8));
    }
    return sums;
  });
}

Carried BlockProducts::singleProduct(int64_t rows, int64_t columns, int64_t depth, Factor a, Factor b,
                                     ArrayRef<Scalar> start) {
  const int64_t stride = threads() / kSumLanes, down = rows / stride, each = columns / kSumLanes;
  Value ofA = place(a.matrix), ofB = place(b.matrix);
  const int64_t strideA = a.matrix.stride(), strideB = b.matrix.stride();
  return k->loop(k->integer(0), k->integer(depth), kVector, start, [&](Index at, ArrayRef<Scalar> before) {
    Carried sums(before);
    SmallVector<Carried> rowsOfA, columnsOfB;
    for (int64_t i = 0; i < down; ++i) {
      Index row = *firstRow + i * stride;
      if (!a.isTransposed) {
        rowsOfA.push_back(k->loadVector(ofA, row * strideA + at, kVector));
        continue;
      }
      rowsOfA.emplace_back();
      for (int64_t n = 0; n < kVector; ++n)
        rowsOfA.back().push_back(k->load(ofA, (at + n) * strideA + row));
    }
    for (int64_t j = 0; j < each; j += 2) {
      Index column = *firstColumn + j / 2 * (2 * kSumLanes);
      if (b.isTransposed) {
        for (int64_t n = 0; n < 2; ++n)
          columnsOfB.push_back(k->loadVector(ofB, (column + n) * strideB + at, kVector));
        continue;
      }
      columnsOfB.resize(static_cast<size_t>(j + 2));
      for (int64_t n = 0; n < kVector; ++n)
        for (auto [to, value] : llvm::zip_equal(MutableArrayRef(columnsOfB).take_back(2),
                                                k->loadVector(ofB, (at + n) * strideB + column, 2)))
          to.push_back(value);
    }
    for (size_t n = 0; n < kVector; ++n)
      for (size_t i = 0; i < rowsOfA.size(); ++i)
        for (size_t j = 0; j < columnsOfB.size(); ++j) {
          Scalar &sum = sums[i * columnsOfB.size() + j];
          sum = fma(rowsOfA[i][n], columnsOfB[j][n], sum);
        }
    return sums;
  });
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

void BlockProducts::store(Pair values, const SharedMatrix &to, Index row, Index column) {
  k->storePacked({values.first, values.second}, place(to), row * to.stride() + column, to.type);
}

BlockProducts::Pair BlockProducts::load(const SharedMatrix &from, Index row, Index column) {
  Carried values = k->loadVector(place(from), row * from.stride() + column, 2, from.type);
  return {values[0], values[1]};
}

void BlockProducts::store(int64_t rows, int64_t columns, ArrayRef<Scalar> sums, const SharedMatrix &to) {
  visit(rows, columns,
        [&](size_t number, Index row, Index column) { store({sums[number], sums[number + 1]}, to, row, column); });
}

void BlockProducts::fill(const SharedMatrix &to, Value from, plan::DType fromType, int64_t width,
                         std::optional<Index> firstColumn, llvm::function_ref<Row(Index row)> row, Change change,
                         bool isLower) {
  auto rowFrom = [&](Index at) {
    auto [element, isThere] = row(at);
    return Row(firstColumn ? element + *firstColumn : element, isThere);
  };
  const bool isWhole = firstColumn ? width % to.columns == 0 : width == to.columns;
  if (!change && isHalf() && fromType == plan::DType::BF16 && width % 8 == 0 && (isWhole || !firstColumn)) {
    tensor->copy(tileOf(to), place(to), from, std::min(width, to.columns), rowFrom, isLower ? kTriangleSide : 0);
    return;
  }
  const int64_t lanes = width % kVector == 0 ? kVector : 1, columns = to.columns / lanes;
  k->loop(k->thread(), k->integer(to.rows * columns), threads(), [&](Index number) {
    Index at = number / columns, column = number % columns * lanes;
    auto [element, isThere] = rowFrom(at);
    if (!isWhole)
      isThere = k->both(isThere, (firstColumn ? *firstColumn + column : column) < width);
    if (isLower)
      isThere = k->both(isThere, column / kTriangleSide <= at / kTriangleSide);
    // The first element is always there.
    Carried values = k->loadVector(from, k->select(isThere, element + column, k->integer(0)), lanes, fromType);
    for (Scalar &value : values)
      value = k->select(isThere, value, k->number(0));
    if (change)
      change(at, column, values);
    k->storePacked(values, place(to), at * to.stride() + column, to.type);
  });
}

void BlockProducts::commitFills() {
  if (isHalf())
    commitCopies(*k);
}

void BlockProducts::waitForFills() {
  if (isHalf())
    waitCopies(*k);
}
