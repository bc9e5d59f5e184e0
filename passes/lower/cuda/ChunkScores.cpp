// SPDX-License-Identifier: Apache-2.0
// What is of a chunk alone: a block has a chunk of a head. The triangular systems are solved in fp32: blocks of 16 by
// substitution, a thread a column, then pairs of blocks by products of their inverses, [I 0; L I]^-1 = [I 0; -L I].

#include "passes/lower/cuda/RecurrenceChunks.h"

using namespace mlir;
using namespace morph;

using Carried = KernelBuilder::Carried;
using Shape = RecurrenceShape;

namespace {
/// Rows of a triangular block that is solved by substitution.
constexpr int64_t kBlock = 16;

class ScoresKernel : public ChunkKernel {
public:
  explicit ScoresKernel(const Shape &shape)
      : ChunkKernel(shape), isDelta(shape.update == Shape::Update::Delta), keys(p.take(size, width)),
        queries(hasOwnScores() ? keys : p.take(size, width)), decays(takeVector(size)), diagonal(takeVector(size)) {
    if (hasChannels())
      logs = p.takeSingle(size, width), levelKeys = p.take(size, width), levelQueries = p.take(size, width);
    if (isDelta)
      system = p.takeSingle(size, size), inverse = p.takeSingle(size, size);
  }

  void build(KernelBuilder &kernel);

private:
  void storeDiagonal();
  void storeChannels();
  /// Products of channels that decay each by itself, in levels: of queries, then of keys.
  Carried addLevels(ArrayRef<Scalar> start);
  void storeScores(ArrayRef<Scalar> sums);
  void storeSystem(ArrayRef<Scalar> sums);
  void solve();

  /// Whether an element is not of a block above the diagonal.
  static Value isStored(Index row, Index column) {
    return column / BlockProducts::kTriangleSide <= row / BlockProducts::kTriangleSide;
  }

  bool isDelta;
  SharedMatrix keys, queries, logs, levelKeys, levelQueries, system, inverse;
  int64_t decays, diagonal;
};

/// Of each position the product of its own query and key, as far as it is not in the scores.
void ScoresKernel::storeDiagonal() {
  const int64_t parts = threads() / size;
  Index row = k->thread() / parts;
  auto sum = k->loop(k->thread() % parts * 2, k->integer(width), 2 * parts, {k->number(0)},
                     [&](Index at, ArrayRef<Scalar> sums) {
                       auto [a, b] = p.load(queries, row, at);
                       auto [c, d] = p.load(keys, row, at);
                       return Carried{fma(a * c, diagonalFactor(at), fma(b * d, diagonalFactor(at + 1), sums[0]))};
                     });
  Scalar total = k->laneSum(sum[0], parts);
  k->onlyIf(k->thread() % parts == 0, [&] { k->store(total, vector(diagonal), row); });
}

/// What the passes have of channels that decay each by itself.
void ScoresKernel::storeChannels() {
  k->onlyIf(k->thread() < width, [&] {
    k->store(p.loadOne(logs, k->integer(size - 1), k->thread()), k->pointer(kDecays), ofChunks() * width + k->thread());
  });
  constexpr int64_t lanes = 4;
  Index matrix = ofChunks() * (size * width);
  k->loop(k->thread(), k->integer(size * width / lanes), threads(), [&](Index number) {
    Index row = number / (width / lanes), column = number % (width / lanes) * lanes;
    Carried query, readKey, writtenKey;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      Index at = column + lane;
      Scalar log = p.loadOne(logs, row, at), fromStart = decayed(log);
      query.push_back(p.loadOne(queries, row, at) * fromStart);
      Scalar key = p.loadOne(keys, row, at);
      readKey.push_back(key * fromStart);
      writtenKey.push_back(key * decayed(p.loadOne(logs, k->integer(size - 1), at) - log));
    }
    Index element = matrix + number * lanes;
    k->storePacked(query, k->pointer(kQueries), element, shape.type);
    if (isDelta)
      k->storePacked(readKey, k->pointer(kReadKeys), element, shape.type);
    k->storePacked(writtenKey, k->pointer(kWrittenKeys), element, shape.type);
  });
}

Carried ScoresKernel::addLevels(ArrayRef<Scalar> start) {
  return k->loop(k->integer(0), k->integer(levels()), 1, start, [&](Index level, ArrayRef<Scalar> before) {
    k->barrier();
    scaleLevel(level, logs, {{&keys, &levelKeys}, {&queries, &levelQueries}});
    k->barrier();
    Carried next(before);
    auto add = [&](const SharedMatrix &rows, size_t from) {
      Carried sums = p.product(size, size, width, rows, ~Factor(levelKeys), p.zeros(size, size));
      p.visit(size, size, [&](size_t number, Index row, Index column) {
        for (size_t lane = 0; lane < 2; ++lane) {
          Value isThere = isOfLevel(row, column + static_cast<int64_t>(lane), level);
          Scalar &sum = next[from + number + lane];
          sum = k->select(isThere, sums[number + lane], sum);
        }
      });
    };
    add(levelQueries, 0);
    if (isDelta)
      add(levelKeys, next.size() / 2);
    return next;
  });
}

void ScoresKernel::storeScores(ArrayRef<Scalar> sums) {
  Index matrix = ofChunks() * (size * size);
  visitSeen(sums, decays, /*isStrict=*/false, [&](Index row, Index column, Carried &pair) {
    for (auto [lane, value] : llvm::enumerate(pair)) {
      if (hasDiagonal())
        value = k->select(column + static_cast<int64_t>(lane) == row, value + vectorAt(diagonal, row), value);
      value = value * shape.scale;
    }
    k->onlyIf(isStored(row, column),
              [&] { k->storePacked(pair, k->pointer(kScores), matrix + row * size + column, shape.type); });
  });
}

void ScoresKernel::storeSystem(ArrayRef<Scalar> sums) {
  auto beta = [&](Index at) { // Keys beyond the end are zero.
    return k->load(k->pointer(Shape::Beta), line(min(*first + at, *end - 1)));
  };
  visitSeen(sums, decays, /*isStrict=*/true, [&](Index row, Index column, Carried &pair) {
    p.store({pair[0] * beta(column), pair[1] * beta(column + 1)}, system, row, column);
  });
}

void ScoresKernel::solve() {
  auto element = [&](Index row, Index column) { return row * system.stride() + column; };
  Value of = p.place(system), to = p.place(inverse);
  k->onlyIf(k->thread() < size, [&] {
    Index block = k->thread() / kBlock * kBlock, column = k->thread() % kBlock;
    Carried x;
    for (int64_t i = 0; i < kBlock; ++i) {
      Scalar sum = k->select(column == i, k->number(1), k->number(0));
      for (int64_t j = 0; j < i; ++j)
        sum = fma(-k->load(of, element(block + i, block + j)), x[static_cast<size_t>(j)], sum);
      x.push_back(sum);
      k->store(sum, to, element(block + i, block + column));
    }
  });
  for (int64_t side = kBlock; side < size; side *= 2) {
    const int64_t each = size / 2 * side / threads();
    // The product below the diagonal of two blocks, first of L and the inverse above, at whose right it is put, then of
    // this and the inverse below.
    auto multiply = [&](bool isSecond) {
      k->barrier();
      SmallVector<Index> rows, columns;
      for (int64_t n = 0; n < each; ++n) {
        Index at = k->thread() + n * threads(), pair = at / (side * side) * (2 * side);
        rows.push_back(pair + at / side % side);
        columns.push_back(pair + at % side);
      }
      Carried sums = k->loop(k->integer(0), k->integer(side), 1, Carried(static_cast<size_t>(each), k->number(0)),
                             [&](Index at, ArrayRef<Scalar> before) {
                               Carried next(before);
                               for (size_t n = 0; n < next.size(); ++n) {
                                 Index pair = rows[n] / (2 * side) * (2 * side) + at;
                                 Scalar a = isSecond ? k->load(to, element(rows[n] + side, pair + side))
                                                     : k->load(of, element(rows[n] + side, pair));
                                 Scalar b = k->load(to, element(pair, columns[n] + (isSecond ? side : 0)));
                                 next[n] = fma(a, b, next[n]);
                               }
                               return next;
                             });
      if (isSecond)
        k->barrier();
      for (size_t n = 0; n < sums.size(); ++n) {
        if (isSecond)
          k->store(-sums[n], to, element(rows[n] + side, columns[n]));
        k->store(isSecond ? k->number(0) : sums[n], to, element(rows[n], columns[n] + side));
      }
    };
    multiply(false);
    multiply(true);
  }
}

void ScoresKernel::build(KernelBuilder &kernel) {
  begin(kernel, kernel.block(1), kernel.block(2));
  beginChunk(kernel.block(0));
  fillShared(keys, Shape::K);
  if (!hasOwnScores())
    fillShared(queries, Shape::Q);
  if (hasRowDecay())
    storeRunningSums(loadDecays(), decays);
  if (hasChannels())
    loadChannelDecays(logs);
  p.finishFills();
  k->barrier();
  if (hasDiagonal()) {
    storeDiagonal();
    k->barrier();
  }
  if (hasChannels()) {
    storeChannels();
    Carried zeros(p.zeros(size, isDelta ? 2 * size : size));
    Carried all = addLevels(zeros);
    storeScores(ArrayRef(all).take_front(all.size() / (isDelta ? 2 : 1)));
    if (isDelta)
      storeSystem(ArrayRef(all).drop_front(all.size() / 2));
  } else {
    if (!hasOwnScores())
      storeScores(p.product(size, size, width, queries, ~Factor(keys), p.zeros(size, size)));
    if (isDelta)
      storeSystem(p.product(size, size, width, keys, ~Factor(keys), p.zeros(size, size)));
  }
  if (!isDelta)
    return;
  k->barrier();
  solve();
  k->barrier();
  constexpr int64_t lanes = 4;
  Index matrix = ofChunks() * (size * size);
  k->loop(k->thread(), k->integer(size * size / lanes), threads(), [&](Index number) {
    Index row = number / (size / lanes), column = number % (size / lanes) * lanes;
    k->onlyIf(isStored(row, column), [&] {
      Carried values = k->loadVector(p.place(inverse), row * inverse.stride() + column, lanes);
      k->storePacked(values, k->pointer(kInverse), matrix + number * lanes, shape.type);
    });
  });
}
} // namespace

int64_t morph::chunkScoresBytes(const Shape &shape) { return ScoresKernel(shape).sharedBytes(); }

ChunkScores morph::launchChunkScores(DeviceFormCall &call, const Shape &shape) {
  ScoresKernel scores(shape);
  const int64_t square = scores.size * scores.size, rows = scores.size * scores.width;
  auto take = [&](bool isThere, int64_t elements, plan::DType type) {
    return isThere ? takeOfChunks(call, shape, elements, type) : operandArgument(static_cast<int64_t>(shape.first));
  };
  const bool isDelta = shape.update == Shape::Update::Delta, hasChannels = scores.hasChannels();
  ChunkScores result;
  result.ofQueries = take(!scores.hasOwnScores(), square, shape.type);
  result.inverse = take(isDelta, square, shape.type);
  result.decays = take(hasChannels, scores.width, plan::DType::F32);
  result.queries = take(hasChannels, rows, shape.type);
  result.readKeys = take(hasChannels && isDelta, rows, shape.type);
  result.writtenKeys = take(hasChannels, rows, shape.type);
  if (scores.hasOwnScores() && !isDelta)
    return result;
  std::string kernel = call.define("scores_" + shape.variant(), ChunkKernel::kOwn, /*sizes=*/1, scores.threads(),
                                   [&](KernelBuilder &k) { scores.build(k); });
  std::vector<plan::LaunchArgument> arguments = shape.arguments();
  arguments.insert(arguments.end(), {result.ofQueries, result.inverse, result.decays, result.queries, result.readKeys,
                                     result.writtenKeys, sizeArgument(productOf(shape.length))});
  call.launch(kernel,
              {productOf(shape.length, 1, shape.chunk), plan::constantFormula(shape.heads), productOf(shape.batch)},
              scores.threads(), std::move(arguments), scores.sharedBytes());
  return result;
}
