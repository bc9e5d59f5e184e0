// SPDX-License-Identifier: Apache-2.0
// What is of a chunk alone: a block has a chunk of a head. The triangular systems are solved in fp32: blocks of 16 by
// substitution, a thread a column, then pairs of blocks by products of their inverses, [I 0; L I]^-1 = [I 0; -L I].

#include "passes/lower/cuda/RecurrenceChunks.h"

using namespace mlir;
using namespace morph;

using Carried = KernelBuilder::Carried;
using Shape = RecurrenceShape;

namespace {
constexpr unsigned kScores = Shape::Count, kInverse = kScores + 1, kDecays = kScores + 2, kPointers = kScores + 3;
/// Rows of a triangular block that is solved by substitution.
constexpr int64_t kBlock = 16;

class ScoresKernel : public ChunkKernel {
public:
  explicit ScoresKernel(const Shape &shape)
      : ChunkKernel(shape, /*warps=*/4), keys(p.take(size, width)), queries(p.take(size, width)),
        system(p.takeSingle(size, size)), inverse(p.takeSingle(size, size)), decays(takeVector(size)),
        bonus(takeVector(size)) {}

  void build(KernelBuilder &kernel);

private:
  /// Of one of the matrices of scores: masks and decays what `sums` are, and calls visit(i, j, two of them).
  void decayed(ArrayRef<Scalar> sums, bool isStrict,
               llvm::function_ref<void(Index row, Index column, Scalar a, Scalar b)> visit);
  void loadBonus();
  void solve();

  SharedMatrix keys, queries, system, inverse;
  int64_t decays, bonus;
};

void ScoresKernel::decayed(ArrayRef<Scalar> sums, bool isStrict,
                           llvm::function_ref<void(Index row, Index column, Scalar a, Scalar b)> visit) {
  p.visitRows(size, size, [&](Index row, ArrayRef<size_t> numbers) {
    std::optional<Scalar> ofRow;
    if (shape.hasDecay())
      ofRow.emplace(vectorAt(decays, row));
    for (size_t number : numbers) {
      Index column = p.columnOf(size, size, number);
      Carried pair{sums[number], sums[number + 1]};
      for (auto [lane, value] : llvm::enumerate(pair)) {
        Index at = column + static_cast<int64_t>(lane);
        Value isSeen = isStrict ? at < row : at <= row;
        if (ofRow)
          value = value * exp(k->select(isSeen, *ofRow - vectorAt(decays, at), k->number(0)));
        value = k->select(isSeen, value, k->number(0));
      }
      visit(row, column, pair[0], pair[1]);
    }
  });
}

void ScoresKernel::loadBonus() {
  k->onlyIf(k->thread() < size, [&] {
    auto sum = k->loop(k->integer(0), k->integer(shape.width), 1, {k->number(0)}, [&](Index at, ArrayRef<Scalar> sums) {
      Scalar product = p.loadOne(queries, k->thread(), at) * p.loadOne(keys, k->thread(), at);
      return Carried{fma(product, k->load(k->pointer(Shape::Bonus), *head * shape.width + at), sums[0])};
    });
    k->store(sum[0], vector(bonus), k->thread());
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
  fillShared(queries, Shape::Q);
  if (shape.hasDecay()) {
    loadDecays(decays);
    k->onlyIf(k->thread() < size,
              [&] { k->store(vectorAt(decays, k->thread()), k->pointer(kDecays), ofChunks() * size + k->thread()); });
  }
  p.finishFills();
  k->barrier();
  if (shape.has[Shape::Bonus]) {
    loadBonus();
    k->barrier();
  }
  Index matrix = ofChunks() * (size * size);
  Carried scores = p.product(size, size, width, queries, ~Factor(keys), p.zeros(size, size));
  decayed(scores, /*isStrict=*/false, [&](Index row, Index column, Scalar a, Scalar b) {
    if (shape.has[Shape::Bonus]) {
      a = k->select(column == row, a + vectorAt(bonus, row), a);
      b = k->select(column + 1 == row, b + vectorAt(bonus, row), b);
    }
    k->storePacked({a * shape.scale, b * shape.scale}, k->pointer(kScores), matrix + row * size + column, shape.type);
  });
  if (shape.update != Shape::Update::Delta)
    return;
  scores = p.product(size, size, width, keys, ~Factor(keys), p.zeros(size, size));
  decayed(scores, /*isStrict=*/true, [&](Index row, Index column, Scalar a, Scalar b) {
    auto beta = [&](Index at) {
      Index position = min(*first + at, *end - 1);
      return k->load(k->pointer(Shape::Beta), line(position)); // Keys beyond the end are zero.
    };
    p.store({a * beta(column), b * beta(column + 1)}, system, row, column);
  });
  k->barrier();
  solve();
  k->barrier();
  constexpr int64_t lanes = 4;
  k->loop(k->thread(), k->integer(size * size / lanes), threads(), [&](Index number) {
    Index row = number / (size / lanes), column = number % (size / lanes) * lanes;
    Carried values = k->loadVector(p.place(inverse), row * inverse.stride() + column, lanes);
    // Above the diagonal blocks of substitution nothing was stored yet where there is but one pair of them.
    k->storePacked(values, k->pointer(kInverse), matrix + number * lanes, shape.type);
  });
}
} // namespace

ChunkScores morph::launchChunkScores(DeviceFormCall &call, const Shape &shape) {
  ScoresKernel scores(shape);
  const bool isDelta = shape.update == Shape::Update::Delta;
  ChunkScores result{takeOfChunks(call, shape, scores.size * scores.size, shape.type), operandArgument(0),
                     operandArgument(0)};
  if (isDelta)
    result.inverse = takeOfChunks(call, shape, scores.size * scores.size, shape.type);
  if (shape.hasDecay())
    result.decays = takeOfChunks(call, shape, scores.size, plan::DType::F32);
  std::string kernel = call.define("scores_" + shape.variant(), kPointers, /*sizes=*/1, scores.threads(),
                                   [&](KernelBuilder &k) { scores.build(k); });
  std::vector<plan::LaunchArgument> arguments = shape.arguments();
  arguments.insert(arguments.end(), {result.ofQueries, result.inverse, result.decays});
  arguments.push_back(sizeArgument(productOf(shape.length)));
  call.launch(kernel,
              {productOf(shape.length, 1, shape.chunk), plan::constantFormula(shape.heads), productOf(shape.batch)},
              scores.threads(), std::move(arguments), scores.sharedBytes());
  return result;
}
