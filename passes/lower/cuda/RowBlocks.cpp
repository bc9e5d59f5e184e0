// SPDX-License-Identifier: Apache-2.0
#include "passes/lower/cuda/RowBlocks.h"

#include "passes/lower/RowKernel.h"
#include "passes/lower/cuda/KernelBuilder.h"
#include "runtime/plan/Workspace.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include "llvm/Support/MathExtras.h"

#include <numeric>

using namespace mlir;
using namespace morph;

namespace {

/// Threads of a block, but where a line needs more than a warp: then they are the line's.
constexpr int64_t kThreads = 128;
constexpr int64_t kMostThreads = 1024;
/// Vectors of a line that a thread holds of each value.
constexpr int64_t kPieces = 4;
/// Bytes of shared memory that the groups of a block take for one sum over rows, at most.
constexpr int64_t kSumBytes = 12 * 1024;

using Carried = KernelBuilder::Carried;

/// How threads share lines.
struct Schedule {
  RowBlocks blocks;
  int64_t lanes = kVector; ///< Elements of a piece.
  int64_t group = 1;       ///< Threads of a line: part of a warp, or the block.
  int64_t pieces = 1;      ///< Of a line, a thread's.

  int64_t groups() const { return blocks.threads / group; }
};

/// A sum over rows.
struct RowSum {
  linalg::GenericOp op;
  int phase;
  bool isTotal;     ///< Of one number a line.
  int64_t place;    ///< Of a total: the element of the result.
  int64_t elements; ///< Of the result.
  Value buffer;     ///< Of parts.
  bool inMemory;    ///< Lines take turns over its elements: parts are added to where they lie.
};

/// Elements of a line, or of all rows, that a thread holds in a vector.
struct Piece {
  Index offset;                         ///< From the line's begin.
  Index index;                          ///< From the buffers' begin.
  Value isInside;                       ///< Null where it always is.
  Value isRead;                         ///< And the line is there; null where both always are.
  llvm::DenseMap<Value, Value> known{}; ///< Elements of values.
};

int64_t elementsOf(Value tensor) { return cast<RankedTensorType>(tensor.getType()).getNumElements(); }

/// bf16 is integers in memory.
Type memoryType(Type element) {
  return element.isF32() ? element : IntegerType::get(element.getContext(), element.getIntOrFloatBitWidth());
}

FailureOr<Schedule> makeSchedule(RowKernel &kernel) {
  Schedule schedule;
  schedule.blocks = {RowBlocks::Unit::Elements, 2 * kThreads * kVector, 2 * kThreads, kernel.rowElements};
  if (kernel.lineWidth == 0)
    return schedule;
  schedule.lanes = std::gcd(kernel.lineWidth, kVector);
  int64_t vectors = kernel.lineWidth / schedule.lanes;
  schedule.group = static_cast<int64_t>(llvm::PowerOf2Ceil(static_cast<uint64_t>(llvm::divideCeil(vectors, kPieces))));
  if (schedule.group > kMostThreads)
    return kernel.source.emitError() << "kernel @" << kernel.source.getSymName() << " has lines of " << kernel.lineWidth
                                     << " elements, more than a block of threads holds";
  int64_t threads = schedule.group > kWarp ? schedule.group : kThreads;
  bool hasSums = false, oneGroup = false;
  for (RowStep &step : kernel.steps) {
    if (step.kind != RowKind::Sum)
      continue;
    hasSums = true;
    // Nobody else adds to memory that lines take turns over.
    oneGroup |= !kernel.isTotal(step.op) && (elementsOf(step.op.getResult(0)) != kernel.lineWidth ||
                                             threads / schedule.group * kernel.lineWidth * 4 > kSumBytes);
  }
  if (oneGroup)
    threads = schedule.group = std::max(schedule.group, kWarp);
  schedule.pieces = llvm::divideCeil(vectors, schedule.group);
  schedule.blocks = {RowBlocks::Unit::Lines, threads / schedule.group, threads, kernel.rowElements / kernel.lineWidth};
  if (hasSums)
    schedule.blocks = {RowBlocks::Unit::Rows, plan::kRowBlock, threads, 1};
  return schedule;
}

class RowBlockLowering : RowKernel {
public:
  RowBlockLowering(RowKernel kernel, const Schedule &schedule, gpu::GPUModuleOp module)
      : RowKernel(std::move(kernel)), schedule(schedule), lanes(schedule.lanes),
        k(module, source.getSymName(), static_cast<unsigned>(source.getNumArguments() + returned.size()), /*sizes=*/1,
          schedule.blocks.threads) {}

  void run();

private:
  void emitPrologue();
  void emitElements();
  void emitLines();
  void emitParts();
  /// All passes over a line. `carried` are the row sums' values, which it changes: a vector a piece, or one number.
  void emitLine(Index line, Index lane, Value isThere, Carried &carried);
  void emitPass(int phase, MutableArrayRef<Piece> pieces, Value isThere, Carried &carried);
  void addToSums(int phase, MutableArrayRef<Piece> pieces, Value isThere, Carried &carried);
  void storeTotal(const RowSum &sum, Scalar own, Index group, Index lane);
  void storeElements(const RowSum &sum, ArrayRef<Scalar> own, Index group, Index lane);
  Scalar sumLine(Value vector);

  Value evaluate(Value root, Piece &piece);
  Value evaluateOperand(OpOperand &operand, Piece &piece);
  SmallVector<Value> evaluateOperands(linalg::GenericOp op, Piece &piece);
  SmallVector<Value> numbersOf(linalg::GenericOp op);
  Index indexOf(int64_t elements, const Piece &piece);
  SmallVector<Value> applyBody(linalg::GenericOp op, ArrayRef<Value> arguments, int64_t width) {
    return buildRowBody(k.builder, k.location, op, arguments, scalars, width);
  }
  /// How many values a sum is carried in.
  size_t carriedBy(const RowSum &sum) const {
    return sum.isTotal ? 1 : sum.inMemory ? 0 : static_cast<size_t>(schedule.pieces);
  }

  Type vectorOf(Type element) const { return VectorType::get(lanes, element); }
  Value splat(Value scalar) {
    return k.builder.create<vector::BroadcastOp>(k.location, vectorOf(scalar.getType()), scalar);
  }
  Value zeros() {
    return k.builder.create<arith::ConstantOp>(k.location, k.builder.getZeroAttr(vectorOf(k.builder.getF32Type())));
  }
  Value both(Value a, Value b) { return !a ? b : !b ? a : k.both(a, b); }
  Value select(Value condition, Value a, Value b) {
    return condition ? k.select(condition, k.scalar(a), k.scalar(b)).get() : a;
  }
  void onlyIf(Value condition, llvm::function_ref<void()> body) { condition ? k.onlyIf(condition, body) : body(); }
  Value loadVector(Value buffer, Type element, Index index);
  Value loadRow(Value buffer, Type element, const Piece &piece);
  void storeVector(Value value, Value buffer, Index index);
  Value loadElement(Value buffer, Type element, int64_t index);

  Schedule schedule;
  int64_t lanes; ///< The schedule's; 1 at the end of rows that nothing cuts.
  KernelBuilder k;

  llvm::DenseMap<Value, Value> buffers;        ///< Arguments.
  SmallVector<std::pair<Value, Value>> stores; ///< Roots and where they go.
  SmallVector<RowSum> rowSums;                 ///< In the order of the steps.
  IRMapping scalars;                           ///< Of the prologue and of the line.
  llvm::DenseMap<Value, Value> uniformScalars;
  std::optional<Index> line, part; ///< Of the rows that are being computed.
};

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

Value RowBlockLowering::loadVector(Value buffer, Type element, Index index) {
  Type stored = memoryType(element);
  Value address = k.builder.create<LLVM::GEPOp>(k.location, buffer.getType(), stored, buffer, ValueRange{index.get()});
  Value value = k.builder.create<LLVM::LoadOp>(k.location, vectorOf(stored), address,
                                               static_cast<unsigned>(lanes) * element.getIntOrFloatBitWidth() / 8);
  return stored == element ? value : k.builder.create<arith::BitcastOp>(k.location, vectorOf(element), value);
}

/// Elements of an operand's rows, which a result may take the place of: what is not this thread's, another one may be
/// writing.
Value RowBlockLowering::loadRow(Value buffer, Type element, const Piece &piece) {
  if (!piece.isRead)
    return loadVector(buffer, element, piece.index);
  OpBuilder &builder = k.builder;
  auto branch =
      builder.create<scf::IfOp>(k.location, TypeRange{vectorOf(element)}, piece.isRead, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(branch.thenBlock());
  Value loaded = loadVector(buffer, element, piece.index);
  builder.create<scf::YieldOp>(k.location, loaded);
  builder.setInsertionPointToStart(branch.elseBlock());
  Value none = builder.create<arith::ConstantOp>(k.location, builder.getZeroAttr(vectorOf(element)));
  builder.create<scf::YieldOp>(k.location, none);
  return branch.getResult(0);
}

void RowBlockLowering::storeVector(Value value, Value buffer, Index index) {
  Type element = getElementTypeOrSelf(value.getType()), stored = memoryType(element);
  if (stored != element)
    value = k.builder.create<arith::BitcastOp>(k.location, vectorOf(stored), value);
  Value address = k.builder.create<LLVM::GEPOp>(k.location, buffer.getType(), stored, buffer, ValueRange{index.get()});
  k.builder.create<LLVM::StoreOp>(k.location, value, address,
                                  static_cast<unsigned>(lanes) * element.getIntOrFloatBitWidth() / 8);
}

/// A number of a uniform argument, in its own type.
Value RowBlockLowering::loadElement(Value buffer, Type element, int64_t index) {
  Type stored = memoryType(element);
  Value address =
      k.builder.create<LLVM::GEPOp>(k.location, buffer.getType(), stored, buffer, ValueRange{k.integer(index).get()});
  Value value = k.builder.create<LLVM::LoadOp>(k.location, stored, address);
  return stored == element ? value : k.builder.create<arith::BitcastOp>(k.location, element, value);
}

/// Where the elements of a piece are in a uniform tensor: lines take turns over one of several lines.
Index RowBlockLowering::indexOf(int64_t elements, const Piece &piece) {
  int64_t turns = lineWidth == 0 ? 1 : elements / lineWidth;
  return turns <= 1 ? piece.offset : *line % turns * lineWidth + piece.offset;
}

Value RowBlockLowering::evaluate(Value root, Piece &piece) {
  if (Value value = piece.known.lookup(root))
    return value;
  if (Value buffer = buffers.lookup(root))
    return piece.known[root] = loadRow(buffer, getElementTypeOrSelf(root.getType()), piece);
  auto op = root.getDefiningOp<linalg::GenericOp>();
  for (auto [result, value] : llvm::zip_equal(op.getResults(), applyBody(op, evaluateOperands(op, piece), lanes)))
    piece.known[result] = value;
  return piece.known[root];
}

Value RowBlockLowering::evaluateOperand(OpOperand &operand, Piece &piece) {
  Value root = rootOf(operand.get());
  if (!isUniformTensor(root))
    return kindOf(root) == RowKind::Row ? evaluate(root, piece) : splat(scalars.lookup(root));
  int64_t elements = elementsOf(root);
  if (elements == 1)
    return splat(uniformScalars.lookup(root));
  if (Value value = piece.known.lookup(root))
    return value;
  Type element = getElementTypeOrSelf(root.getType());
  return piece.known[root] = loadVector(buffers.lookup(root), element, indexOf(elements, piece));
}

SmallVector<Value> RowBlockLowering::evaluateOperands(linalg::GenericOp op, Piece &piece) {
  return llvm::map_to_vector(op.getDpsInputOperands(),
                             [&](OpOperand *operand) { return evaluateOperand(*operand, piece); });
}

/// The numbers of the line that an op on lines reads.
SmallVector<Value> RowBlockLowering::numbersOf(linalg::GenericOp op) {
  return llvm::map_to_vector(op.getDpsInputOperands(), [&](OpOperand *operand) {
    Value root = rootOf(operand->get());
    return isUniformTensor(root) ? uniformScalars.lookup(root) : scalars.lookup(root);
  });
}

/// The sum over a line of what its threads have: the lanes of each, half to half; then the threads. All of them get it.
Scalar RowBlockLowering::sumLine(Value vector) {
  for (int64_t half = lanes / 2; half >= 1; half /= 2) {
    SmallVector<int64_t> low(static_cast<size_t>(half)), high(static_cast<size_t>(half));
    std::iota(low.begin(), low.end(), 0);
    std::iota(high.begin(), high.end(), half);
    vector = k.builder.create<arith::AddFOp>(k.location,
                                             k.builder.create<vector::ShuffleOp>(k.location, vector, vector, low),
                                             k.builder.create<vector::ShuffleOp>(k.location, vector, vector, high));
  }
  Scalar sum = k.scalar(k.builder.create<vector::ExtractOp>(k.location, vector, 0));
  return schedule.group > kWarp ? k.blockSum(sum) : k.laneSum(sum, schedule.group);
}

//===----------------------------------------------------------------------===//
// Lines
//===----------------------------------------------------------------------===//

void RowBlockLowering::addToSums(int phase, MutableArrayRef<Piece> pieces, Value isThere, Carried &carried) {
  auto *next = carried.begin();
  for (const RowSum &sum : rowSums) {
    auto *own = next;
    next += carriedBy(sum);
    if (sum.phase != phase)
      continue;
    if (sum.isTotal) {
      SmallVector<Value> arguments = numbersOf(sum.op);
      arguments.push_back(own->get());
      *own = k.scalar(select(isThere, applyBody(sum.op, arguments, /*width=*/0)[0], own->get()));
      continue;
    }
    for (size_t index = 0; index < pieces.size(); ++index) {
      Piece &piece = pieces[index];
      SmallVector<Value> arguments = evaluateOperands(sum.op, piece);
      Value isCounted = both(isThere, piece.isInside);
      if (!sum.inMemory) {
        Value before = own[index].get();
        arguments.push_back(before);
        own[index] = k.scalar(select(isCounted, applyBody(sum.op, arguments, lanes)[0], before));
        continue;
      }
      onlyIf(isCounted, [&] {
        Index place = *part * sum.elements + indexOf(sum.elements, piece);
        arguments.push_back(loadVector(sum.buffer, k.builder.getF32Type(), place));
        storeVector(applyBody(sum.op, arguments, lanes)[0], sum.buffer, place);
      });
    }
  }
}

void RowBlockLowering::emitPass(int phase, MutableArrayRef<Piece> pieces, Value isThere, Carried &carried) {
  for (RowStep &step : steps)
    if (step.phase == phase && step.kind == RowKind::Line && !step.isLineSum)
      for (auto [result, value] : llvm::zip_equal(step.op.getResults(), applyBody(step.op, numbersOf(step.op), 0)))
        scalars.map(result, value);
  // Of each piece all is read before anything is written, so that a result may be where an operand was.
  auto isOfPass = [&](const auto &store) { return phaseOf(store.first) == phase; };
  for (Piece &piece : pieces) {
    SmallVector<Value> values;
    for (auto [root, buffer] : llvm::make_filter_range(stores, isOfPass))
      values.push_back(evaluate(root, piece));
    if (!values.empty())
      onlyIf(both(isThere, piece.isInside), [&] {
        for (auto [store, value] : llvm::zip(llvm::make_filter_range(stores, isOfPass), values))
          storeVector(value, store.second, piece.index);
      });
  }
  addToSums(phase, pieces, isThere, carried);
  for (RowStep &step : steps) {
    if (step.phase != phase || !step.isLineSum)
      continue;
    Value sum = zeros();
    for (Piece &piece : pieces) {
      SmallVector<Value> arguments = evaluateOperands(step.op, piece);
      arguments.push_back(sum);
      sum = select(piece.isInside, applyBody(step.op, arguments, lanes)[0], sum);
    }
    scalars.map(step.op.getResult(0), sumLine(sum).get());
  }
}

void RowBlockLowering::emitLine(Index number, Index lane, Value isThere, Carried &carried) {
  line = number;
  int64_t vectors = lineWidth / lanes;
  SmallVector<Piece> pieces;
  for (int64_t i = 0; i < schedule.pieces; ++i) {
    Index place = lane + i * schedule.group;
    Value isInside;
    if ((i + 1) * schedule.group > vectors) {
      // Where there are none, what is the same for all rows is read of the last ones.
      isInside = place < vectors;
      place = min(place, k.integer(vectors - 1));
    }
    Index offset = place * lanes;
    pieces.push_back({offset, number * lineWidth + offset, isInside, both(isThere, isInside)});
  }
  for (int phase = 0; phase < passes; ++phase)
    emitPass(phase, pieces, isThere, carried);
}

//===----------------------------------------------------------------------===//
// Blocks
//===----------------------------------------------------------------------===//

/// Nothing cuts a row: all rows are one line.
void RowBlockLowering::emitElements() {
  Index first = (k.block() * schedule.blocks.threads + k.thread()) * kVector, count = k.size(0) * rowElements;
  Carried none;
  auto emitPiece = [&](Index at) {
    Piece piece{at, at, {}, {}};
    for (int phase = 0; phase < passes; ++phase)
      emitPass(phase, piece, {}, none);
  };
  k.onlyIf(first + kVector <= count, [&] { emitPiece(first); });
  // The last elements, of which no vector is left, one after the other.
  lanes = 1;
  k.onlyIf(count < first + kVector, [&] { k.loop(first, count, 1, emitPiece); });
}

void RowBlockLowering::emitLines() {
  Index lines = k.size(0) * (rowElements / lineWidth), thread = k.thread();
  Index number = k.block() * schedule.groups() + thread / schedule.group;
  Value isThere;
  if (schedule.groups() > 1) {
    isThere = number < lines;
    number = min(number, lines - 1);
  }
  Carried none;
  emitLine(number, thread % schedule.group, isThere, none);
}

/// The lines of plan::kRowBlock rows, and their parts of the sums over rows.
void RowBlockLowering::emitParts() {
  part = k.block();
  int64_t linesPerRow = rowElements / lineWidth, groups = schedule.groups();
  Index first = *part * (plan::kRowBlock * linesPerRow), thread = k.thread();
  Index last = min(first + plan::kRowBlock * linesPerRow, k.size(0) * linesPerRow);
  Index lane = thread % schedule.group, group = thread / schedule.group;
  Carried start;
  for (const RowSum &sum : rowSums) {
    for (size_t i = 0; i < carriedBy(sum); ++i)
      start.push_back(sum.isTotal ? k.number(0) : k.scalar(zeros()));
    if (sum.isTotal || !sum.inMemory)
      continue;
    // Each thread is always on the same elements of a line: nobody else adds to them.
    for (int64_t turn = 0; turn < sum.elements / lineWidth; ++turn)
      for (int64_t i = 0; i < schedule.pieces; ++i) {
        Index place = lane + i * schedule.group;
        k.onlyIf(place < lineWidth / lanes,
                 [&] { storeVector(zeros(), sum.buffer, *part * sum.elements + place * lanes + turn * lineWidth); });
      }
  }
  // All groups go around equally often, because they add up together.
  Carried carried = k.loop(first, last, groups, start, [&](Index begin, ArrayRef<Scalar> values) {
    Index number = begin + group;
    Value isThere;
    if (groups > 1) {
      isThere = number < last;
      number = min(number, last - 1);
    }
    Carried next(values);
    emitLine(number, lane, isThere, next);
    return next;
  });
  ArrayRef<Scalar> rest = carried;
  for (const RowSum &sum : rowSums) {
    ArrayRef<Scalar> own = rest.take_front(carriedBy(sum));
    rest = rest.drop_front(own.size());
    if (sum.isTotal)
      storeTotal(sum, own[0], group, lane);
    else if (!sum.inMemory)
      storeElements(sum, own, group, lane);
  }
}

/// The groups' totals, added up in their order.
void RowBlockLowering::storeTotal(const RowSum &sum, Scalar own, Index group, Index lane) {
  Value memory = k.shared(schedule.groups());
  k.onlyIf(lane == 0, [&] { k.store(own, memory, group); });
  k.barrier();
  k.onlyIf(k.thread() == 0, [&] {
    Scalar total = k.load(memory, k.integer(0));
    for (int64_t i = 1; i < schedule.groups(); ++i)
      total = total + k.load(memory, k.integer(i));
    k.store(total, sum.buffer, *part * sum.elements + sum.place);
  });
}

/// The groups' elements, added up in their order.
void RowBlockLowering::storeElements(const RowSum &sum, ArrayRef<Scalar> own, Index group, Index lane) {
  int64_t groups = schedule.groups(), vectors = lineWidth / lanes;
  Value memory = groups > 1 ? k.shared(groups * lineWidth) : Value();
  for (auto [i, value] : llvm::enumerate(own)) {
    Index place = lane + static_cast<int64_t>(i) * schedule.group;
    k.onlyIf(place < vectors, [&, &value = value] {
      if (memory)
        storeVector(value.get(), memory, group * lineWidth + place * lanes);
      else
        storeVector(value.get(), sum.buffer, *part * lineWidth + place * lanes);
    });
  }
  if (!memory)
    return;
  k.barrier();
  k.loop(k.thread(), k.integer(vectors), schedule.blocks.threads, [&](Index place) {
    Type f32 = k.builder.getF32Type();
    Index offset = place * lanes;
    Scalar total = k.scalar(loadVector(memory, f32, offset));
    for (int64_t i = 1; i < groups; ++i)
      total = total + k.scalar(loadVector(memory, f32, offset + i * lineWidth));
    storeVector(total.get(), sum.buffer, *part * lineWidth + offset);
  });
}

void RowBlockLowering::emitPrologue() {
  unsigned place = 0;
  for (BlockArgument argument : source.getArguments()) {
    Value buffer = buffers[argument] = k.pointer(place++);
    if (isUniformTensor(argument) && elementsOf(argument) == 1)
      uniformScalars[argument] = loadElement(buffer, getElementTypeOrSelf(argument.getType()), 0);
  }
  for (Value root : returned) {
    Value buffer = k.pointer(place++);
    if (kindOf(root) != RowKind::Sum) {
      stores.push_back({root, buffer});
      continue;
    }
    int64_t elements = elementsOf(root);
    for (RowStep &step : steps)
      if (step.kind == RowKind::Sum && rootOf(step.op.getResult(0)) == root) {
        bool total = isTotal(step.op);
        rowSums.push_back({step.op, step.phase, total, total ? placeOfTotal(step.op) : 0, elements, buffer,
                           !total && elements != lineWidth});
      }
  }
  for (Operation *op : prologue) {
    if (auto extract = dyn_cast<tensor::ExtractOp>(op)) {
      // The verifier of kernels has seen to it that the index is a constant within the uniform argument.
      int64_t index = getConstantIntValue(extract.getIndices().front()).value();
      scalars.map(extract.getResult(), loadElement(buffers.lookup(extract.getTensor()), extract.getType(), index));
    } else if (!isa<IndexType>(op->getResult(0).getType())) {
      scalars.map(op->getResults(), k.builder.clone(*op, scalars)->getResults());
    }
  }
}

void RowBlockLowering::run() {
  emitPrologue();
  if (schedule.blocks.unit == RowBlocks::Unit::Elements)
    emitElements();
  else if (schedule.blocks.unit == RowBlocks::Unit::Rows)
    emitParts();
  else
    emitLines();
}

} // namespace

FailureOr<RowBlocks> morph::lowerToRowBlocks(const LinalgKernel &kernel, gpu::GPUModuleOp module) {
  FailureOr<RowKernel> analysed = RowKernel::analyse(kernel);
  if (failed(analysed))
    return failure();
  FailureOr<Schedule> schedule = makeSchedule(*analysed);
  if (failed(schedule))
    return failure();
  RowBlockLowering(std::move(*analysed), *schedule, module).run();
  kernel.function->erase();
  return schedule->blocks;
}
