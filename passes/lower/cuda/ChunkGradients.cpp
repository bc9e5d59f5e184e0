// SPDX-License-Identifier: Apache-2.0
// The gradients of a chunk once the states' and their gradients at its ends are known: a block has a chunk of a head,
// all its columns, tile by tile. Of the delta rule E is what is written and X the gradient of v; else E is V.
// The gradients of what reads the state and of what is written are products of the same rounded matrix, which has beta:
// the gradient of decays is a long sum of their differences, in which two roundings of one number would not cancel. So
// the gradient of beta is one of what is written, divided by beta.

#include "passes/lower/cuda/RecurrenceChunks.h"

using namespace mlir;
using namespace morph;

using Carried = KernelBuilder::Carried;
using Shape = RecurrenceShape;

namespace {
constexpr unsigned kDy = Shape::Count, kStates = kDy + 1, kDStates = kDy + 2, kDv = kDy + 3, kWritten = kDy + 4,
                   kDq = kDy + 5, kDk = kDy + 6, kDDecay = kDy + 7, kDBeta = kDy + 8, kDBonus = kDy + 9,
                   kPointers = kDy + 10;

/// A smaller beta counts as this, by which its gradient can be divided: nothing beside what a number is rounded by.
constexpr double kLeastBeta = 1e-18;

class GradientsKernel : public ChunkKernel {
public:
  GradientsKernel(const Shape &shape, const ChunkGradients &gradients)
      : ChunkKernel(shape), of(gradients), isDelta(shape.update == Shape::Update::Delta), keys(p.take(size, width)),
        queries(p.take(size, width)) {
    if (hasChannels())
      logs = p.takeSingle(size, width);
    const int64_t mark = p.mark();
    state = p.take(width, tileColumns), dState = p.take(width, tileColumns), dy = p.take(size, tileColumns);
    written = p.take(size, tileColumns), dv = isDelta ? p.take(size, tileColumns) : written;
    p.release(mark);
    if (hasChannels())
      ofWritten = p.takeSingle(size, width);
    p.release(mark);
    for (bool isOfKeys : {false, true}) {
      if (isOfKeys && !isDelta)
        continue;
      Scores &to = isOfKeys ? ofKeys : ofQueries;
      to.matrix = p.take(size, size);
      if (takesScores())
        to.ofAll = p.take(size, size);
    }
    levelKeys = hasChannels() ? p.take(size, width) : keys;
    levelQueries = hasChannels() ? p.take(size, width) : queries;
    for (int64_t *vector : {&decays, &betas, &diagonal, &gradient})
      *vector = takeVector(size);
    ofLast = takeVector(width);
    // Sums over rows, of each warp beside another.
    sums = takeVector(2 * size * p.columnParts(size));
  }

  void build(KernelBuilder &kernel);

private:
  /// What is summed up over the tiles of columns.
  struct Sums {
    Carried dyState, dvState, writtenDState; ///< dO S^T, X S^T and E R^T [C,K].
    Carried dyWritten, dvWritten;            ///< dO E^T and X E^T [C,C].
    Scalar states;                           ///< This thread's part of the sum of S * R, of one row or of all.
  };
  /// Gradients of scores in shared memory.
  struct Scores {
    SharedMatrix matrix;
    SharedMatrix ofAll; ///< As they are summed up, where levels take them from there.
  };
  /// Gradients [C,K]: of what reads the state, and of what is written, times beta.
  struct Rows {
    Carried queries, readKeys, writtenKeys;
  };
  /// Whether levels take sums of scores from shared memory, because registers do not suffice; of fp32 that does not.
  bool takesScores() const { return hasChannels() && isDelta && p.isHalf(); }
  static Carried flatten(ArrayRef<const Carried *> parts);
  SmallVector<Carried> unflatten(ArrayRef<Scalar> all, ArrayRef<int64_t> columns) const;
  SmallVector<int64_t> sumColumns() const;

  Sums addTile(Index column, Sums sums);
  /// This thread's sum of S * R over a tile: of its row where channels decay each by itself.
  Scalar addStates(Scalar sum);
  /// The sum of S' * R, the gradient of the logarithm of what decays over the chunk: of each channel, or of all. The
  /// state after the chunk is not read for it: S' = e S + (f K)^T U, and `writtenKeys` are f U R^T.
  void storeLast(Scalar states, ArrayRef<Scalar> writtenKeys);
  /// Stores the gradients of the scores of a level, or decayed of all.
  void storeScores(const Sums &sums, std::optional<Index> level);
  void addProducts(Rows &rows,
                   llvm::function_ref<void(Carried &sums, llvm::function_ref<Carried(Carried)> product)> add);
  void addLevels(const Sums &sums, Rows &rows);
  void addDiagonal(Rows &rows);
  void storeRowSums(int64_t number, llvm::function_ref<Scalar(size_t, Index, Index)> term);
  Scalar rowSum(int64_t number, Index row);
  void storeDecays(const Rows &rows);

  const ChunkGradients &of;
  bool isDelta;
  SharedMatrix keys, queries, logs, state, dState, dy, written, dv, levelKeys, levelQueries;
  SharedMatrix ofWritten; ///< (f K) * (U R^T), of channels.
  Scores ofQueries, ofKeys;
  int64_t decays, betas, diagonal, gradient, ofLast, sums;
};

Carried GradientsKernel::flatten(ArrayRef<const Carried *> parts) {
  Carried all;
  for (const Carried *part : parts)
    all.append(part->begin(), part->end());
  return all;
}

SmallVector<Carried> GradientsKernel::unflatten(ArrayRef<Scalar> all, ArrayRef<int64_t> columns) const {
  SmallVector<Carried> parts;
  for (int64_t each : columns) {
    auto count = static_cast<size_t>(size * each / threads());
    parts.emplace_back(all.take_front(count));
    all = all.drop_front(count);
  }
  return parts;
}

GradientsKernel::Sums GradientsKernel::addTile(Index column, Sums s) {
  k->barrier();
  fillState(state, k->pointer(kStates), of.statesType, column, *chunk);
  fillState(dState, k->pointer(kDStates), shape.type, column, *chunk);
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
  if (shape.hasDecay())
    s.states = addStates(s.states);
  return s;
}

Scalar GradientsKernel::addStates(Scalar sum) {
  const int64_t pairs = tileColumns / 2;
  auto add = [&](Index row, Index pair, Scalar before) {
    auto [a, b] = p.load(state, row, pair * 2);
    auto [c, d] = p.load(dState, row, pair * 2);
    return fma(a, c, fma(b, d, before));
  };
  Index thread = k->thread();
  if (!hasChannels())
    return k->loop(thread, k->integer(width * pairs), threads(), {sum},
                   [&](Index at, ArrayRef<Scalar> sums) { return Carried{add(at / pairs, at % pairs, sums[0])}; })[0];
  // Rows begin in different columns, which lie in different banks.
  Index row = min(thread, k->integer(width - 1));
  return k->loop(k->integer(0), k->integer(pairs), 1, {sum}, [&](Index at, ArrayRef<Scalar> sums) {
    return Carried{add(row, (at + thread / 8) % pairs, sums[0])};
  })[0];
}

void GradientsKernel::storeLast(Scalar states, ArrayRef<Scalar> writtenKeys) {
  auto product = [&](size_t number, Index row, Index column) {
    return writtenKeys[number] * p.loadOne(keys, row, column);
  };
  if (!hasChannels()) {
    Scalar sum = states * decayed(vectorAt(decays, k->integer(size - 1)));
    p.visit(size, width, [&](size_t number, Index row, Index column) {
      sum = sum + product(number, row, column) + product(number + 1, row, column + 1);
    });
    sum = k->blockSum(sum);
    k->onlyIf(k->thread() == 0, [&] { k->store(sum, vector(ofLast), k->integer(0)); });
    return;
  }
  k->barrier();
  p.visit(size, width, [&](size_t number, Index row, Index column) {
    p.store({product(number, row, column), product(number + 1, row, column + 1)}, ofWritten, row, column);
  });
  k->barrier();
  k->onlyIf(k->thread() < width, [&] {
    Index channel = k->thread();
    Scalar decay = decayed(p.loadOne(logs, k->integer(size - 1), channel));
    Carried sum = k->loop(k->integer(0), k->integer(size), 1, {states * decay}, [&](Index row, ArrayRef<Scalar> sums) {
      return Carried{sums[0] + p.loadOne(ofWritten, row, channel)};
    });
    k->store(sum[0], vector(ofLast), channel);
  });
}

void GradientsKernel::storeScores(const Sums &s, std::optional<Index> level) {
  auto storeOf = [&](bool isOfKeys, ArrayRef<Scalar> gradients, const Scores &to) {
    p.visitRows(size, size, [&](Index row, ArrayRef<size_t> numbers) {
      std::optional<Scalar> ofRow;
      if (hasRowDecay())
        ofRow.emplace(vectorAt(decays, row));
      for (size_t number : numbers) {
        Index column = p.columnOf(size, size, number);
        Carried pair;
        if (takesScores()) {
          auto [a, b] = p.load(to.ofAll, row, column);
          pair = {a, b};
        } else {
          pair.append({gradients[number], gradients[number + 1]});
        }
        for (auto [lane, value] : llvm::enumerate(pair)) {
          Index at = column + static_cast<int64_t>(lane);
          value = value * (isOfKeys ? -1 : shape.scale);
          if (!level && shape.has[Shape::Bonus])
            k->onlyIf(at == row, [&, value = value] { k->store(value, vector(diagonal), row); });
          Value isSeen = level ? isOfLevel(row, at, *level) : isOfKeys ? at < row : at <= row;
          if (ofRow)
            value = value * decayed(k->select(isSeen, *ofRow - vectorAt(decays, at), k->number(0)));
          if (isDelta)
            value = value * vectorAt(betas, at);
          value = k->select(isSeen, value, k->number(0));
        }
        p.store({pair[0], pair[1]}, to.matrix, row, column);
      }
    });
  };
  storeOf(/*isOfKeys=*/false, s.dyWritten, ofQueries);
  if (isDelta)
    storeOf(/*isOfKeys=*/true, s.dvWritten, ofKeys);
}

/// To each of the gradients what comes of scores: add(sums, product), where `product` makes sums that begin with its
/// argument.
void GradientsKernel::addProducts(
    Rows &rows, llvm::function_ref<void(Carried &sums, llvm::function_ref<Carried(Carried)> product)> add) {
  add(rows.queries, [&](Carried start) { return p.product(size, width, size, ofQueries.matrix, levelKeys, start); });
  if (isDelta)
    add(rows.readKeys, [&](Carried start) { return p.product(size, width, size, ofKeys.matrix, levelKeys, start); });
  add(rows.writtenKeys, [&](Carried start) {
    start = p.product(size, width, size, ~Factor(ofQueries.matrix), levelQueries, start);
    return isDelta ? p.product(size, width, size, ~Factor(ofKeys.matrix), levelKeys, start) : start;
  });
}

/// The same where channels decay each by itself: level by level, and on the diagonal.
void GradientsKernel::addLevels(const Sums &s, Rows &rows) {
  p.visit(size, size, [&](size_t number, Index row, Index column) {
    for (int64_t lane = 0; lane < 2; ++lane)
      k->onlyIf(column + lane == row, [&] {
        k->store(s.dyWritten[number + static_cast<size_t>(lane)] * shape.scale, vector(diagonal), row);
      });
  });
  if (takesScores()) {
    p.store(size, size, s.dyWritten, ofQueries.ofAll);
    p.store(size, size, s.dvWritten, ofKeys.ofAll);
  }
  SmallVector<int64_t> columns(isDelta ? 3 : 2, width);
  auto rowsOf = [&](ArrayRef<Scalar> all) {
    SmallVector<Carried> parts = unflatten(all, columns);
    return Rows{parts[0], isDelta ? parts[2] : Carried(), parts[1]};
  };
  auto flattened = [&](const Rows &of) { return flatten({&of.queries, &of.writtenKeys, &of.readKeys}); };
  rows = rowsOf(
      k->loop(k->integer(0), k->integer(levels()), 1, flattened(rows), [&](Index level, ArrayRef<Scalar> before) {
        k->barrier();
        scaleLevel(level, logs, {{&keys, &levelKeys}, {&queries, &levelQueries}});
        storeScores(s, level);
        k->barrier();
        Rows next = rowsOf(before);
        addProducts(next, [&](Carried &sums, llvm::function_ref<Carried(Carried)> product) {
          Carried ofLevel = product(p.zeros(size, width));
          k->barrier(); // Decays are found again each time, and not kept in registers.
          p.visit(size, width, [&](size_t number, Index row, Index column) {
            for (size_t lane = 0; lane < 2; ++lane) {
              Scalar factor = levelDecay(level, logs, row, column + static_cast<int64_t>(lane));
              sums[number + lane] = fma(factor, ofLevel[number + lane], sums[number + lane]);
            }
          });
        });
        return flattened(next);
      }));
}

void GradientsKernel::addDiagonal(Rows &rows) {
  p.visitRows(size, width, [&](Index row, ArrayRef<size_t> numbers) {
    auto [element, isThere] = place(row, shape.width);
    Scalar ofRow = vectorAt(diagonal, row), written = isDelta ? ofRow * vectorAt(betas, row) : ofRow;
    for (size_t n : numbers) {
      Index column = p.columnOf(size, width, n);
      auto [q0, q1] = p.load(queries, row, column);
      auto [k0, k1] = p.load(keys, row, column);
      Carried query{q0, q1}, key{k0, k1}, ofBonus;
      for (size_t lane = 0; lane < 2; ++lane) {
        Scalar factor = written * diagonalFactor(column + static_cast<int64_t>(lane));
        rows.queries[n + lane] = fma(factor, key[lane], rows.queries[n + lane]);
        rows.writtenKeys[n + lane] = fma(factor, query[lane], rows.writtenKeys[n + lane]);
        ofBonus.push_back(ofRow * query[lane] * key[lane]);
      }
      if (shape.has[Shape::Bonus])
        storePair(ofBonus[0], ofBonus[1], k->pointer(kDBonus), element, column, shape.width, isThere, plan::DType::F32);
    }
  });
}

/// The sums over the columns of each row, of all the warps that have one, into half `number` of `sums`.
void GradientsKernel::storeRowSums(int64_t number, llvm::function_ref<Scalar(size_t, Index, Index)> term) {
  p.visitRows(size, width, [&](Index row, ArrayRef<size_t> numbers) {
    Scalar sum = k->number(0);
    for (size_t n : numbers) {
      Index column = p.columnOf(size, width, n);
      for (int64_t lane = 0; lane < 2; ++lane)
        sum = sum + term(n + static_cast<size_t>(lane), row, column + lane);
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

/// The gradients of beta and of decays. With c the sums of the decays' logarithms, what reads the state carries e^c and
/// what is written e^-c, so that c's gradient is their products with their own gradients, and that of the last one has
/// the state after the chunk, too.
void GradientsKernel::storeDecays(const Rows &rows) {
  auto ofReads = [&](size_t n, Index row, Index column) {
    Scalar sum = rows.queries[n] * p.loadOne(queries, row, column);
    return isDelta ? fma(rows.readKeys[n], p.loadOne(keys, row, column), sum) : sum;
  };
  auto ofWrites = [&](size_t n, Index row, Index column) { return rows.writtenKeys[n] * p.loadOne(keys, row, column); };
  if (isDelta || hasRowDecay()) {
    storeRowSums(0, ofWrites);
    if (hasRowDecay())
      storeRowSums(1, ofReads);
    k->barrier();
    k->onlyIf(k->thread() < size, [&] {
      Scalar ofWritten = rowSum(0, k->thread());
      if (isDelta)
        k->onlyIf(k->thread() < positions(), [&] {
          k->store(ofWritten / vectorAt(betas, k->thread()), k->pointer(kDBeta), line(*first + k->thread()));
        });
      if (!hasRowDecay())
        return;
      Scalar sum = rowSum(1, k->thread()) - ofWritten;
      k->store(k->select(k->thread() == size - 1, sum + vectorAt(ofLast, k->integer(0)), sum), vector(gradient),
               k->thread());
    });
  }
  if (hasRowDecay()) {
    k->barrier();
    runningSums(gradient, /*isReversed=*/true);
    k->barrier();
    k->onlyIf(k->thread() < positions(),
              [&] { k->store(vectorAt(gradient, k->thread()), k->pointer(kDDecay), line(*first + k->thread())); });
  }
  if (!hasChannels())
    return;
  k->barrier();
  p.visitRows(size, width, [&](Index row, ArrayRef<size_t> numbers) {
    for (size_t n : numbers) {
      Index column = p.columnOf(size, width, n);
      Carried pair;
      for (int64_t lane = 0; lane < 2; ++lane) {
        size_t at = n + static_cast<size_t>(lane);
        pair.push_back(ofReads(at, row, column + lane) - ofWrites(at, row, column + lane));
      }
      p.store({pair[0], pair[1]}, logs, row, column);
    }
  });
  k->barrier();
  k->onlyIf(k->thread() < shape.width, [&] {
    Index channel = k->thread();
    // Rows beyond the end have zeros.
    k->loop(k->integer(0), k->integer(size), 1, {vectorAt(ofLast, channel)}, [&](Index before, ArrayRef<Scalar> sums) {
      Index row = k->integer(size - 1) - before;
      Scalar sum = sums[0] + p.loadOne(logs, row, channel);
      k->onlyIf(row < positions(),
                [&] { k->store(sum, k->pointer(kDDecay), line(*first + row) * shape.width + channel); });
      return Carried{sum};
    });
  });
}

void GradientsKernel::build(KernelBuilder &kernel) {
  begin(kernel, kernel.block(1), kernel.block(2));
  beginChunk(kernel.block(0));
  fillShared(keys, Shape::K);
  fillShared(queries, Shape::Q);
  if (isDelta) {
    Scalar beta = loadBeta();
    storeBeta(k->select(k->less(abs(beta), k->number(kLeastBeta)), k->number(kLeastBeta), beta), betas);
  }
  if (hasRowDecay())
    storeRunningSums(loadDecays(), decays);
  if (hasChannels())
    loadChannelDecays(logs);
  SmallVector<int64_t> columns{width, width, size};
  if (isDelta)
    columns.append({width, size});
  auto sumsOf = [&](ArrayRef<Scalar> all) {
    SmallVector<Carried> parts = unflatten(all.drop_front(), columns);
    Sums s{parts[0], {}, parts[1], parts[2], {}, all.front()};
    if (isDelta)
      s.dvState = parts[3], s.dvWritten = parts[4];
    return s;
  };
  Carried zeros{k->number(0)};
  for (int64_t each : columns)
    zeros.append(p.zeros(size, each));
  const int64_t tiles = llvm::divideCeil(shape.columns, tileColumns);
  Sums s = sumsOf(k->loop(k->integer(0), k->integer(tiles), 1, zeros, [&](Index tile, ArrayRef<Scalar> all) {
    Sums next = addTile(tile * tileColumns, sumsOf(all));
    Carried states{next.states};
    return flatten({&states, &next.dyState, &next.writtenDState, &next.dyWritten, &next.dvState, &next.dvWritten});
  }));
  Rows rows{s.dyState, s.dvState, s.writtenDState};
  decayRows(width, rows.queries, logs, decays, /*isToEnd=*/false, shape.scale);
  decayRows(width, rows.writtenKeys, logs, decays, /*isToEnd=*/true, 1);
  if (isDelta) {
    decayRows(width, rows.readKeys, logs, decays, /*isToEnd=*/false, -1);
    scaleRows(width, rows.writtenKeys, [&](Index row) { return vectorAt(betas, row); });
  }
  if (shape.hasDecay())
    storeLast(s.states, rows.writtenKeys);
  k->barrier();
  if (hasChannels()) {
    addLevels(s, rows);
  } else {
    storeScores(s, {});
    k->barrier();
    addProducts(rows, [](Carried &sums, llvm::function_ref<Carried(Carried)> product) { sums = product(sums); });
  }
  if (hasDiagonal())
    addDiagonal(rows);

  auto storeRows = [&](unsigned pointer, llvm::function_ref<Scalar(size_t, Index row)> value) {
    p.visitRows(size, width, [&](Index row, ArrayRef<size_t> numbers) {
      auto [element, isThere] = place(row, shape.width);
      for (size_t n : numbers)
        storePair(value(n, row), value(n + 1, row), k->pointer(pointer), element, p.columnOf(size, width, n),
                  shape.width, isThere, plan::DType::F32);
    });
  };
  storeRows(kDq, [&](size_t n, Index) { return rows.queries[n]; });
  storeRows(kDk,
            [&](size_t n, Index) { return isDelta ? rows.writtenKeys[n] + rows.readKeys[n] : rows.writtenKeys[n]; });
  if (shape.hasDecay() || isDelta)
    storeDecays(rows);
}
} // namespace

int64_t morph::chunkGradientsBytes(const Shape &shape) {
  plan::LaunchArgument none;
  ChunkGradients gradients{none, none, none, none, {}, shape.type, shape.type, shape.type, none, none, {}, {}, {}};
  return GradientsKernel(shape, gradients).sharedBytes();
}

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
