// SPDX-License-Identifier: Apache-2.0
#include "passes/lower/RowLoops.h"

#include "passes/lower/RowKernel.h"
#include "runtime/plan/Workspace.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include "llvm/ADT/MapVector.h"

#include <numeric>

using namespace mlir;
using namespace morph;

namespace {

/// Elements of a vector on every machine, so that sums have one order on all: one register of AVX-512, two of AVX2.
constexpr int64_t kLanes = 16;
/// Elements that temporaries of one line may have: they are on the stack.
constexpr int64_t kMaxStackElements = 64 * 1024;

/// A piece of a line: the elements at `offset`, those of `mask` where there is one.
struct Piece {
  Value offset; ///< From the line's begin.
  Value index;  ///< From the buffers' begin.
  Value mask;
};

/// Elements that a pass stores: a result, or a temporary for a later pass.
struct Store {
  Value root;
  Value buffer;
  bool isTemporary;
};

class RowLowering : RowKernel {
public:
  explicit RowLowering(RowKernel kernel) : RowKernel(std::move(kernel)), location(source.getLoc()), builder(source) {}

  LogicalResult run();

private:
  void emitPrologue();
  void emitLines(Value begin, Value end);
  void emitLine(Value base, Value width);
  void emitPass(int phase, Value base, Value width);
  void emitLineNumber(linalg::GenericOp op);
  void emitTotal(linalg::GenericOp op);
  void clearParts(Value block);

  // Values of the piece that is being emitted.
  Value evaluate(Value root, const Piece &piece);
  Value evaluateOperand(OpOperand &operand, const Piece &piece);
  Value indexOf(int64_t elements, const Piece &piece);
  SmallVector<Value> applyBody(linalg::GenericOp op, ArrayRef<Value> arguments, bool isVector) {
    return buildRowBody(builder, location, op, arguments, scalars, isVector ? kLanes : 0);
  }

  // Helpers.
  Value integer(int64_t number) {
    return builder.create<arith::ConstantOp>(location, builder.getI64IntegerAttr(number));
  }
  Value add(Value a, Value b) { return builder.create<arith::AddIOp>(location, a, b); }
  Value multiply(Value a, int64_t b) { return b == 1 ? a : builder.create<arith::MulIOp>(location, a, integer(b)); }
  Type vectorOf(Type element) const { return VectorType::get(kLanes, element); }
  Value splat(Value scalar) {
    return builder.create<vector::BroadcastOp>(location, vectorOf(scalar.getType()), scalar);
  }
  Value addressOf(Value buffer, Type element, Value index) {
    return builder.create<LLVM::GEPOp>(location, buffer.getType(), element, buffer, ValueRange{index});
  }
  Value load(Value buffer, Type element, Value index, Value mask);
  void store(Value value, Value buffer, Value index, Value mask);
  void loop(Value from, Value to, int64_t step, llvm::function_ref<void(Value)> body);
  Value constantMask(int64_t count);
  Value dynamicMask(Value count);
  Value sumLanes(Value lanes);

  Location location;
  OpBuilder builder;

  // Made while emitting.
  LLVM::LLVMFuncOp target;
  llvm::MapVector<Value, Value> partBuffers;   ///< Sums over rows: where their parts are, a block after the other.
  llvm::DenseMap<Value, Value> parts;          ///< Those of the block.
  IRMapping scalars;                           ///< Scalars of the prologue and of the line.
  llvm::DenseMap<Value, Value> buffers;        ///< Where arguments are, and what passes before have stored.
  SmallVector<Store> stores;                   ///< All that is stored.
  llvm::DenseMap<Value, Value> uniformScalars; ///< The single element of uniform arguments.
  llvm::DenseMap<Value, Value> known;          ///< Elements of the current piece.
  Value lineIndex;
};

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

/// bf16 is integers in memory: LLVM makes library calls of moving bf16 vectors on machines without them.
static Type memoryType(Type element) {
  return element.isF32() ? element : IntegerType::get(element.getContext(), element.getIntOrFloatBitWidth());
}

Value RowLowering::load(Value buffer, Type element, Value index, Value mask) {
  Type stored = memoryType(element), type = vectorOf(stored);
  Value address = addressOf(buffer, stored, index), value;
  unsigned alignment = element.getIntOrFloatBitWidth() / 8;
  if (mask) {
    Value zeros = builder.create<arith::ConstantOp>(location, builder.getZeroAttr(type));
    value = builder.create<LLVM::MaskedLoadOp>(location, type, address, mask, zeros, alignment);
  } else {
    value = builder.create<LLVM::LoadOp>(location, type, address, alignment);
  }
  return stored == element ? value : builder.create<arith::BitcastOp>(location, vectorOf(element), value);
}

void RowLowering::store(Value value, Value buffer, Value index, Value mask) {
  Type element = getElementTypeOrSelf(value.getType()), stored = memoryType(element);
  if (stored != element)
    value = builder.create<arith::BitcastOp>(location, vectorOf(stored), value);
  Value address = addressOf(buffer, stored, index);
  unsigned alignment = element.getIntOrFloatBitWidth() / 8;
  if (mask)
    builder.create<LLVM::MaskedStoreOp>(location, value, address, mask, alignment);
  else
    builder.create<LLVM::StoreOp>(location, value, address, alignment);
}

void RowLowering::loop(Value from, Value to, int64_t step, llvm::function_ref<void(Value)> body) {
  builder.create<scf::ForOp>(location, from, to, integer(step), ValueRange(),
                             [&](OpBuilder &inner, Location, Value index, ValueRange) {
                               OpBuilder::InsertionGuard guard(builder);
                               builder.setInsertionPointToEnd(inner.getInsertionBlock());
                               body(index);
                               builder.create<scf::YieldOp>(location);
                             });
}

Value RowLowering::constantMask(int64_t count) {
  SmallVector<bool> lanes(kLanes);
  std::fill(lanes.begin(), lanes.begin() + count, true);
  auto type = VectorType::get(kLanes, builder.getI1Type());
  return builder.create<arith::ConstantOp>(location, DenseElementsAttr::get(type, lanes));
}

Value RowLowering::dynamicMask(Value count) {
  SmallVector<int32_t> numbers(kLanes);
  std::iota(numbers.begin(), numbers.end(), 0);
  Value lanes = builder.create<arith::ConstantOp>(location, builder.getI32VectorAttr(numbers));
  Value bound = splat(builder.create<arith::TruncIOp>(location, builder.getI32Type(), count));
  return builder.create<arith::CmpIOp>(location, arith::CmpIPredicate::slt, lanes, bound);
}

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

/// The elements of a row value.
Value RowLowering::evaluate(Value root, const Piece &piece) {
  if (Value value = known.lookup(root))
    return value;
  Type element = getElementTypeOrSelf(root.getType());
  if (Value buffer = buffers.lookup(root)) {
    // An argument, or what a pass before has stored.
    Value index = temporaries.contains(root) ? piece.offset : piece.index;
    return known[root] = load(buffer, element, index, piece.mask);
  }
  auto op = root.getDefiningOp<linalg::GenericOp>();
  SmallVector<Value> arguments;
  for (OpOperand *operand : op.getDpsInputOperands())
    arguments.push_back(evaluateOperand(*operand, piece));
  for (auto [result, value] : llvm::zip_equal(op.getResults(), applyBody(op, arguments, /*isVector=*/true)))
    known[result] = value;
  return known[root];
}

Value RowLowering::evaluateOperand(OpOperand &operand, const Piece &piece) {
  Value root = rootOf(operand.get());
  if (!isUniformTensor(root))
    return kindOf(root) == RowKind::Row ? evaluate(root, piece) : splat(scalars.lookup(root));
  if (Value value = known.lookup(root))
    return value;
  auto type = cast<RankedTensorType>(root.getType());
  int64_t elements = type.getNumElements();
  if (elements == 1)
    return splat(uniformScalars.lookup(root));
  return known[root] = load(buffers.lookup(root), type.getElementType(), indexOf(elements, piece), piece.mask);
}

/// Where the elements of a piece are in a uniform tensor: lines take turns over one of several lines.
Value RowLowering::indexOf(int64_t elements, const Piece &piece) {
  int64_t turns = elements / lineWidth;
  if (turns <= 1)
    return piece.offset;
  Value turn = builder.create<arith::RemSIOp>(location, lineIndex, integer(turns));
  return add(multiply(turn, lineWidth), piece.offset);
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

/// The sum of a vector's lanes, halves added to halves.
Value RowLowering::sumLanes(Value lanes) {
  for (int64_t half = kLanes / 2; half >= 1; half /= 2) {
    SmallVector<int64_t> low(half), high(half);
    std::iota(low.begin(), low.end(), 0);
    std::iota(high.begin(), high.end(), half);
    lanes = builder.create<arith::AddFOp>(location, builder.create<vector::ShuffleOp>(location, lanes, lanes, low),
                                          builder.create<vector::ShuffleOp>(location, lanes, lanes, high));
  }
  return builder.create<vector::ExtractOp>(location, lanes, 0);
}

/// One pass over a line: stores what belongs to the phase, and makes its sums known.
void RowLowering::emitPass(int phase, Value base, Value width) {
  SmallVector<linalg::GenericOp> sums, rowSums;
  for (RowStep &step : steps) {
    if (step.phase != phase)
      continue;
    if (step.isLineSum)
      sums.push_back(step.op);
    else if (step.kind == RowKind::Line)
      emitLineNumber(step.op);
    else if (step.kind == RowKind::Sum && parts.count(rootOf(step.op.getResult(0)))) {
      if (isTotal(step.op))
        emitTotal(step.op);
      else
        rowSums.push_back(step.op);
    }
  }
  SmallVector<Store> stored;
  for (const Store &store : stores)
    if (phaseOf(store.root) == phase)
      stored.push_back(store);
  if (sums.empty() && rowSums.empty() && stored.empty())
    return;

  auto emitPiece = [&](Value offset, Value mask, ValueRange accumulators) {
    Piece piece{offset, add(base, offset), mask};
    known.clear();
    SmallVector<Value> next;
    for (auto [sum, accumulator] : llvm::zip_equal(sums, accumulators)) {
      SmallVector<Value> arguments;
      for (OpOperand *operand : sum.getDpsInputOperands())
        arguments.push_back(evaluateOperand(*operand, piece));
      arguments.push_back(accumulator);
      Value added = applyBody(sum, arguments, /*isVector=*/true)[0];
      next.push_back(mask ? builder.create<arith::SelectOp>(location, mask, added, accumulator) : added);
    }
    for (linalg::GenericOp sum : rowSums) {
      auto type = cast<RankedTensorType>(sum.getResult(0).getType());
      Value part = parts.lookup(rootOf(sum.getResult(0))), index = indexOf(type.getNumElements(), piece);
      SmallVector<Value> arguments;
      for (OpOperand *operand : sum.getDpsInputOperands())
        arguments.push_back(evaluateOperand(*operand, piece));
      arguments.push_back(load(part, type.getElementType(), index, mask));
      store(applyBody(sum, arguments, /*isVector=*/true)[0], part, index, mask);
    }
    // All is read before anything is written, so that a result may be where an operand was.
    SmallVector<Value> values;
    for (const Store &store : stored)
      values.push_back(evaluate(store.root, piece));
    for (auto [store, value] : llvm::zip_equal(stored, values))
      this->store(value, store.buffer, store.isTemporary ? piece.offset : piece.index, mask);
    known.clear();
    return next;
  };
  auto emitLoop = [&](Value from, Value to, ValueRange accumulators, bool isMasked) {
    auto loop = builder.create<scf::ForOp>(
        location, from, to, integer(kLanes), accumulators,
        [&](OpBuilder &inner, Location where, Value offset, ValueRange carried) {
          OpBuilder::InsertionGuard guard(builder);
          builder.setInsertionPointToEnd(inner.getInsertionBlock());
          Value mask = isMasked ? dynamicMask(builder.create<arith::SubIOp>(location, to, offset)) : Value();
          SmallVector<Value> next = emitPiece(offset, mask, carried);
          builder.create<scf::YieldOp>(location, next);
        });
    return SmallVector<Value>(loop.getResults());
  };

  Value zeros = builder.create<arith::ConstantOp>(location, builder.getZeroAttr(vectorOf(builder.getF32Type())));
  SmallVector<Value> lanes(sums.size(), zeros);
  if (lineWidth == 0) {
    Value rest = builder.create<arith::RemSIOp>(location, width, integer(kLanes));
    Value whole = builder.create<arith::SubIOp>(location, width, rest);
    lanes = emitLoop(integer(0), whole, lanes, /*isMasked=*/false);
    lanes = emitLoop(whole, width, lanes, /*isMasked=*/true);
  } else {
    int64_t rest = lineWidth % kLanes, whole = lineWidth - rest;
    if (whole == kLanes)
      lanes = emitPiece(integer(0), {}, lanes);
    else if (whole > 0)
      lanes = emitLoop(integer(0), integer(whole), lanes, /*isMasked=*/false);
    if (rest > 0)
      lanes = emitPiece(integer(whole), constantMask(rest), lanes);
  }
  for (auto [sum, sumLanes] : llvm::zip_equal(sums, lanes))
    scalars.map(sum.getResult(0), this->sumLanes(sumLanes));
  for (const Store &store : stored)
    buffers[store.root] = store.buffer;
}

/// A linalg op on lines: numbers of the line from its sums.
void RowLowering::emitLineNumber(linalg::GenericOp op) {
  SmallVector<Value> arguments;
  for (OpOperand *operand : op.getDpsInputOperands()) {
    Value root = rootOf(operand->get());
    arguments.push_back(isUniformTensor(root) ? uniformScalars.lookup(root) : scalars.lookup(root));
  }
  for (auto [result, value] : llvm::zip_equal(op.getResults(), applyBody(op, arguments, /*isVector=*/false)))
    scalars.map(result, value);
}

/// Adds a number of the line to the block's part of a total.
void RowLowering::emitTotal(linalg::GenericOp op) {
  Value address = addressOf(parts.lookup(rootOf(op.getResult(0))), builder.getF32Type(), integer(placeOfTotal(op)));
  SmallVector<Value> arguments;
  for (OpOperand *operand : op.getDpsInputOperands())
    arguments.push_back(scalars.lookup(rootOf(operand->get())));
  arguments.push_back(builder.create<LLVM::LoadOp>(location, builder.getF32Type(), address));
  builder.create<LLVM::StoreOp>(location, applyBody(op, arguments, /*isVector=*/false)[0], address);
}

/// Sets the parts of a block to zero.
void RowLowering::clearParts(Value block) {
  Value zeros = builder.create<arith::ConstantOp>(location, builder.getZeroAttr(vectorOf(builder.getF32Type())));
  for (auto [root, buffer] : partBuffers) {
    int64_t elements = cast<RankedTensorType>(root.getType()).getNumElements();
    Value part = parts[root] = addressOf(buffer, builder.getF32Type(), multiply(block, elements));
    int64_t rest = elements % kLanes, whole = elements - rest;
    if (whole > 0)
      loop(integer(0), integer(whole), kLanes, [&](Value offset) { store(zeros, part, offset, {}); });
    if (rest > 0)
      store(zeros, part, integer(whole), constantMask(rest));
  }
}

/// All passes over the elements from `base` on.
void RowLowering::emitLine(Value base, Value width) {
  for (int phase = 0; phase < passes; ++phase)
    emitPass(phase, base, width);
}

/// The lines of the rows [begin, end).
void RowLowering::emitLines(Value begin, Value end) {
  int64_t lines = rowElements / lineWidth;
  loop(multiply(begin, lines), multiply(end, lines), 1, [&](Value line) {
    lineIndex = line;
    emitLine(multiply(line, lineWidth), Value());
  });
}

/// What does not depend on the row: the addresses, and the scalars of uniform arguments.
void RowLowering::emitPrologue() {
  Block &entry = target.getBody().front();
  Type pointer = LLVM::LLVMPointerType::get(builder.getContext());
  int32_t place = 0;
  auto nextBuffer = [&]() -> Value {
    Value address =
        builder.create<LLVM::GEPOp>(location, pointer, pointer, entry.getArgument(0), ArrayRef<LLVM::GEPArg>{place++});
    return builder.create<LLVM::LoadOp>(location, pointer, address);
  };
  for (BlockArgument argument : source.getArguments()) {
    Value buffer = buffers[argument] = nextBuffer();
    auto type = cast<RankedTensorType>(argument.getType());
    if (type.hasStaticShape() && type.getNumElements() == 1)
      uniformScalars[argument] = builder.create<LLVM::LoadOp>(location, type.getElementType(), buffer);
  }
  for (Value root : returned) {
    Value buffer = nextBuffer();
    if (kindOf(root) == RowKind::Sum)
      partBuffers[root] = buffer;
    else
      stores.push_back({root, buffer, /*isTemporary=*/false});
  }
  for (Value root : temporaries) {
    Type element = getElementTypeOrSelf(root.getType());
    Value memory = builder.create<LLVM::AllocaOp>(location, pointer, element, integer(lineWidth), /*alignment=*/64);
    stores.push_back({root, memory, /*isTemporary=*/true});
  }
  for (Operation *op : prologue) {
    if (auto extract = dyn_cast<tensor::ExtractOp>(op)) {
      // The verifier of kernels has seen to it that the index is a constant within the uniform argument.
      int64_t index = getConstantIntValue(extract.getIndices().front()).value();
      Value address =
          builder.create<LLVM::GEPOp>(location, pointer, extract.getType(), buffers.lookup(extract.getTensor()),
                                      ArrayRef<LLVM::GEPArg>{int32_t(index)});
      scalars.map(extract.getResult(), builder.create<LLVM::LoadOp>(location, extract.getType(), address).getResult());
    } else if (!isa<IndexType>(op->getResult(0).getType())) {
      Operation *clone = builder.clone(*op, scalars);
      scalars.map(op->getResults(), clone->getResults());
    }
  }
}

LogicalResult RowLowering::run() {
  if (int64_t(temporaries.size()) * lineWidth > kMaxStackElements)
    return source.emitError() << "kernel @" << source.getSymName() << " needs " << temporaries.size()
                              << " temporary lines of " << lineWidth << " elements, more than the stack may hold";
  MLIRContext *context = builder.getContext();
  Type pointer = LLVM::LLVMPointerType::get(context), i64 = builder.getI64Type();
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(context), {pointer, pointer, i64, i64});
  target = builder.create<LLVM::LLVMFuncOp>(location, source.getSymName(), type);
  Block &entry = *target.addEntryBlock(builder);
  builder.setInsertionPointToStart(&entry);
  emitPrologue();
  Value begin = entry.getArgument(2), end = entry.getArgument(3);
  if (lineWidth == 0) {
    // Nothing cuts a row, so that all rows are one line.
    Value count = builder.create<arith::SubIOp>(location, end, begin);
    emitLine(multiply(begin, rowElements), multiply(count, rowElements));
  } else if (partBuffers.empty()) {
    emitLines(begin, end);
  } else {
    loop(begin, end, plan::kRowBlock, [&](Value first) {
      Value last = builder.create<arith::MinSIOp>(location, add(first, integer(plan::kRowBlock)), end);
      clearParts(builder.create<arith::DivSIOp>(location, first, integer(plan::kRowBlock)));
      emitLines(first, last);
    });
  }
  builder.create<LLVM::ReturnOp>(location, ValueRange());
  source.erase();
  return success();
}

} // namespace

LogicalResult morph::lowerToRowLoops(const LinalgKernel &kernel) {
  FailureOr<RowKernel> analysed = RowKernel::analyse(kernel);
  return failed(analysed) ? failure() : RowLowering(std::move(*analysed)).run();
}
