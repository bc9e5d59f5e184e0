// SPDX-License-Identifier: Apache-2.0
#include "passes/lower/cuda/RecurrenceChunks.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace morph;

using Carried = KernelBuilder::Carried;
using Shape = RecurrenceShape;

/// The logarithm of a decay. Below -80 it is as good as no state at all, and held there differences of sums are exact
/// enough. Not a number stays that.
static Scalar heldDecay(KernelBuilder &k, Scalar logarithm) { return k.maximum(logarithm, k.number(-80)); }

static int64_t padTo32(int64_t n) { return (n + 31) / 32 * 32; }

/// Positions of a chunk.
static constexpr int64_t kMostPositions = 64;

bool morph::isChunked(Shape &shape, bool hasKeptStates) {
  if (!hasKeptStates)
    shape.chunk = std::min(shape.chunk, kMostPositions);
  const auto *positions = std::get_if<int64_t>(&shape.length);
  bool isShort = positions && *positions < std::min<int64_t>(shape.chunk, 16);
  bool hasPlainValues = !shape.normaliser && !shape.has[Shape::Bonus];
  if (isShort || shape.chunk > kMostPositions || shape.width > 128 || shape.update == Shape::Update::Free ||
      (shape.update == Shape::Update::Delta && !hasPlainValues))
    return false;
  return std::max({chunkScoresBytes(shape), chunkPassBytes(shape), chunkGradientsBytes(shape)}) <= kBlockSharedBytes;
}

plan::LaunchArgument morph::takeOfChunks(DeviceFormCall &call, const Shape &shape, int64_t elements, plan::DType type) {
  // B * ceil(T / chunk) is at most this.
  int64_t each = elements * (type == plan::DType::BF16 ? 2 : 4);
  int64_t bytes = static_cast<int64_t>(llvm::divideCeil(shape.heads * each, 256)) * 256;
  plan::SizeFormula size = productOf({shape.batch, shape.length}, 1, shape.chunk, bytes);
  return call.takeScratch(sumOf(size, productOf(shape.batch, 1, 1, bytes)));
}

static int64_t columnsOfTile(const Shape &shape) {
  return shape.type == plan::DType::BF16 ? std::min<int64_t>(64, padTo32(shape.columns)) : 32;
}

/// Eight warps, where the smallest product has a block of 16 x 16 for each.
static int64_t warpsOf(const Shape &shape) {
  bool isSmall = shape.chunk <= 32 || (padTo32(shape.width) % 64 != 0 && columnsOfTile(shape) < 64);
  return isSmall ? 4 : 8;
}

ChunkKernel::ChunkKernel(const Shape &shape)
    : shape(shape), size(padTo32(shape.chunk)), width(padTo32(shape.width)), tileColumns(columnsOfTile(shape)),
      p(shape.type, warpsOf(shape)) {}

void ChunkKernel::begin(KernelBuilder &kernel, Index head, Index batch) {
  k = &kernel;
  p.begin(kernel);
  this->head.emplace(head);
  this->batch.emplace(batch);
  length.emplace(kernel.size(0));
  chunks.emplace((*length + (shape.chunk - 1)) / shape.chunk);
}

void ChunkKernel::beginChunk(Index number) {
  chunk.emplace(number);
  first.emplace(number * shape.chunk);
  end.emplace(min(*first + shape.chunk, *length));
}

BlockProducts::Row ChunkKernel::place(Index row, int64_t rowWidth, bool isShared) {
  Index position = *first + row;
  Index number =
      isShared ? (*batch * *length + position) * shape.groups + *head / (shape.heads / shape.groups) : line(position);
  return {number * rowWidth, position < *end};
}

/// Running sums of what the lanes of a warp have one after another.
Carried ChunkKernel::scan(ArrayRef<Scalar> values) {
  Carried sums(values);
  for (size_t i = 1; i < sums.size(); ++i)
    sums[i] = sums[i - 1] + sums[i];
  Scalar all = sums.back(), before = k->number(0);
  Index lane = k->thread() % 32;
  for (int64_t distance = 1; distance < 32; distance *= 2) {
    Scalar other = k->partner(all, distance);
    before = k->select(lane / distance % 2 == 1, before + other, before);
    all = all + other;
  }
  for (Scalar &sum : sums)
    sum = before + sum;
  return sums;
}

void ChunkKernel::runningSums(int64_t to, bool isReversed) {
  k->onlyIf(k->thread() < 32, [&] {
    SmallVector<Index> places;
    Carried values;
    for (int64_t i = 0; i < lanePositions(); ++i) {
      Index at = k->thread() * lanePositions() + i;
      places.push_back(isReversed ? k->integer(size - 1) - at : at);
      values.push_back(vectorAt(to, places.back()));
    }
    for (auto [place, sum] : llvm::zip_equal(places, scan(values)))
      k->store(sum, vector(to), place);
  });
}

Carried ChunkKernel::loadDecays() {
  Carried values;
  for (int64_t i = 0; i < lanePositions(); ++i) {
    Index position = *first + k->thread() % 32 * lanePositions() + i;
    Scalar value = shape.has[Shape::HeadDecay] ? k->load(k->pointer(Shape::HeadDecay), *head)
                                               : k->load(k->pointer(Shape::Decay), line(min(position, *end - 1)));
    values.push_back(k->select(position < *end, heldDecay(*k, value), k->number(0)));
  }
  return values;
}

void ChunkKernel::storeRunningSums(ArrayRef<Scalar> values, int64_t to) {
  Carried sums = scan(values);
  k->onlyIf(k->thread() < 32, [&] {
    for (auto [i, sum] : llvm::enumerate(sums))
      k->store(sum, vector(to), k->thread() * lanePositions() + static_cast<int64_t>(i));
  });
}

void ChunkKernel::fillShared(const SharedMatrix &to, Shape::Operand from) {
  p.fill(to, k->pointer(from), shape.type, shape.width, {},
         [&](Index row) { return place(row, shape.width, /*isShared=*/true); });
}

void ChunkKernel::fillColumns(const SharedMatrix &to, Value from, plan::DType type, int64_t rowWidth, Index column,
                              BlockProducts::Change change) {
  p.fill(to, from, type, rowWidth, column, [&](Index row) { return place(row, rowWidth); }, change);
}

void ChunkKernel::fillValues(const SharedMatrix &to, Index column) {
  Value from = k->pointer(Shape::V);
  if (!shape.normaliser)
    return fillColumns(to, from, shape.type, shape.valueWidth, column);
  fillColumns(to, from, shape.type, shape.valueWidth, column, [&](Index row, Index at, MutableArrayRef<Scalar> values) {
    for (auto [lane, value] : llvm::enumerate(values)) {
      Value isOne = column + at + static_cast<int64_t>(lane) == shape.valueWidth;
      value = k->select(k->both(isOne, *first + row < *end), k->number(1), value);
    }
  });
}

void ChunkKernel::fillState(const SharedMatrix &to, Value from, plan::DType type, Index column, Index chunk) {
  Index state = ofChunks(chunk) * (shape.width * shape.columns);
  p.fill(to, from, type, shape.columns, column,
         [&](Index row) { return BlockProducts::Row(state + row * shape.columns, row < shape.width); });
}

void ChunkKernel::fillScores(const SharedMatrix &to, Value from) {
  Index matrix = ofChunks() * (size * size);
  p.fill(
      to, from, shape.type, size, {}, [&](Index row) { return BlockProducts::Row(matrix + row * size, row < size); },
      nullptr, /*isLower=*/true);
}

void ChunkKernel::storePair(Scalar a, Scalar b, Value to, Index element, Index column, int64_t rowWidth, Value isThere,
                            plan::DType type) {
  if (rowWidth % 2 == 0) {
    if (rowWidth % 32 != 0)
      isThere = k->both(isThere, column < rowWidth);
    k->onlyIf(isThere, [&] { k->storePacked({a, b}, to, element + column, type); });
    return;
  }
  k->onlyIf(k->both(isThere, column < rowWidth), [&] {
    k->store(a, to, element + column, type);
    k->onlyIf(column + 1 < rowWidth, [&] { k->store(b, to, element + column + 1, type); });
  });
}

void ChunkKernel::scaleRows(int64_t columns, Carried &sums, llvm::function_ref<Scalar(Index row)> factor) {
  p.visitRows(size, columns, [&](Index row, ArrayRef<size_t> numbers) {
    Scalar ofRow = factor(row);
    for (size_t number : numbers)
      for (size_t at : {number, number + 1})
        sums[at] = sums[at] * ofRow;
  });
}

void ChunkKernel::storeState(ArrayRef<Scalar> state, Value to, Index element, Index firstColumn, plan::DType type) {
  p.visit(width, tileColumns, [&](size_t number, Index row, Index column) {
    storePair(state[number], state[number + 1], to, element + row * shape.columns, firstColumn + column, shape.columns,
              row < shape.width, type);
  });
}

Scalar ChunkKernel::decayed(Scalar logarithm) {
  constexpr double log2OfE = 1.4426950408889634;
  return p.isHalf() ? k->exp2Approximate(logarithm * log2OfE) : exp(logarithm);
}

void ChunkKernel::visitSeen(ArrayRef<Scalar> sums, int64_t decays, bool isStrict,
                            llvm::function_ref<void(Index row, Index column, Carried &pair)> visit) {
  p.visitRows(size, size, [&](Index row, ArrayRef<size_t> numbers) {
    std::optional<Scalar> ofRow;
    if (hasRowDecay())
      ofRow.emplace(vectorAt(decays, row));
    for (size_t number : numbers) {
      Index column = p.columnOf(size, size, number);
      Carried pair(sums.slice(number, 2));
      for (auto [lane, value] : llvm::enumerate(pair)) {
        Index at = column + static_cast<int64_t>(lane);
        Value isSeen = isStrict ? at < row : at <= row;
        if (ofRow)
          value = value * decayed(k->select(isSeen, *ofRow - vectorAt(decays, at), k->number(0)));
        value = k->select(isSeen, value, k->number(0));
      }
      visit(row, column, pair);
    }
  });
}

Scalar ChunkKernel::loadBeta() {
  Index position = *first + min(k->thread(), k->integer(size - 1));
  Scalar beta = k->load(k->pointer(Shape::Beta), line(min(position, *end - 1)));
  return k->select(position < *end, beta, k->number(0));
}

void ChunkKernel::storeBeta(Scalar beta, int64_t to) {
  k->onlyIf(k->thread() < size, [&] { k->store(beta, vector(to), k->thread()); });
}

void ChunkKernel::decayRows(int64_t columns, Carried &sums, const SharedMatrix &logs, int64_t decays, bool isToEnd,
                            double factor) {
  if (!hasChannels()) {
    if (!hasRowDecay() && factor == 1)
      return;
    return scaleRows(columns, sums, [&](Index row) {
      if (!hasRowDecay())
        return k->number(factor);
      Scalar of = vectorAt(decays, row);
      return decayed(isToEnd ? vectorAt(decays, k->integer(size - 1)) - of : of) * factor;
    });
  }
  p.visit(size, columns, [&](size_t number, Index row, Index column) {
    for (int64_t lane = 0; lane < 2; ++lane) {
      Scalar of = p.loadOne(logs, row, column + lane);
      if (isToEnd)
        of = p.loadOne(logs, k->integer(size - 1), column + lane) - of;
      Scalar &sum = sums[number + static_cast<size_t>(lane)];
      sum = sum * decayed(of) * factor;
    }
  });
}

//===----------------------------------------------------------------------===//
// Decays of channels
//===----------------------------------------------------------------------===//

Value ChunkKernel::isOfLevel(Index row, Index column, Index level) {
  Value different = k->builder.create<arith::XOrIOp>(k->location, row.get(), column.get());
  Index highest = k->wrap(k->builder.create<arith::ShRUIOp>(k->location, different, level.get()));
  return k->both(highest == 1, column < row);
}

void ChunkKernel::loadChannelDecays(const SharedMatrix &to) {
  k->onlyIf(k->thread() < width, [&] {
    Index channel = k->thread();
    Value isChannel = channel < shape.width;
    k->loop(k->integer(0), k->integer(size), 1, {k->number(0)}, [&](Index row, ArrayRef<Scalar> before) {
      Index position = *first + row;
      Index element = line(min(position, *end - 1)) * shape.width + k->select(isChannel, channel, k->integer(0));
      Scalar value = heldDecay(*k, k->load(k->pointer(Shape::ChannelDecay), element));
      Scalar sum = before[0] + k->select(k->both(isChannel, position < *end), value, k->number(0));
      p.storeOne(sum, to, row, channel);
      return Carried{sum};
    });
  });
}

Scalar ChunkKernel::levelDecay(Index level, const SharedMatrix &logs, Index row, Index column) {
  Value one = k->integer(1).get();
  Value block = k->builder.create<arith::ShRUIOp>(k->location, row.get(), level.get());
  block = k->builder.create<arith::OrIOp>(k->location, block, one);
  Index middle = k->wrap(k->builder.create<arith::ShLIOp>(k->location, block, level.get()));
  return decayed(-abs(p.loadOne(logs, row, column) - p.loadOne(logs, middle - 1, column)));
}

void ChunkKernel::scaleLevel(Index level, const SharedMatrix &logs,
                             ArrayRef<std::pair<const SharedMatrix *, const SharedMatrix *>> fromTo) {
  const int64_t pairs = width / 2;
  k->loop(k->thread(), k->integer(size * pairs), threads(), [&](Index number) {
    Index row = number / pairs, column = number % pairs * 2;
    Scalar a = levelDecay(level, logs, row, column), b = levelDecay(level, logs, row, column + 1);
    for (auto [from, to] : fromTo) {
      auto [x, y] = p.load(*from, row, column);
      p.store({x * a, y * b}, *to, row, column);
    }
  });
}

Scalar ChunkKernel::diagonalFactor(Index channel) {
  Scalar own = k->number(hasChannels() ? 1 : 0);
  if (!shape.has[Shape::Bonus])
    return own;
  Index there = min(channel, k->integer(shape.width - 1)); // Keys beyond the width are zero.
  return own + k->load(k->pointer(Shape::Bonus), *head * shape.width + there);
}
