// SPDX-License-Identifier: Apache-2.0
#include "passes/lower/cuda/RowBlocks.h"

#include "passes/lower/RowKernel.h"
#include "runtime/plan/Workspace.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/Support/MathExtras.h"

#include <numeric>

using namespace mlir;
using namespace morph;

namespace {

constexpr int64_t kWarp = 32;
/// Threads of a block, but where a line needs more.
constexpr int64_t kThreads = 128;
constexpr int64_t kMostThreads = 1024;
/// Elements that a thread loads at once: 16 bytes of fp32.
constexpr int64_t kVector = 4;
/// Vectors of a line that a thread holds of each value.
constexpr int64_t kPieces = 4;
/// Bytes of shared memory that any kernel may have.
constexpr int64_t kSharedBytes = 48 * 1024;
constexpr unsigned kGlobal = 1, kShared = 3; ///< Address spaces.

/// Elements of a line, or of all rows, that a thread holds in a vector.
struct Piece {
  Value offset;                         ///< From the line's begin.
  Value index;                          ///< From the buffers' begin.
  Value isInside;                       ///< Null where it always is.
  llvm::DenseMap<Value, Value> known{}; ///< Elements of values.
};

class RowBlockLowering : RowKernel {
public:
  RowBlockLowering(RowKernel kernel, gpu::GPUModuleOp module)
      : RowKernel(std::move(kernel)), module(module), location(source.getLoc()), builder(module.getContext()) {}

  FailureOr<RowBlocks> run();

private:
  /// A sum over rows and what this thread has of it: a vector a piece, or one number.
  struct RowSum {
    linalg::GenericOp op;
    bool isTotal;
    Value buffer; ///< Of parts.
    int64_t elements;
    bool inMemory; ///< Lines take turns over its elements: parts are added to where they lie.
  };

  /// Whether lines take turns over the elements of a sum over rows.
  bool areSumsInMemory();
  void emitPrologue();
  void emitElements(Value thread, Value block);
  void emitLines(Value thread, Value block);
  void emitParts(Value thread, Value block);
  /// All passes over a line. `carried` are the row sums' values, which it changes.
  void emitLine(Value line, Value lane, Value isThere, SmallVectorImpl<Value> &carried);
  void emitPass(int phase, MutableArrayRef<Piece> pieces, Value isThere, SmallVectorImpl<Value> &carried);
  void storeParts(Value group, Value lane, Value thread, Value block, ArrayRef<Value> carried);
  Value reduce(Value lanes);

  Value evaluate(Value root, Piece &piece);
  Value evaluateOperand(OpOperand &operand, Piece &piece);
  SmallVector<Value> evaluateOperands(linalg::GenericOp op, Piece &piece);
  SmallVector<Value> numbersOf(linalg::GenericOp op);
  Value indexOf(int64_t elements, const Piece &piece);
  SmallVector<Value> applyBody(linalg::GenericOp op, ArrayRef<Value> arguments, int64_t lanes) {
    return buildRowBody(builder, location, op, arguments, scalars, lanes);
  }

  Value integer(int64_t number) {
    return builder.create<arith::ConstantOp>(location, builder.getI64IntegerAttr(number));
  }
  Value integer32(int32_t number) {
    return builder.create<arith::ConstantOp>(location, builder.getI32IntegerAttr(number));
  }
  Value add(Value a, Value b) { return builder.create<arith::AddIOp>(location, a, b); }
  Value subtract(Value a, Value b) { return builder.create<arith::SubIOp>(location, a, b); }
  Value multiply(Value a, int64_t b) { return b == 1 ? a : builder.create<arith::MulIOp>(location, a, integer(b)); }
  Value divide(Value a, int64_t b) { return b == 1 ? a : builder.create<arith::DivUIOp>(location, a, integer(b)); }
  Value remainder(Value a, int64_t b) { return builder.create<arith::RemUIOp>(location, a, integer(b)); }
  Value minimum(Value a, Value b) { return builder.create<arith::MinSIOp>(location, a, b); }
  Value isBelow(Value a, Value b) { return builder.create<arith::CmpIOp>(location, arith::CmpIPredicate::slt, a, b); }
  Value both(Value a, Value b) { return !a ? b : !b ? a : builder.create<arith::AndIOp>(location, a, b).getResult(); }
  Value select(Value condition, Value a, Value b) {
    return condition ? builder.create<arith::SelectOp>(location, condition, a, b).getResult() : a;
  }
  Type vectorOf(Type element) const { return VectorType::get(lanes, element); }
  Value splat(Value scalar) {
    return builder.create<vector::BroadcastOp>(location, vectorOf(scalar.getType()), scalar);
  }
  Value zeros() { return builder.create<arith::ConstantOp>(location, builder.getZeroAttr(vectorOf(f32()))); }
  Type f32() { return builder.getF32Type(); }
  Value toI64(Value index) { return builder.create<arith::IndexCastOp>(location, builder.getI64Type(), index); }
  Value addressOf(Value buffer, Type element, Value index) {
    return builder.create<LLVM::GEPOp>(location, buffer.getType(), element, buffer, ValueRange{index});
  }
  Value load(Value buffer, Type element, Value index);
  void store(Value value, Value buffer, Value index);
  void onlyIf(Value condition, llvm::function_ref<void()> body);
  SmallVector<Value> loop(Value from, Value to, int64_t step, ValueRange carried,
                          llvm::function_ref<SmallVector<Value>(Value, ValueRange)> body);
  Value shared(StringRef name, int64_t elements);
  void barrier() { builder.create<gpu::BarrierOp>(location); }

  gpu::GPUModuleOp module;
  Location location;
  OpBuilder builder;

  // The schedule.
  int64_t lanes = kVector; ///< Elements of a piece.
  int64_t group = 1;       ///< Threads of a line.
  int64_t pieceCount = 1;
  int64_t threads = kThreads;

  // Made while emitting.
  gpu::GPUFuncOp target;
  Value rows;
  llvm::DenseMap<Value, Value> buffers;        ///< Arguments.
  SmallVector<std::pair<Value, Value>> stores; ///< Roots and where they go.
  SmallVector<RowSum> rowSums;                 ///< In the order of the steps.
  IRMapping scalars;                           ///< Of the prologue and of the line.
  llvm::DenseMap<Value, Value> uniformScalars;
  Value lineIndex, partIndex;
  Value warpSums; ///< Shared memory for sums over warps, a line of it a sum.
  int64_t sumCount = 0;
};

//===----------------------------------------------------------------------===//
// Memory and control
//===----------------------------------------------------------------------===//

/// bf16 is integers in memory.
Type memoryType(Type element) {
  return element.isF32() ? element : IntegerType::get(element.getContext(), element.getIntOrFloatBitWidth());
}

Value RowBlockLowering::load(Value buffer, Type element, Value index) {
  Type stored = memoryType(element);
  unsigned bytes = element.getIntOrFloatBitWidth() / 8;
  Value value = builder.create<LLVM::LoadOp>(location, vectorOf(stored), addressOf(buffer, stored, index),
                                             static_cast<unsigned>(lanes) * bytes);
  return stored == element ? value : builder.create<arith::BitcastOp>(location, vectorOf(element), value);
}

void RowBlockLowering::store(Value value, Value buffer, Value index) {
  Type element = getElementTypeOrSelf(value.getType()), stored = memoryType(element);
  if (stored != element)
    value = builder.create<arith::BitcastOp>(location, vectorOf(stored), value);
  unsigned bytes = element.getIntOrFloatBitWidth() / 8;
  builder.create<LLVM::StoreOp>(location, value, addressOf(buffer, stored, index),
                                static_cast<unsigned>(lanes) * bytes);
}

void RowBlockLowering::onlyIf(Value condition, llvm::function_ref<void()> body) {
  if (!condition)
    return body();
  auto branch = builder.create<scf::IfOp>(location, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(branch.thenBlock());
  body();
}

SmallVector<Value> RowBlockLowering::loop(Value from, Value to, int64_t step, ValueRange carried,
                                          llvm::function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  auto loop = builder.create<scf::ForOp>(location, from, to, integer(step), carried,
                                         [&](OpBuilder &inner, Location, Value index, ValueRange values) {
                                           OpBuilder::InsertionGuard guard(builder);
                                           builder.setInsertionPointToEnd(inner.getInsertionBlock());
                                           SmallVector<Value> next = body(index, values);
                                           builder.create<scf::YieldOp>(location, next);
                                         });
  return SmallVector<Value>(loop.getResults());
}

/// Shared memory of the block: a global of the module.
Value RowBlockLowering::shared(StringRef name, int64_t elements) {
  auto type = LLVM::LLVMArrayType::get(f32(), static_cast<uint64_t>(elements));
  std::string symbol = (source.getSymName() + "." + name).str();
  OpBuilder outside = OpBuilder::atBlockBegin(module.getBody());
  auto global = outside.create<LLVM::GlobalOp>(location, type, /*isConstant=*/false, LLVM::Linkage::Internal, symbol,
                                               Attribute(), /*alignment=*/16, kShared);
  OpBuilder inside = OpBuilder::atBlockEnd(&global.getInitializerRegion().emplaceBlock());
  inside.create<LLVM::ReturnOp>(location, inside.create<LLVM::UndefOp>(location, type).getResult());
  return builder.create<LLVM::AddressOfOp>(location, global);
}

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

/// Where the elements of a piece are in a uniform tensor: lines take turns over one of several lines.
Value RowBlockLowering::indexOf(int64_t elements, const Piece &piece) {
  int64_t turns = lineWidth == 0 ? 1 : elements / lineWidth;
  return turns <= 1 ? piece.offset : add(multiply(remainder(lineIndex, turns), lineWidth), piece.offset);
}

Value RowBlockLowering::evaluate(Value root, Piece &piece) {
  if (Value value = piece.known.lookup(root))
    return value;
  if (Value buffer = buffers.lookup(root))
    return piece.known[root] = load(buffer, getElementTypeOrSelf(root.getType()), piece.index);
  auto op = root.getDefiningOp<linalg::GenericOp>();
  for (auto [result, value] : llvm::zip_equal(op.getResults(), applyBody(op, evaluateOperands(op, piece), lanes)))
    piece.known[result] = value;
  return piece.known[root];
}

Value RowBlockLowering::evaluateOperand(OpOperand &operand, Piece &piece) {
  Value root = rootOf(operand.get());
  if (!isUniformTensor(root))
    return kindOf(root) == RowKind::Row ? evaluate(root, piece) : splat(scalars.lookup(root));
  auto type = cast<RankedTensorType>(root.getType());
  if (type.getNumElements() == 1)
    return splat(uniformScalars.lookup(root));
  if (Value value = piece.known.lookup(root))
    return value;
  return piece.known[root] = load(buffers.lookup(root), type.getElementType(), indexOf(type.getNumElements(), piece));
}

SmallVector<Value> RowBlockLowering::evaluateOperands(linalg::GenericOp op, Piece &piece) {
  SmallVector<Value> values;
  for (OpOperand *operand : op.getDpsInputOperands())
    values.push_back(evaluateOperand(*operand, piece));
  return values;
}

/// The numbers of the line that an op on lines reads.
SmallVector<Value> RowBlockLowering::numbersOf(linalg::GenericOp op) {
  SmallVector<Value> values;
  for (OpOperand *operand : op.getDpsInputOperands()) {
    Value root = rootOf(operand->get());
    values.push_back(isUniformTensor(root) ? uniformScalars.lookup(root) : scalars.lookup(root));
  }
  return values;
}

/// The sum over a line of what its threads have: the lanes of each, half to half; the threads of a warp, in pairs; the
/// warps, in their order. All threads of the line get it.
Value RowBlockLowering::reduce(Value vector) {
  for (int64_t half = lanes / 2; half >= 1; half /= 2) {
    SmallVector<int64_t> low(static_cast<size_t>(half)), high(static_cast<size_t>(half));
    std::iota(low.begin(), low.end(), 0);
    std::iota(high.begin(), high.end(), half);
    vector = builder.create<arith::AddFOp>(location, builder.create<vector::ShuffleOp>(location, vector, vector, low),
                                           builder.create<vector::ShuffleOp>(location, vector, vector, high));
  }
  Value sum = builder.create<vector::ExtractOp>(location, vector, 0);
  for (int64_t distance = std::min(group, kWarp) / 2; distance >= 1; distance /= 2) {
    auto shuffle = builder.create<gpu::ShuffleOp>(location, sum, integer32(static_cast<int32_t>(distance)),
                                                  integer32(kWarp), gpu::ShuffleMode::XOR);
    sum = builder.create<arith::AddFOp>(location, sum, shuffle.getShuffleResult());
  }
  if (group <= kWarp)
    return sum;
  int64_t warps = group / kWarp;
  Value place = integer(warps * sumCount++);
  Value thread = toI64(builder.create<gpu::ThreadIdOp>(location, gpu::Dimension::x));
  Value isFirst =
      builder.create<arith::CmpIOp>(location, arith::CmpIPredicate::eq, remainder(thread, kWarp), integer(0));
  onlyIf(isFirst, [&] {
    builder.create<LLVM::StoreOp>(location, sum, addressOf(warpSums, f32(), add(place, divide(thread, kWarp))));
  });
  barrier();
  Value total;
  for (int64_t warp = 0; warp < warps; ++warp) {
    Value part = builder.create<LLVM::LoadOp>(location, f32(), addressOf(warpSums, f32(), add(place, integer(warp))));
    total = total ? builder.create<arith::AddFOp>(location, total, part).getResult() : part;
  }
  return total;
}

//===----------------------------------------------------------------------===//
// Lines
//===----------------------------------------------------------------------===//

void RowBlockLowering::emitPass(int phase, MutableArrayRef<Piece> pieces, Value isThere,
                                SmallVectorImpl<Value> &carried) {
  for (RowStep &step : steps)
    if (step.phase == phase && step.kind == RowKind::Line && !step.isLineSum)
      for (auto [result, value] :
           llvm::zip_equal(step.op.getResults(), applyBody(step.op, numbersOf(step.op), /*lanes=*/0)))
        scalars.map(result, value);
  // Of each piece all is read before anything is written, so that a result may be where an operand was.
  SmallVector<std::pair<Value, Value>> stored;
  for (auto store : stores)
    if (phaseOf(store.first) == phase)
      stored.push_back(store);
  for (Piece &piece : pieces) {
    SmallVector<Value> values;
    for (auto [root, buffer] : stored)
      values.push_back(evaluate(root, piece));
    onlyIf(both(isThere, piece.isInside), [&] {
      for (auto [store, value] : llvm::zip_equal(stored, values))
        this->store(value, store.second, piece.index);
    });
  }
  auto *next = carried.begin();
  for (RowSum &sum : rowSums) {
    size_t count = sum.isTotal ? 1 : sum.inMemory ? 0 : pieces.size();
    auto *own = next;
    next += count;
    auto step = llvm::find_if(steps, [&](RowStep &step) { return step.op == sum.op; });
    if (step->phase != phase)
      continue;
    if (sum.isTotal) {
      SmallVector<Value> arguments = numbersOf(sum.op);
      arguments.push_back(*own);
      *own = select(isThere, applyBody(sum.op, arguments, /*lanes=*/0)[0], *own);
      continue;
    }
    for (auto [index, piece] : llvm::enumerate(pieces)) {
      SmallVector<Value> arguments = evaluateOperands(sum.op, piece);
      Value isCounted = both(isThere, piece.isInside);
      if (!sum.inMemory) {
        arguments.push_back(own[index]);
        own[index] = select(isCounted, applyBody(sum.op, arguments, lanes)[0], own[index]);
        continue;
      }
      onlyIf(isCounted, [&] {
        Value place = add(multiply(partIndex, sum.elements), indexOf(sum.elements, piece));
        arguments.push_back(load(sum.buffer, f32(), place));
        store(applyBody(sum.op, arguments, lanes)[0], sum.buffer, place);
      });
    }
  }
  for (RowStep &step : steps) {
    if (step.phase != phase || !step.isLineSum)
      continue;
    Value sum = zeros();
    for (Piece &piece : pieces) {
      SmallVector<Value> arguments = evaluateOperands(step.op, piece);
      arguments.push_back(sum);
      sum = select(piece.isInside, applyBody(step.op, arguments, lanes)[0], sum);
    }
    scalars.map(step.op.getResult(0), reduce(sum));
  }
}

void RowBlockLowering::emitLine(Value line, Value lane, Value isThere, SmallVectorImpl<Value> &carried) {
  lineIndex = line;
  sumCount = 0;
  int64_t vectors = lineWidth / lanes;
  SmallVector<Piece> pieces;
  for (int64_t i = 0; i < pieceCount; ++i) {
    Value place = add(lane, integer(i * group)), isInside;
    if ((i + 1) * group > vectors) {
      // The last elements are read again in place of those that there are not.
      isInside = isBelow(place, integer(vectors));
      place = minimum(place, integer(vectors - 1));
    }
    Value offset = multiply(place, lanes);
    pieces.push_back({offset, add(multiply(line, lineWidth), offset), isInside});
  }
  for (int phase = 0; phase < passes; ++phase)
    emitPass(phase, pieces, isThere, carried);
}

//===----------------------------------------------------------------------===//
// Blocks
//===----------------------------------------------------------------------===//

/// Nothing cuts a row: all rows are one line.
void RowBlockLowering::emitElements(Value thread, Value block) {
  Value index = multiply(add(multiply(block, threads), thread), kVector), count = multiply(rows, rowElements);
  SmallVector<Value> none;
  auto emitPiece = [&](Value at) {
    Piece piece{at, at, {}};
    for (int phase = 0; phase < passes; ++phase)
      emitPass(phase, piece, {}, none);
  };
  Value isWhole =
      builder.create<arith::CmpIOp>(location, arith::CmpIPredicate::sle, add(index, integer(kVector)), count);
  auto branch = builder.create<scf::IfOp>(location, isWhole, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(branch.thenBlock());
  emitPiece(index);
  builder.setInsertionPointToStart(branch.elseBlock());
  lanes = 1;
  loop(index, count, 1, {}, [&](Value at, ValueRange) {
    emitPiece(at);
    return SmallVector<Value>();
  });
  lanes = kVector;
}

void RowBlockLowering::emitLines(Value thread, Value block) {
  int64_t perBlock = threads / group;
  Value lines = multiply(rows, rowElements / lineWidth);
  Value line = add(multiply(block, perBlock), divide(thread, group)), isThere;
  if (perBlock > 1) {
    isThere = isBelow(line, lines);
    line = minimum(line, subtract(lines, integer(1)));
  }
  SmallVector<Value> none;
  emitLine(line, remainder(thread, group), isThere, none);
}

/// The lines of plan::kRowBlock rows, and their parts of the sums over rows.
void RowBlockLowering::emitParts(Value thread, Value block) {
  partIndex = block;
  int64_t linesPerRow = rowElements / lineWidth, groups = threads / group;
  Value first = multiply(block, plan::kRowBlock * linesPerRow);
  Value last = minimum(add(first, integer(plan::kRowBlock * linesPerRow)), multiply(rows, linesPerRow));
  Value lane = remainder(thread, group), number = divide(thread, group);
  SmallVector<Value> start;
  for (RowSum &sum : rowSums) {
    if (sum.isTotal)
      start.push_back(builder.create<arith::ConstantOp>(location, builder.getF32FloatAttr(0)));
    else if (!sum.inMemory)
      start.append(static_cast<size_t>(pieceCount), zeros());
    else // Lines take turns, each thread always on the same elements of a line: nobody else adds to them.
      for (int64_t turn = 0; turn < sum.elements / lineWidth; ++turn)
        for (int64_t i = 0; i < pieceCount; ++i) {
          Value place = add(lane, integer(i * group));
          onlyIf(isBelow(place, integer(lineWidth / lanes)), [&] {
            store(zeros(), sum.buffer,
                  add(multiply(block, sum.elements), add(integer(turn * lineWidth), multiply(place, lanes))));
          });
        }
  }
  // All groups go around equally often, because they add up together.
  SmallVector<Value> carried = loop(first, last, groups, start, [&](Value begin, ValueRange values) {
    if (group > kWarp)
      barrier(); // The sums of the line before have been read.
    Value line = add(begin, number), isThere;
    if (groups > 1) {
      isThere = isBelow(line, last);
      line = minimum(line, subtract(last, integer(1)));
    }
    SmallVector<Value> next(values);
    emitLine(line, lane, isThere, next);
    return next;
  });
  storeParts(number, lane, thread, block, carried);
}

/// Adds up what the groups of a block have, in their order.
void RowBlockLowering::storeParts(Value number, Value lane, Value thread, Value block, ArrayRef<Value> carried) {
  int64_t groups = threads / group, vectors = lineWidth / lanes;
  Value zero = integer(0);
  for (RowSum &sum : rowSums) {
    if (!sum.isTotal && sum.inMemory)
      continue;
    size_t count = sum.isTotal ? 1 : static_cast<size_t>(pieceCount);
    ArrayRef<Value> own = carried.take_front(count);
    carried = carried.drop_front(count);
    if (sum.isTotal) {
      Value memory = shared("totals" + std::to_string(sumCount++), groups);
      onlyIf(builder.create<arith::CmpIOp>(location, arith::CmpIPredicate::eq, lane, zero),
             [&] { builder.create<LLVM::StoreOp>(location, own[0], addressOf(memory, f32(), number)); });
      barrier();
      onlyIf(builder.create<arith::CmpIOp>(location, arith::CmpIPredicate::eq, thread, zero), [&] {
        Value total;
        for (int64_t i = 0; i < groups; ++i) {
          Value part = builder.create<LLVM::LoadOp>(location, f32(), addressOf(memory, f32(), integer(i)));
          total = total ? builder.create<arith::AddFOp>(location, total, part).getResult() : part;
        }
        Value place = add(multiply(block, sum.elements), integer(placeOfTotal(sum.op)));
        builder.create<LLVM::StoreOp>(location, total, addressOf(sum.buffer, f32(), place));
      });
      continue;
    }
    Value memory = groups > 1 ? shared("sums" + std::to_string(sumCount++), groups * lineWidth) : Value();
    for (auto [i, value] : llvm::enumerate(own)) {
      Value place = add(lane, integer(static_cast<int64_t>(i) * group));
      onlyIf(isBelow(place, integer(vectors)), [&] {
        Value offset = multiply(place, lanes);
        if (groups > 1)
          store(value, memory, add(multiply(number, lineWidth), offset));
        else
          store(value, sum.buffer, add(multiply(block, lineWidth), offset));
      });
    }
    if (groups == 1)
      continue;
    barrier();
    loop(thread, integer(vectors), threads, {}, [&](Value place, ValueRange) {
      Value offset = multiply(place, lanes), total;
      for (int64_t i = 0; i < groups; ++i) {
        Value part = load(memory, f32(), add(integer(i * lineWidth), offset));
        total = total ? builder.create<arith::AddFOp>(location, total, part).getResult() : part;
      }
      store(total, sum.buffer, add(multiply(block, lineWidth), offset));
      return SmallVector<Value>();
    });
  }
}

bool RowBlockLowering::areSumsInMemory() {
  return llvm::any_of(steps, [&](RowStep &step) {
    return step.kind == RowKind::Sum && !isTotal(step.op) &&
           cast<RankedTensorType>(step.op.getResult(0).getType()).getNumElements() != lineWidth;
  });
}

void RowBlockLowering::emitPrologue() {
  unsigned place = 0;
  for (BlockArgument argument : source.getArguments()) {
    Value buffer = buffers[argument] = target.getArgument(place++);
    auto type = cast<RankedTensorType>(argument.getType());
    if (!type.hasStaticShape() || type.getNumElements() != 1)
      continue;
    Type stored = memoryType(type.getElementType());
    Value value = builder.create<LLVM::LoadOp>(location, stored, buffer);
    uniformScalars[argument] = stored == type.getElementType()
                                   ? value
                                   : builder.create<arith::BitcastOp>(location, type.getElementType(), value);
  }
  for (Value root : returned) {
    Value buffer = target.getArgument(place++);
    if (kindOf(root) != RowKind::Sum) {
      stores.push_back({root, buffer});
      continue;
    }
    for (RowStep &step : steps)
      if (step.kind == RowKind::Sum && rootOf(step.op.getResult(0)) == root) {
        int64_t elements = cast<RankedTensorType>(root.getType()).getNumElements();
        bool isTotal = this->isTotal(step.op);
        rowSums.push_back({step.op, isTotal, buffer, elements, !isTotal && elements != lineWidth});
      }
  }
  for (Operation *op : prologue) {
    if (auto extract = dyn_cast<tensor::ExtractOp>(op)) {
      // The verifier of kernels has seen to it that the index is a constant within the uniform argument.
      int64_t index = getConstantIntValue(extract.getIndices().front()).value();
      Type stored = memoryType(extract.getType());
      Value value = builder.create<LLVM::LoadOp>(
          location, stored, addressOf(buffers.lookup(extract.getTensor()), stored, integer(index)));
      if (stored != extract.getType())
        value = builder.create<arith::BitcastOp>(location, extract.getType(), value);
      scalars.map(extract.getResult(), value);
    } else if (!isa<IndexType>(op->getResult(0).getType())) {
      scalars.map(op->getResults(), builder.clone(*op, scalars)->getResults());
    }
  }
}

FailureOr<RowBlocks> RowBlockLowering::run() {
  MLIRContext *context = builder.getContext();
  bool hasSums = llvm::any_of(steps, [](RowStep &step) { return step.kind == RowKind::Sum; });
  RowBlocks blocks{RowBlocks::Unit::Elements, 2 * kThreads * kVector, 2 * kThreads, rowElements};
  threads = blocks.threads;
  if (lineWidth > 0) {
    lanes = std::gcd(lineWidth, kVector);
    int64_t vectors = lineWidth / lanes;
    group = static_cast<int64_t>(llvm::PowerOf2Ceil(static_cast<uint64_t>(llvm::divideCeil(vectors, kPieces))));
    if (group > kMostThreads)
      return source.emitError() << "kernel @" << source.getSymName() << " has lines of " << lineWidth
                                << " elements, more than a block of threads holds";
    threads = std::max(group, kThreads);
    if (hasSums && (areSumsInMemory() || threads / group * lineWidth * 4 > kSharedBytes / 4))
      threads = group = std::max(group, kWarp);
    pieceCount = llvm::divideCeil(vectors, group);
    blocks = {RowBlocks::Unit::Lines, threads / group, threads, rowElements / lineWidth};
    if (hasSums)
      blocks = {RowBlocks::Unit::Rows, plan::kRowBlock, threads, 1};
  }

  SmallVector<Type> arguments(source.getNumArguments() + returned.size(), LLVM::LLVMPointerType::get(context, kGlobal));
  arguments.push_back(builder.getI64Type());
  builder.setInsertionPointToEnd(module.getBody());
  if (Operation *end = module.getBody()->empty() ? nullptr : &module.getBody()->back();
      end && end->hasTrait<::mlir::OpTrait::IsTerminator>())
    builder.setInsertionPoint(end);
  target = builder.create<gpu::GPUFuncOp>(location, source.getSymName(), builder.getFunctionType(arguments, {}));
  target->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), builder.getUnitAttr());
  target.setKnownBlockSizeAttr(builder.getDenseI32ArrayAttr({static_cast<int32_t>(threads), 1, 1}));
  builder.setInsertionPointToStart(&target.getBody().front());
  rows = target.getArgument(static_cast<unsigned>(arguments.size()) - 1);
  emitPrologue();
  Value thread = toI64(builder.create<gpu::ThreadIdOp>(location, gpu::Dimension::x));
  Value block = toI64(builder.create<gpu::BlockIdOp>(location, gpu::Dimension::x));
  int64_t lineSums = llvm::count_if(steps, [](RowStep &step) { return step.isLineSum; });
  if (group > kWarp && lineSums > 0)
    warpSums = shared("warps", group / kWarp * lineSums);
  if (lineWidth == 0)
    emitElements(thread, block);
  else if (hasSums)
    emitParts(thread, block);
  else
    emitLines(thread, block);
  builder.create<gpu::ReturnOp>(location);
  source.erase();
  return blocks;
}

} // namespace

FailureOr<RowBlocks> morph::lowerToRowBlocks(const LinalgKernel &kernel, gpu::GPUModuleOp module) {
  FailureOr<RowKernel> analysed = RowKernel::analyse(kernel);
  if (failed(analysed))
    return failure();
  return RowBlockLowering(std::move(*analysed), module).run();
}
