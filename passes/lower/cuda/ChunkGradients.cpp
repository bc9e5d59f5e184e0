// SPDX-License-Identifier: Apache-2.0
// The gradients of a chunk once the states' and their gradients at its ends are known: a block has a chunk of a head,
// all its columns, tile by tile. Of the delta rule E is what is written, X the gradient of v; else E is V.

#include "passes/lower/cuda/RecurrenceChunks.h"

using namespace mlir;
using namespace morph;

using Carried = KernelBuilder::Carried;
using Shape = RecurrenceShape;

namespace {
constexpr unsigned kDy = Shape::Count, kStates = kDy + 1, kDStates = kDy + 2, kDv = kDy + 3, kWritten = kDy + 4,
                   kDq = kDy + 5, kDk = kDy + 6, kDDecay = kDy + 7, kDBeta = kDy + 8, kDBonus = kDy + 9,
                   kPointers = kDy + 10;

class GradientsKernel : public ChunkKernel {
public:
  GradientsKernel(const Shape &shape, const ChunkGradients &gradients)
      : ChunkKernel(shape, shape.chunk > 32 ? 8 : 4), of(gradients), isDelta(shape.update == Shape::Update::Delta),
        keys(p.take(size, width)), queries(p.take(size, width)) {
    const int64_t mark = p.mark();
    state = p.take(width, tileColumns), dState = p.take(width, tileColumns), dy = p.take(size, tileColumns);
    written = p.take(size, tileColumns), dv = isDelta ? p.take(size, tileColumns) : written;
    p.release(mark);
    dScores = p.take(size, size), dSystem = isDelta ? p.take(size, size) : dScores;
    products = isDelta ? p.takeSingle(size, size) : SharedMatrix();
    for (int64_t *vector : {&decays, &betas, &diagonal, &gradient})
      *vector = takeVector(size);
    // Sums over rows, of each warp beside another.
    sums = takeVector(2 * size * p.columnParts(size));
  }

  void build(KernelBuilder &kernel);

private:
  /// What is summed up over the tiles of columns.
  struct Sums {
    Carried dyState, dvState, writtenDState; ///< dO S^T, X S^T and E R^T [C,K].
    Carried dyWritten, dvWritten;            ///< dO E^T and X E^T [C,C].
    Scalar states;                           ///< This thread's part of the sum of S * R.
  };
  Carried flatten(const Sums &sums) const;
  Sums unflatten(ArrayRef<Scalar> all);
  Sums addTile(Index column, Sums sums);
  Scalar decayBetween(const std::optional<Scalar> &ofRow, Index row, Index column, bool isStrict);
  void storeScores(const Sums &sums);
  /// The sum over columns of a times what a matrix has there, of each row, into half `number` of `sums`.
  void storeRowSums(ArrayRef<Scalar> a, int64_t number, llvm::function_ref<Scalar(size_t, Index, Index)> other);
  Scalar rowSum(int64_t number, Index row);

  const ChunkGradients &of;
  bool isDelta;
  SharedMatrix keys, queries, state, dState, dy, written, dv, dScores, dSystem, products;
  int64_t decays, betas, diagonal, gradient, sums;
};

Carried GradientsKernel::flatten(const Sums &s) const {
  Carried all{s.states};
  for (const Carried *part : {&s.dyState, &s.writtenDState, &s.dyWritten, &s.dvState, &s.dvWritten})
    all.append(part->begin(), part->end());
  return all;
}

GradientsKernel::Sums GradientsKernel::unflatten(ArrayRef<Scalar> all) {
  Sums s{{}, {}, {}, {}, {}, all.front()};
  all = all.drop_front();
  auto take = [&](Carried &part, int64_t columns) {
    auto count = static_cast<size_t>(size * columns / threads());
    part.assign(all.begin(), all.begin() + count);
    all = all.drop_front(count);
  };
  take(s.dyState, width), take(s.writtenDState, width), take(s.dyWritten, size);
  if (isDelta)
    take(s.dvState, width), take(s.dvWritten, size);
  return s;
}

GradientsKernel::Sums GradientsKernel::addTile(Index column, Sums s) {
  k->barrier();
  fillState(state, k->pointer(kStates), of.statesType, column);
  fillState(dState, k->pointer(kDStates), shape.type, column);
  fillColumns(dy, k->pointer(kDy), of.dyType, shape.columns, column);
  if (isDelta) {
    fillColumns(written, k->pointer(kWritten), of.writtenType, shape.columns, column);
    fillColumns(dv, k->pointer(kDv), plan::DType::F32, shape.valueWidth, column);
  } else {
    fillValues(written, column);
  }
  p.finishFills();
  k->barrier();
  s.dyState = p.product(size, width, tileColumns, dy, ~Factor(state), s.dyState);
  s.writtenDState = p.product(size, width, tileColumns, written, ~Factor(dState), s.writtenDState);
  s.dyWritten = p.product(size, size, tileColumns, dy, ~Factor(written), s.dyWritten);
  if (isDelta) {
    s.dvState = p.product(size, width, tileColumns, dv, ~Factor(state), s.dvState);
    s.dvWritten = p.product(size, size, tileColumns, dv, ~Factor(written), s.dvWritten);
  }
  if (shape.hasDecay()) {
    auto sum = k->loop(k->thread(), k->integer(width * tileColumns / 2), threads(), {s.states},
                       [&](Index number, ArrayRef<Scalar> sums) {
                         Index row = number / (tileColumns / 2), at = number % (tileColumns / 2) * 2;
                         auto [a, b] = p.load(state, row, at);
                         auto [c, d] = p.load(dState, row, at);
                         return Carried{fma(a, c, fma(b, d, sums[0]))};
                       });
    s.states = sum[0];
  }
  return s;
}

/// What decays from column to row, of a column that the row sees, and zero else.
Scalar GradientsKernel::decayBetween(const std::optional<Scalar> &ofRow, Index row, Index column, bool isStrict) {
  Value isSeen = isStrict ? column < row : column <= row;
  Scalar factor = k->select(isSeen, k->number(1), k->number(0));
  return ofRow ? factor * exp(k->select(isSeen, *ofRow - vectorAt(decays, column), k->number(0))) : factor;
}

/// The gradients of scores, decayed, and what the decays' and beta's have of them.
void GradientsKernel::storeScores(const Sums &s) {
  // One after the other, so that registers suffice.
  auto storeOf = [&](bool isOfKeys, ArrayRef<Scalar> gradients, const SharedMatrix &to) {
    Carried scores;
    if (isDelta)
      scores = p.product(size, size, width, isOfKeys ? keys : queries, ~Factor(keys), p.zeros(size, size));
    p.visitRows(size, size, [&](Index row, ArrayRef<size_t> numbers) {
      std::optional<Scalar> ofRow;
      if (shape.hasDecay())
        ofRow.emplace(vectorAt(decays, row));
      for (size_t number : numbers) {
        Index column = p.columnOf(size, size, number);
        Carried values, terms;
        for (size_t lane = 0; lane < 2; ++lane) {
          Index at = column + static_cast<int64_t>(lane);
          size_t n = number + lane;
          Scalar value = decayBetween(ofRow, row, at, isOfKeys) * gradients[n] * (isOfKeys ? -1 : shape.scale);
          if (shape.has[Shape::Bonus])
            k->onlyIf(at == row, [&] { k->store(value, vector(diagonal), row); });
          if (isDelta) {
            terms.push_back(value * scores[n]);
            value = value * vectorAt(betas, at);
          }
          values.push_back(value);
        }
        p.store({values[0], values[1]}, to, row, column);
        if (!isDelta)
          continue;
        if (isOfKeys) {
          auto [a, b] = p.load(products, row, column);
          terms = {terms[0] + a, terms[1] + b};
        }
        p.store({terms[0], terms[1]}, products, row, column);
      }
    });
  };
  storeOf(/*isOfKeys=*/false, s.dyWritten, dScores);
  if (isDelta)
    storeOf(/*isOfKeys=*/true, s.dvWritten, dSystem);
}

void GradientsKernel::storeRowSums(ArrayRef<Scalar> a, int64_t number,
                                   llvm::function_ref<Scalar(size_t, Index, Index)> other) {
  p.visitRows(size, width, [&](Index row, ArrayRef<size_t> numbers) {
    Scalar sum = k->number(0);
    for (size_t n : numbers) {
      Index column = p.columnOf(size, width, n);
      for (int64_t lane = 0; lane < 2; ++lane) {
        size_t at = n + static_cast<size_t>(lane);
        sum = fma(a[at], other(at, row, column + lane), sum);
      }
    }
    sum = p.rowSum(sum);
    k->onlyIf(k->thread() % p.lanesOfRow() == 0,
              [&] { k->store(sum, vector(sums), (p.columnPart(size) + number * p.columnParts(size)) * size + row); });
  });
}

Scalar GradientsKernel::rowSum(int64_t number, Index row) {
  Scalar sum = k->number(0);
  for (int64_t part = 0; part < p.columnParts(size); ++part)
    sum = sum + vectorAt(sums, row + (number * p.columnParts(size) + part) * size);
  return sum;
}

void GradientsKernel::build(KernelBuilder &kernel) {
  begin(kernel, kernel.block(1), kernel.block(2));
  beginChunk(kernel.block(0));
  fillShared(keys, Shape::K);
  fillShared(queries, Shape::Q);
  if (isDelta)
    k->onlyIf(k->thread() < size, [&] {
      Index position = *first + k->thread();
      Scalar beta = k->load(k->pointer(Shape::Beta), line(min(position, *end - 1)));
      k->store(k->select(position < *end, beta, k->number(0)), vector(betas), k->thread());
    });
  if (shape.hasDecay())
    loadDecays(decays);
  Scalar zero = k->number(0);
  Sums start{p.zeros(size, width), {}, p.zeros(size, width), p.zeros(size, size), {}, zero};
  if (isDelta)
    start.dvState = p.zeros(size, width), start.dvWritten = p.zeros(size, size);
  const int64_t tiles = llvm::divideCeil(shape.columns, tileColumns);
  Sums s =
      unflatten(k->loop(k->integer(0), k->integer(tiles), 1, flatten(start), [&](Index tile, ArrayRef<Scalar> all) {
        return flatten(addTile(tile * tileColumns, unflatten(all)));
      }));
  k->barrier();
  storeScores(s);
  k->barrier();

  Scalar all = shape.hasDecay() ? vectorAt(decays, k->integer(size - 1)) : zero;
  auto fromStart = [&](Index row) { return shape.hasDecay() ? exp(vectorAt(decays, row)) : k->number(1); };
  auto toEnd = [&](Index row) { return shape.hasDecay() ? decay(all, vectorAt(decays, row)) : k->number(1); };
  const bool hasDiagonal = shape.has[Shape::Bonus];

  // What is written under the keys, and what the chunk's last decay has of it.
  Carried dKeys = s.writtenDState;
  scaleRows(width, dKeys, toEnd);
  auto keyAt = [&](size_t, Index row, Index column) { return p.loadOne(keys, row, column); };
  if (shape.hasDecay() || isDelta) {
    storeRowSums(dKeys, 0, keyAt);
    k->barrier();
    k->onlyIf(k->thread() < size, [&] {
      Scalar ofKey = rowSum(0, k->thread());
      if (isDelta) {
        auto column = k->loop(k->thread(), k->integer(size), 1, {ofKey}, [&](Index row, ArrayRef<Scalar> sum) {
          return Carried{sum[0] + p.loadOne(products, row, k->thread())};
        });
        k->onlyIf(k->thread() < positions(),
                  [&] { k->store(column[0], k->pointer(kDBeta), line(*first + k->thread())); });
        ofKey = ofKey * vectorAt(betas, k->thread());
      }
      k->store(ofKey, vector(gradient), k->thread());
    });
  }
  std::optional<Scalar> ofLast;
  if (shape.hasDecay()) {
    // blockSum has barriers of its own.
    Scalar states = k->blockSum(s.states) * exp(all);
    auto sum = k->loop(k->integer(0), k->integer(size), 1, {states},
                       [&](Index row, ArrayRef<Scalar> sums) { return Carried{sums[0] + vectorAt(gradient, row)}; });
    ofLast.emplace(sum[0]);
  }
  if (isDelta)
    scaleRows(width, dKeys, [&](Index row) { return vectorAt(betas, row); });
  dKeys = p.product(size, width, size, ~Factor(dScores), queries, dKeys);
  if (isDelta)
    dKeys = p.product(size, width, size, ~Factor(dSystem), keys, dKeys);
  // c's gradients: what reads the state less what is written.
  Carried dRead;
  if (isDelta) {
    dRead = s.dvState;
    scaleRows(width, dRead, [&](Index row) { return -fromStart(row); });
    dRead = p.product(size, width, size, dSystem, keys, dRead);
  }
  if (shape.hasDecay()) {
    Carried difference;
    for (size_t n = 0; n < dKeys.size(); ++n)
      difference.push_back(isDelta ? dRead[n] - dKeys[n] : -dKeys[n]);
    k->barrier();
    storeRowSums(difference, 0, keyAt);
  }
  auto bonusOf = [&](Index column) {
    return k->load(k->pointer(Shape::Bonus), *head * shape.width + min(column, k->integer(shape.width - 1)));
  };
  // The gradient of one of two factors on the diagonal, where the other is `other`.
  auto ofDiagonal = [&](const SharedMatrix &other, Index row, Index column) {
    return vectorAt(diagonal, row) * bonusOf(column) * p.loadOne(other, row, column);
  };
  auto storeRows = [&](ArrayRef<Scalar> values, unsigned pointer, const SharedMatrix &other) {
    p.visitRows(size, width, [&](Index row, ArrayRef<size_t> numbers) {
      auto [element, isThere] = place(row, shape.width);
      for (size_t n : numbers) {
        Index column = p.columnOf(size, width, n);
        Scalar a = values[n], b = values[n + 1];
        if (hasDiagonal)
          a = a + ofDiagonal(other, row, column), b = b + ofDiagonal(other, row, column + 1);
        storePair(a, b, k->pointer(pointer), element, column, shape.width, isThere, plan::DType::F32);
      }
    });
  };
  if (isDelta)
    for (auto [to, read] : llvm::zip_equal(dKeys, dRead))
      to = to + read;
  storeRows(dKeys, kDk, queries);
  Carried dQueries = s.dyState;
  scaleRows(width, dQueries, [&](Index row) { return fromStart(row) * shape.scale; });
  dQueries = p.product(size, width, size, dScores, keys, dQueries);
  if (shape.hasDecay())
    storeRowSums(dQueries, 1, [&](size_t, Index row, Index column) { return p.loadOne(queries, row, column); });
  storeRows(dQueries, kDq, keys);
  if (hasDiagonal)
    p.visitRows(size, width, [&](Index row, ArrayRef<size_t> numbers) {
      auto [element, isThere] = place(row, shape.width);
      Scalar ofRow = vectorAt(diagonal, row);
      for (size_t n : numbers) {
        Index column = p.columnOf(size, width, n);
        auto [a, b] = p.load(queries, row, column);
        auto [c, d] = p.load(keys, row, column);
        storePair(ofRow * a * c, ofRow * b * d, k->pointer(kDBonus), element, column, shape.width, isThere,
                  plan::DType::F32);
      }
    });
  if (!shape.hasDecay())
    return;
  k->barrier();
  k->onlyIf(k->thread() < size, [&] {
    Scalar sum = rowSum(0, k->thread()) + rowSum(1, k->thread());
    k->store(k->select(k->thread() == size - 1, sum + *ofLast, sum), vector(gradient), k->thread());
  });
  runningSums(gradient, /*isReversed=*/true);
  k->onlyIf(k->thread() < positions(),
            [&] { k->store(vectorAt(gradient, k->thread()), k->pointer(kDDecay), line(*first + k->thread())); });
}
} // namespace

void morph::launchChunkGradients(DeviceFormCall &call, const Shape &shape, const ChunkGradients &gradients) {
  GradientsKernel kernel(shape, gradients);
  std::string name = "gradients_" + shape.variant();
  for (plan::DType type : {gradients.dyType, gradients.statesType, gradients.writtenType})
    name += std::string("_") + plan::dtypeName(type);
  name = call.define(name, kPointers, /*sizes=*/1, kernel.threads(), [&](KernelBuilder &k) { kernel.build(k); });
  std::vector<plan::LaunchArgument> arguments = shape.arguments();
  const plan::LaunchArgument &none = gradients.dy;
  arguments.insert(arguments.end(),
                   {gradients.dy, gradients.states, gradients.dStates, gradients.dv, gradients.written.value_or(none),
                    gradients.dq, gradients.dk, gradients.dDecay.value_or(none), gradients.dBeta.value_or(none),
                    gradients.dBonus.value_or(none), sizeArgument(productOf(shape.length))});
  call.launch(name,
              {productOf(shape.length, 1, shape.chunk), plan::constantFormula(shape.heads), productOf(shape.batch)},
              kernel.threads(), std::move(arguments), kernel.sharedBytes());
}
