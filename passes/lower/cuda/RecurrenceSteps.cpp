// SPDX-License-Identifier: Apache-2.0
#include "passes/lower/cuda/RecurrenceSteps.h"

#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace morph;

/// Elements of a column that a thread has, where a warp is enough for that.
static constexpr int64_t kRows = 8;

RecurrenceShape::RecurrenceShape(DeviceFormCall &call, size_t first)
    : first(first), heads(staticSize(call.operandType(first + V), 2)), groups(staticSize(call.operandType(first), 2)),
      width(staticSize(call.operandType(first), 3)), valueWidth(staticSize(call.operandType(first + V), 3)),
      columns(valueWidth + (call.has("normaliser") ? 1 : 0)), scale(call.real("scale")),
      normaliser(call.has("normaliser") ? call.real("normaliser") : 0), chunk(call.integer("chunk")),
      type(call.operandType(first).dtype), batch(call.operandType(first).shape[0]),
      length(call.operandType(first).shape[1]) {
  for (size_t operand = 0; operand < Count; ++operand)
    has[operand] = call.hasOperand(first + operand);
  update = has[Beta] ? Update::Delta : has[Write] ? Update::Free : Update::Add;
}

std::string RecurrenceShape::variant() const {
  std::string name = plan::dtypeName(type);
  for (int64_t number : {heads, groups, width, valueWidth, chunk})
    name += "_" + std::to_string(number);
  for (double number : {scale, normaliser})
    name += "_" + llvm::utohexstr(llvm::bit_cast<uint64_t>(number));
  name += "_";
  for (bool isThere : has)
    name += isThere ? "1" : "0";
  return name;
}

std::vector<plan::LaunchArgument> RecurrenceShape::arguments() const {
  std::vector<plan::LaunchArgument> arguments;
  for (size_t operand = 0; operand < Count; ++operand)
    arguments.push_back(operandArgument(static_cast<int64_t>(first + operand)));
  return arguments;
}

RecurrenceSteps::RecurrenceSteps(const RecurrenceShape &shape, int64_t mostThreads, int64_t positions, bool hasGradient)
    : shape(shape), positions(positions), hasGradient(hasGradient) {
  auto wanted = static_cast<uint64_t>(llvm::divideCeil(shape.width, kRows));
  lanes = std::min(kWarp, static_cast<int64_t>(llvm::PowerOf2Ceil(wanted)));
  rows = llvm::divideCeil(shape.width, lanes);
  parts = llvm::divideCeil(shape.columns, mostThreads / lanes);
  // Whole warps.
  int64_t perWarp = kWarp / lanes;
  blockColumns = llvm::divideCeil(llvm::divideCeil(shape.columns, parts), perWarp) * perWarp;
  threads = blockColumns * lanes;
  auto take = [&](Staged vector, bool isThere, int64_t elements) {
    offsets[vector] = sharedElements;
    if (isThere)
      sharedElements += llvm::divideCeil(positions * elements, 4) * 4;
  };
  take(StagedQ, true, paddedWidth());
  take(StagedK, true, paddedWidth());
  take(StagedDecay, shape.hasDecay(), shape.has[RecurrenceShape::ChannelDecay] ? paddedWidth() : 1);
  take(StagedWrite, shape.has[RecurrenceShape::Write], paddedWidth());
  take(StagedErase, shape.has[RecurrenceShape::Erase], paddedWidth());
  take(StagedV, true, blockColumns);
  take(StagedDy, hasGradient, blockColumns);
  take(StagedBeta, shape.has[RecurrenceShape::Beta], 1);
}

void RecurrenceSteps::begin(KernelBuilder &kernel, unsigned firstPointer, Index length) {
  k = &kernel;
  this->firstPointer = firstPointer;
  this->length.emplace(length);
  batch.emplace(kernel.block(2));
  head.emplace(kernel.block(1));
  Index thread = kernel.thread();
  lane.emplace(thread % lanes);
  localColumn.emplace(thread / lanes);
  column.emplace(kernel.block(0) * blockColumns + *localColumn);
  if (shape.has[RecurrenceShape::HeadDecay])
    headDecay.emplace(exp(kernel.load(operand(RecurrenceShape::HeadDecay), *head)));
}

void RecurrenceSteps::stage(Index at, Index end, Value dy, int64_t dyWidth, plan::DType dyType) {
  // Loads of the first element stand in for those that there are not.
  auto fill = [&](Staged vector, int64_t elements, llvm::function_ref<Scalar(Index line, Index element)> value) {
    Value to = memory(vector);
    k->loop(k->thread(), k->integer(positions * elements), threads, [&](Index number) {
      Index position = at + number / elements;
      Scalar loaded = value(min(position, end - 1), number % elements);
      k->store(k->select(position < end, loaded, k->number(0)), to, number);
    });
  };
  auto fillRows = [&](Staged vector, RecurrenceShape::Operand from, bool isShared) {
    plan::DType type = isShared ? shape.type : plan::DType::F32;
    fill(vector, paddedWidth(), [&](Index position, Index row) {
      Index line = isShared ? (*batch * *length + position) * shape.groups + *head / (shape.heads / shape.groups)
                            : this->line(position);
      Value isThere = row < shape.width;
      Scalar value = k->load(operand(from), line * shape.width + k->select(isThere, row, k->integer(0)), type);
      if (vector == StagedDecay)
        value = exp(value);
      return k->select(isThere, value, k->number(0));
    });
  };
  auto fillColumns = [&](Staged vector, Value from, int64_t width, plan::DType type, bool hasOnes) {
    fill(vector, blockColumns, [&](Index position, Index local) {
      Index column = k->block(0) * blockColumns + local;
      Value isThere = column < width;
      Scalar value = k->load(from, line(position) * width + k->select(isThere, column, k->integer(0)), type);
      value = k->select(isThere, value, k->number(0));
      return hasOnes ? k->select(column == shape.valueWidth, k->number(1), value) : value;
    });
  };
  fillRows(StagedQ, RecurrenceShape::Q, true);
  fillRows(StagedK, RecurrenceShape::K, true);
  if (shape.has[RecurrenceShape::ChannelDecay])
    fillRows(StagedDecay, RecurrenceShape::ChannelDecay, false);
  if (shape.has[RecurrenceShape::Write]) {
    fillRows(StagedWrite, RecurrenceShape::Write, false);
    fillRows(StagedErase, RecurrenceShape::Erase, false);
  }
  fillColumns(StagedV, operand(RecurrenceShape::V), shape.valueWidth, shape.type, shape.normaliser != 0);
  if (hasGradient && dy)
    fillColumns(StagedDy, dy, dyWidth, dyType, false);
  if (shape.has[RecurrenceShape::Decay])
    fill(StagedDecay, 1,
         [&](Index position, Index) { return exp(k->load(operand(RecurrenceShape::Decay), line(position))); });
  if (shape.has[RecurrenceShape::Beta])
    fill(StagedBeta, 1, [&](Index position, Index) { return k->load(operand(RecurrenceShape::Beta), line(position)); });
}

Scalar RecurrenceSteps::decayOf(Index place, Index row) {
  if (headDecay)
    return *headDecay;
  return shape.has[RecurrenceShape::Decay] ? k->load(memory(StagedDecay), place) : ofRow(StagedDecay, place, row);
}

RecurrenceSteps::Carried RecurrenceSteps::rowsOf(Staged vector, Index place) {
  Carried values;
  for (int64_t i = 0; i < rows; ++i)
    values.push_back(ofRow(vector, place, row(i)));
  return values;
}

Scalar RecurrenceSteps::rowSum(ArrayRef<Scalar> a, ArrayRef<Scalar> b) {
  Scalar sum = a[0] * b[0];
  for (size_t i = 1; i < a.size(); ++i)
    sum = fma(a[i], b[i], sum);
  return k->laneSum(sum, lanes);
}

RecurrenceSteps::Step RecurrenceSteps::step(Index place, ArrayRef<Scalar> state) {
  Step result{Carried(state), {}, {}};
  if (shape.hasDecay())
    for (auto [i, value] : llvm::enumerate(result.decayed))
      value = value * decayOf(place, row(static_cast<int64_t>(i)));
  Carried keys = rowsOf(StagedK, place);
  Scalar value = ofColumn(StagedV, place, *localColumn);
  result.written.emplace(value);
  Carried next = result.decayed;
  if (shape.update == RecurrenceShape::Update::Delta) {
    result.written.emplace(value - rowSum(result.decayed, keys));
    value = betaOf(place) * *result.written;
  } else if (shape.update == RecurrenceShape::Update::Free) {
    result.written.emplace(rowSum(result.decayed, rowsOf(StagedErase, place)));
    for (auto [to, write] : llvm::zip_equal(next, rowsOf(StagedWrite, place)))
      to = fma(write, *result.written, to);
  }
  for (auto [to, key] : llvm::zip_equal(next, keys))
    to = fma(key, value, to);
  result.state = std::move(next);
  return result;
}

void RecurrenceSteps::visitRows(llvm::function_ref<void(size_t, Index)> visit) {
  for (int64_t i = 0; i < rows; ++i)
    k->onlyIf(k->both(row(i) < shape.width, *column < shape.columns),
              [&] { visit(static_cast<size_t>(i), row(i) * shape.columns + *column); });
}

RecurrenceSteps::Carried RecurrenceSteps::loadState(Value from, Index firstElement) {
  Carried state;
  for (int64_t i = 0; i < rows; ++i) {
    Value isThere = k->both(row(i) < shape.width, *column < shape.columns);
    // Where there is none, one of the block's own is read: the final state may lie in the place of the first, so that
    // other blocks' may be written by now.
    Index element = firstElement + min(row(i), k->integer(shape.width - 1)) * shape.columns +
                    min(*column, k->integer(shape.columns - 1));
    state.push_back(k->select(isThere, k->load(from, element), k->number(0)));
  }
  return state;
}

void RecurrenceSteps::storeState(ArrayRef<Scalar> state, Value to, Index firstElement) {
  visitRows([&](size_t i, Index element) { k->store(state[i], to, firstElement + element); });
}

RecurrenceSteps::Carried RecurrenceSteps::loadBonus() {
  Carried bonus;
  for (int64_t i = 0; i < rows; ++i) {
    Value isThere = row(i) < shape.width;
    Index element = *head * shape.width + k->select(isThere, row(i), k->integer(0));
    bonus.push_back(k->select(isThere, k->load(operand(RecurrenceShape::Bonus), element), k->number(0)));
  }
  return bonus;
}
