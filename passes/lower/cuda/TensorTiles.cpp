// SPDX-License-Identifier: Apache-2.0
#include "passes/lower/cuda/TensorTiles.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace morph;

/// Elements of 16 bytes, which a thread copies and which a row of an 8 x 8 matrix has.
static constexpr int64_t kHalfVector = 8;

//===----------------------------------------------------------------------===//
// Instructions
//===----------------------------------------------------------------------===//

static Value addressOf(KernelBuilder &k, Value base, Index element) {
  return k.builder.create<LLVM::GEPOp>(k.location, base.getType(), k.builder.getI16Type(), base,
                                       ValueRange{element.get()});
}

static Value callIntrinsic(KernelBuilder &k, StringRef name, TypeRange result, ValueRange operands) {
  auto call = k.builder.create<LLVM::CallIntrinsicOp>(k.location, result, name, operands);
  return result.empty() ? Value() : call.getResult(0);
}

void morph::copyAsync(KernelBuilder &k, Value shared, Index element, Value global, Index globalElement, Value isThere) {
  // Nothing is read where no byte is copied.
  auto number = [&](int32_t bytes) -> Value {
    return k.builder.create<arith::ConstantOp>(k.location, k.builder.getI32IntegerAttr(bytes));
  };
  Value bytes = number(2 * kHalfVector);
  if (isThere)
    bytes = k.builder.create<arith::SelectOp>(k.location, isThere, bytes, number(0));
  callIntrinsic(k, "llvm.nvvm.cp.async.cg.shared.global.16.s", {},
                {addressOf(k, shared, element), addressOf(k, global, globalElement), bytes});
}

void morph::commitCopies(KernelBuilder &k) { k.builder.create<NVVM::CpAsyncCommitGroupOp>(k.location); }

void morph::waitCopies(KernelBuilder &k, int64_t groups) {
  k.builder.create<NVVM::CpAsyncWaitGroupOp>(k.location, static_cast<int32_t>(groups));
}

Fragment morph::loadMatrices(KernelBuilder &k, Value shared, Index element, bool transposed) {
  Type i32 = k.builder.getI32Type();
  Value matrices = k.builder.create<NVVM::LdMatrixOp>(
      k.location, LLVM::LLVMStructType::getLiteral(k.builder.getContext(), {i32, i32, i32, i32}),
      addressOf(k, shared, element), 4, transposed ? NVVM::MMALayout::col : NVVM::MMALayout::row);
  Fragment fragment;
  for (size_t m = 0; m < fragment.size(); ++m)
    fragment[m] = k.builder.create<LLVM::ExtractValueOp>(k.location, matrices, static_cast<int64_t>(m));
  return fragment;
}

void morph::multiplyAdd(KernelBuilder &k, const Fragment &a, Value b0, Value b1, MutableArrayRef<Scalar> sums) {
  SmallVector<Value> operands(a.begin(), a.end());
  operands.append({b0, b1});
  for (Scalar sum : sums)
    operands.push_back(sum.get());
  SmallVector<Type> types(sums.size(), k.builder.getF32Type());
  Value result = callIntrinsic(k, "llvm.nvvm.mma.m16n8k16.row.col.bf16",
                               {LLVM::LLVMStructType::getLiteral(k.builder.getContext(), types)}, operands);
  for (auto [e, sum] : llvm::enumerate(sums))
    sum = k.scalar(k.builder.create<LLVM::ExtractValueOp>(k.location, result, static_cast<int64_t>(e)));
}

Value morph::packHalves(KernelBuilder &k, Scalar low, Scalar high) {
  Value pair = callIntrinsic(k, "llvm.nvvm.ff2bf16x2.rn", {VectorType::get(2, k.builder.getBF16Type())},
                             {high.get(), low.get()});
  return k.builder.create<LLVM::BitcastOp>(k.location, k.builder.getI32Type(), pair);
}

void morph::storeHalves(KernelBuilder &k, Value pair, Value pointer, Index element) {
  k.builder.create<LLVM::StoreOp>(k.location, pair, addressOf(k, pointer, element));
}

TensorTiles::TensorTiles(KernelBuilder &k, int64_t threads)
    : k(k), threads(threads), laneIndex(k.thread() % kWarp), warpIndex(k.thread() / kWarp), sumRow(laneIndex / 4),
      sumColumn(laneIndex % 4 * 2) {
  // Sums fill the registers: ptxas is not to spill some of them so that one more block fits a multiprocessor.
  Operation *around = k.builder.getInsertionBlock()->getParentOp();
  auto function = dyn_cast<gpu::GPUFuncOp>(around);
  (function ? function : around->getParentOfType<gpu::GPUFuncOp>())
      ->setAttr(NVVM::NVVMDialect::getMinctasmAttrName(), k.builder.getI32IntegerAttr(1));
}

//===----------------------------------------------------------------------===//
// Places
//===----------------------------------------------------------------------===//

Value TensorTiles::place(int64_t byte) { return k.dynamicShared(byte / 4); }

Value TensorTiles::advance(Value place, Index bytes) {
  return k.builder.create<LLVM::GEPOp>(k.location, place.getType(), k.builder.getI8Type(), place,
                                       ValueRange{bytes.get()});
}

//===----------------------------------------------------------------------===//
// Copies
//===----------------------------------------------------------------------===//

void TensorTiles::copy(const HalfTile &tile, Value to, Value from, int64_t width,
                       llvm::function_ref<Row(Index row)> place, int64_t triangleSide) {
  auto isSeen = [&](Value isThere, Index row, Index column) {
    return triangleSide == 0 ? isThere : k.both(isThere, column / triangleSide <= row / triangleSide);
  };
  if (width % kHalfVector != 0) {
    k.loop(k.thread(), k.integer(tile.rows * tile.columns), threads, [&](Index number) {
      Index row = number / tile.columns, column = number % tile.columns;
      auto [element, isThere] = place(row);
      if (width != tile.columns)
        isThere = k.both(isThere, column < width);
      isThere = isSeen(isThere, row, column);
      // The first element is always there.
      Scalar value = k.load(from, k.select(isThere, element + column, k.integer(0)), plan::DType::BF16);
      k.store(k.select(isThere, value, k.number(0)), to, row * tile.stride() + column, plan::DType::BF16);
    });
    return;
  }
  const int64_t vectors = tile.columns / kHalfVector, rows = threads / vectors;
  Index first = k.thread() / vectors, column = k.thread() % vectors * kHalfVector;
  for (int64_t done = 0; done < tile.rows; done += rows) {
    Index row = first + done;
    auto copyOne = [&] {
      auto [element, isThere] = place(row);
      if (width != tile.columns)
        isThere = k.both(isThere, column < width);
      isThere = isSeen(isThere, row, column);
      copyAsync(k, to, row * tile.stride() + column, from, element + column, isThere);
    };
    // Some threads have no row where a pass has less than all of them, or where rows end within a pass.
    int64_t end = std::min(rows, tile.rows - done);
    if (end * vectors == threads)
      copyOne();
    else
      k.onlyIf(first < end, copyOne);
  }
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// The four 8 x 8 matrices of a block follow each other along the columns first, or along the rows.
Fragment TensorTiles::loadBlock(const HalfTile &tile, Value from, Index row, Index column, bool columnsFirst,
                                bool transposed) {
  Index inner = laneIndex / 8 % 2 * 8, outer = laneIndex / 16 * 8, r = laneIndex % 8;
  Index ofLane = columnsFirst ? (outer + r) * tile.stride() + inner : (inner + r) * tile.stride() + outer;
  return loadMatrices(k, addressOf(k, from, ofLane), row * tile.stride() + column, transposed);
}

// Register 0 of a first factor has rows 0 to 7 and columns 0 to 7, register 1 the rows below, 2 and 3 the columns
// beside. Of a second factor 0 and 1 have rows 0 to 15 of columns 0 to 7, 2 and 3 those of columns 8 to 15.
Fragment TensorTiles::loadA(const HalfTile &tile, Value from, Index row, Index column, bool transposed) {
  return loadBlock(tile, from, row, column, /*columnsFirst=*/transposed, transposed);
}

Fragment TensorTiles::loadB(const HalfTile &tile, Value from, Index row, Index column, bool transposed) {
  return loadBlock(tile, from, row, column, /*columnsFirst=*/!transposed, transposed);
}

Fragment TensorTiles::round(ArrayRef<Scalar> sums) {
  Fragment fragment;
  for (size_t m = 0; m < fragment.size(); ++m)
    fragment[m] = packHalves(k, sums[2 * m], sums[2 * m + 1]);
  return fragment;
}

void TensorTiles::multiplyAdd(const Fragment &a, const Fragment &b, MutableArrayRef<Scalar> sums) {
  morph::multiplyAdd(k, a, b[0], b[1], sums.take_front(4));
  morph::multiplyAdd(k, a, b[2], b[3], sums.drop_front(4));
}

//===----------------------------------------------------------------------===//
// Stores
//===----------------------------------------------------------------------===//

void TensorTiles::store(ArrayRef<Scalar> sums, Value to, int64_t width, plan::DType type,
                        llvm::function_ref<Row(Index row)> place) {
  for (int64_t half = 0; half < 2; ++half) {
    auto [first, isThere] = place(row(2 * half));
    k.onlyIf(isThere, [&, first = first] {
      for (int64_t begin = 0; begin < width; begin += 8) {
        ArrayRef<Scalar> pair = sums.slice(static_cast<size_t>(begin / 2 + 2 * half), 2);
        Index column = sumColumn + begin, element = first + column;
        auto storePair = [&] {
          if (width % 2 != 0) {
            k.store(pair[0], to, element, type);
            k.onlyIf(column + 1 < width, [&] { k.store(pair[1], to, element + 1, type); });
          } else if (type == plan::DType::BF16) {
            storeHalves(k, packHalves(k, pair[0], pair[1]), to, element);
          } else {
            k.storeVector(pair, to, element, type);
          }
        };
        if (begin + 8 <= width)
          storePair();
        else
          k.onlyIf(column < width, storePair);
      }
    });
  }
}

void TensorTiles::store(ArrayRef<Scalar> sums, const HalfTile &tile, Value to, Index row, Index column) {
  for (size_t number = 0; number < sums.size(); number += 2) {
    auto e = static_cast<int64_t>(number);
    Index element = (row + this->row(e)) * tile.stride() + column + sumColumn + e / 4 * 8;
    storeHalves(k, packHalves(k, sums[number], sums[number + 1]), to, element);
  }
}
