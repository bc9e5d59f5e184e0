// SPDX-License-Identifier: Apache-2.0
// The passes of a state over its chunks, and of its gradient back: a block has some columns of a head's state, in
// registers, and goes from chunk to chunk.

#include "passes/lower/cuda/RecurrenceChunks.h"

using namespace mlir;
using namespace morph;

using Carried = KernelBuilder::Carried;
using Shape = RecurrenceShape;

namespace {
// Pointers of each direction, behind those of ChunkScores.
constexpr unsigned kOwn = ChunkKernel::kOwn;
constexpr unsigned kOut = kOwn, kFinal = kOwn + 1, kStates = kOwn + 2, kWritten = kOwn + 3;
constexpr unsigned kDy = kOwn, kDStates = kOwn + 1, kDv = kOwn + 2;

class PassKernel : public ChunkKernel {
protected:
  /// `isAhead`: what a chunk reads is copied while the one before it is computed, into the other of two buffers.
  PassKernel(const Shape &shape, bool hasQueries, bool isAhead)
      : ChunkKernel(shape), hasQueries(hasQueries), isAhead(isAhead), keys(p.take(size, width, isAhead)),
        queries(hasQueries ? p.take(size, width, isAhead) : keys),
        writtenKeys(hasChannels() && isDelta() ? p.take(size, width, isAhead) : keys),
        scores(hasQueries ? p.take(size, size, isAhead && !hasOwnScores()) : keys),
        inverse(isDelta() ? p.take(size, size, isAhead) : keys), state(p.take(width, tileColumns)),
        decays(takeVector(hasChannels() ? width : size)), betas(takeVector(size)) {}

  bool isDelta() const { return shape.update == Shape::Update::Delta; }
  /// Goes through the chunks; `numberOf`: of a step, from 0 on. `fillValues` begins to bring what is of the block's
  /// columns, `step` makes of the state before a chunk the one after it, where everything is there.
  Carried overChunks(ArrayRef<Scalar> start, llvm::function_ref<Index(Index step)> numberOf,
                     llvm::function_ref<void()> fillValues,
                     llvm::function_ref<void(ArrayRef<Scalar> before)> storeStates,
                     llvm::function_ref<Carried(ArrayRef<Scalar> before)> step);
  /// The scores of the chunk, where they are the pass's own. A barrier after it is the caller's.
  void findScores();
  Scalar fromStart(Index row) { return decayed(vectorAt(decays, row)); }
  Scalar toEnd(Index row) { return decayed(*all - vectorAt(decays, row)); }
  void decayState(Carried &sums);

  bool hasQueries; ///< Whether queries and their scores are of use.
  bool isAhead;
  SharedMatrix keys; ///< That read the state, or all.
  SharedMatrix queries, writtenKeys, scores, inverse, state;
  int64_t decays, betas;
  std::optional<Scalar> all; ///< The logarithm of what decays over the chunk.
  std::optional<Index> firstColumn;

private:
  void fillRows(const SharedMatrix &to, unsigned from) {
    Index matrix = ofChunks() * (size * width);
    p.fill(to, k->pointer(from), shape.type, width, {},
           [&](Index row) { return BlockProducts::Row(matrix + row * width, row < size); });
  }
  void fillChunk();
  /// What a thread has of a chunk's decays and betas until it stores them.
  Carried loadVectors();
  void storeVectors(ArrayRef<Scalar> values);
};

void PassKernel::fillChunk() {
  if (hasChannels()) {
    fillRows(writtenKeys, kWrittenKeys);
    if (isDelta())
      fillRows(keys, kReadKeys);
  } else {
    fillShared(keys, Shape::K);
  }
  if (hasQueries) {
    if (hasChannels())
      fillRows(queries, kQueries);
    else
      fillShared(queries, Shape::Q);
    if (!hasOwnScores())
      fillScores(scores, k->pointer(kScores));
  }
  if (isDelta())
    fillScores(inverse, k->pointer(kInverse));
}

Carried PassKernel::loadVectors() {
  Carried values;
  if (hasRowDecay())
    values = loadDecays();
  if (hasChannels())
    values.push_back(k->load(k->pointer(kDecays), ofChunks() * width + min(k->thread(), k->integer(width - 1))));
  if (isDelta())
    values.push_back(loadBeta());
  return values;
}

void PassKernel::storeVectors(ArrayRef<Scalar> values) {
  if (isDelta()) {
    storeBeta(values.back(), betas);
    values = values.drop_back();
  }
  if (hasRowDecay())
    storeRunningSums(values, decays);
  if (hasChannels())
    k->onlyIf(k->thread() < width, [&] { k->store(values[0], vector(decays), k->thread()); });
}

Carried PassKernel::overChunks(ArrayRef<Scalar> start, llvm::function_ref<Index(Index step)> numberOf,
                               llvm::function_ref<void()> fillValues,
                               llvm::function_ref<void(ArrayRef<Scalar> before)> storeStates,
                               llvm::function_ref<Carried(ArrayRef<Scalar> before)> step) {
  auto fillAll = [&] {
    fillChunk();
    fillValues();
    p.commitFills();
  };
  beginChunk(numberOf(k->integer(0)));
  Carried carried(start);
  p.useBuffer(k->integer(0));
  if (isAhead)
    fillAll();
  carried.append(loadVectors());
  Carried last = k->loop(k->integer(0), *chunks, 1, carried, [&](Index number, ArrayRef<Scalar> before) {
    ArrayRef<Scalar> state = before.take_front(start.size());
    Index following = min(number + 1, *chunks - 1);
    beginChunk(numberOf(number));
    p.useBuffer(number % 2);
    k->barrier();
    if (!isAhead)
      fillAll();
    p.store(width, tileColumns, state, this->state);
    storeVectors(before.drop_front(start.size()));
    storeStates(state);
    p.waitForFills();
    k->barrier();
    // The next chunk's, or, after the last one, this one's again, which nobody reads.
    beginChunk(numberOf(following));
    Carried vectors = loadVectors();
    if (isAhead)
      k->onlyIf(number + 1 < *chunks, [&] {
        beginChunk(numberOf(following));
        p.useBuffer(following % 2);
        fillAll();
      });
    beginChunk(numberOf(number));
    p.useBuffer(number % 2);
    all.emplace(hasRowDecay() ? vectorAt(decays, k->integer(size - 1)) : k->number(0));
    Carried next = step(state);
    next.append(vectors);
    return next;
  });
  last.truncate(start.size());
  return last;
}

void PassKernel::findScores() {
  Carried sums = p.product(size, size, width, queries, ~Factor(keys), p.zeros(size, size));
  visitSeen(sums, decays, /*isStrict=*/false, [&](Index row, Index column, Carried &pair) {
    p.store({pair[0] * shape.scale, pair[1] * shape.scale}, scores, row, column);
  });
}

void PassKernel::decayState(Carried &sums) {
  if (hasChannels())
    p.visitRows(width, tileColumns, [&](Index row, ArrayRef<size_t> numbers) {
      Scalar factor = decayed(vectorAt(decays, row));
      for (size_t number : numbers)
        for (size_t at : {number, number + 1})
          sums[at] = sums[at] * factor;
    });
  if (!hasRowDecay())
    return;
  Scalar factor = decayed(*all);
  for (Scalar &sum : sums)
    sum = sum * factor;
}

class ForwardPass : public PassKernel {
public:
  ForwardPass(const Shape &shape, const RecurrenceOutputs &outputs, plan::DType keptType, bool isAhead)
      : PassKernel(shape, outputs.out.has_value(), isAhead), outputs(outputs), keptType(keptType),
        values(p.take(size, tileColumns, isAhead)), added(isDelta() ? p.take(size, tileColumns) : values),
        decayedAdded(hasRowDecay() ? p.take(size, tileColumns) : added) {}

  void build(KernelBuilder &kernel);

private:
  Carried chunkOf(ArrayRef<Scalar> before);
  void findAdded();

  const RecurrenceOutputs &outputs;
  plan::DType keptType;
  SharedMatrix values; ///< V, then V - (e K) S.
  SharedMatrix added;  ///< U
  SharedMatrix decayedAdded;
};

void ForwardPass::build(KernelBuilder &kernel) {
  begin(kernel, kernel.block(1), kernel.block(2));
  firstColumn.emplace(kernel.block(0) * tileColumns);
  Index stateElement = (*batch * shape.heads + *head) * (shape.width * shape.columns);
  Carried start = p.zeros(width, tileColumns);
  if (shape.has[Shape::State])
    p.visit(width, tileColumns, [&](size_t number, Index row, Index column) {
      for (int64_t lane = 0; lane < 2; ++lane) {
        Index at = *firstColumn + column + lane;
        Value isThere = k->both(row < shape.width, at < shape.columns);
        // Where there is none, one of the block's own is read: the final state may lie in the place of the first.
        Index element = stateElement + min(row, k->integer(shape.width - 1)) * shape.columns +
                        min(at, k->integer(shape.columns - 1));
        start[number + static_cast<size_t>(lane)] =
            k->select(isThere, k->load(k->pointer(Shape::State), element), k->number(0));
      }
    });
  Carried last = overChunks(
      start, [](Index step) { return step; }, [&] { fillValues(values, *firstColumn); },
      [&](ArrayRef<Scalar> before) {
        if (outputs.states)
          storeState(before, k->pointer(kStates), ofChunks() * (shape.width * shape.columns), *firstColumn, keptType);
      },
      [&](ArrayRef<Scalar> before) { return chunkOf(before); });
  if (outputs.finalState)
    storeState(last, k->pointer(kFinal), stateElement, *firstColumn, plan::DType::F32);
}

/// What the positions add, of the delta rule, to `added`, and decayed to the chunk's end.
void ForwardPass::findAdded() {
  Carried read = p.product(size, tileColumns, width, keys, state, p.zeros(size, tileColumns));
  p.visitRows(size, tileColumns, [&](Index row, ArrayRef<size_t> numbers) {
    Scalar factor = hasRowDecay() ? -fromStart(row) : k->number(-1);
    for (size_t number : numbers) {
      Index column = p.columnOf(size, tileColumns, number);
      auto [a, b] = p.load(values, row, column);
      p.store({fma(factor, read[number], a), fma(factor, read[number + 1], b)}, values, row, column);
    }
  });
  k->barrier();
  Carried written = p.product(size, tileColumns, size, inverse, values, p.zeros(size, tileColumns));
  p.visitRows(size, tileColumns, [&](Index row, ArrayRef<size_t> numbers) {
    auto [element, isThere] = place(row, shape.columns);
    Scalar beta = vectorAt(betas, row);
    std::optional<Scalar> factor;
    if (hasRowDecay())
      factor.emplace(toEnd(row));
    for (size_t number : numbers) {
      Index column = p.columnOf(size, tileColumns, number);
      Scalar a = written[number], b = written[number + 1];
      if (outputs.written)
        storePair(a, b, k->pointer(kWritten), element, *firstColumn + column, shape.columns, isThere, keptType);
      a = a * beta, b = b * beta;
      p.store({a, b}, added, row, column);
      if (factor)
        p.store({a * *factor, b * *factor}, decayedAdded, row, column);
    }
  });
}

Carried ForwardPass::chunkOf(ArrayRef<Scalar> before) {
  const bool findsScores = outputs.out && hasOwnScores();
  if (findsScores)
    findScores();
  if (isDelta()) {
    findAdded();
    k->barrier();
  } else if (hasRowDecay() || outputs.written) {
    p.visitRows(size, tileColumns, [&](Index row, ArrayRef<size_t> numbers) {
      auto [element, isThere] = place(row, shape.columns);
      std::optional<Scalar> factor;
      if (hasRowDecay())
        factor.emplace(toEnd(row));
      for (size_t number : numbers) {
        Index column = p.columnOf(size, tileColumns, number);
        auto [a, b] = p.load(values, row, column);
        if (outputs.written)
          storePair(a, b, k->pointer(kWritten), element, *firstColumn + column, shape.columns, isThere, keptType);
        if (factor)
          p.store({a * *factor, b * *factor}, decayedAdded, row, column);
      }
    });
    k->barrier();
  } else if (findsScores) {
    k->barrier();
  }
  if (outputs.out) {
    Carried out = p.product(size, tileColumns, width, queries, state, p.zeros(size, tileColumns));
    scaleRows(tileColumns, out,
              [&](Index row) { return hasRowDecay() ? fromStart(row) * shape.scale : k->number(shape.scale); });
    out = p.product(size, tileColumns, size, scores, added, out);
    p.visitRows(size, tileColumns, [&](Index row, ArrayRef<size_t> numbers) {
      auto [element, isThere] = place(row, shape.columns);
      for (size_t number : numbers)
        storePair(out[number], out[number + 1], k->pointer(kOut), element,
                  *firstColumn + p.columnOf(size, tileColumns, number), shape.columns, isThere, plan::DType::F32);
    });
  }
  Carried next(before);
  decayState(next);
  return p.product(width, tileColumns, size, ~Factor(writtenKeys), decayedAdded, next);
}

class BackwardPass : public PassKernel {
public:
  BackwardPass(const Shape &shape, plan::DType dyType, bool isAhead)
      : PassKernel(shape, /*hasQueries=*/true, isAhead), dyType(dyType), dy(p.take(size, tileColumns, isAhead)),
        dyOfState(p.take(size, tileColumns)), dAdded(isDelta() ? p.take(size, tileColumns) : dy),
        dRead(isDelta() ? p.take(size, tileColumns) : dy) {}

  void build(KernelBuilder &kernel);

private:
  Carried chunkOf(ArrayRef<Scalar> after);

  plan::DType dyType;
  SharedMatrix dy;
  SharedMatrix dyOfState; ///< scale * e * dO
  SharedMatrix dAdded;    ///< beta * dU
  SharedMatrix dRead;     ///< -e * dV
};

void BackwardPass::build(KernelBuilder &kernel) {
  begin(kernel, kernel.block(1), kernel.block(2));
  firstColumn.emplace(kernel.block(0) * tileColumns);
  overChunks(
      p.zeros(width, tileColumns), [&](Index step) { return *chunks - 1 - step; },
      [&] { fillColumns(dy, k->pointer(kDy), dyType, shape.columns, *firstColumn); },
      [&](ArrayRef<Scalar> after) {
        storeState(after, k->pointer(kDStates), ofChunks() * (shape.width * shape.columns), *firstColumn, shape.type);
      },
      [&](ArrayRef<Scalar> after) { return chunkOf(after); });
}

Carried BackwardPass::chunkOf(ArrayRef<Scalar> after) {
  if (hasOwnScores())
    findScores();
  Carried dU = p.product(size, tileColumns, width, writtenKeys, state, p.zeros(size, tileColumns));
  if (hasRowDecay())
    scaleRows(tileColumns, dU, [&](Index row) { return toEnd(row); });
  if (hasOwnScores())
    k->barrier();
  dU = p.product(size, tileColumns, size, ~Factor(scores), dy, dU);
  p.visitRows(size, tileColumns, [&](Index row, ArrayRef<size_t> numbers) {
    Scalar factor = hasRowDecay() ? fromStart(row) * shape.scale : k->number(shape.scale);
    for (size_t number : numbers) {
      Index column = p.columnOf(size, tileColumns, number);
      auto [a, b] = p.load(dy, row, column);
      p.store({a * factor, b * factor}, dyOfState, row, column);
      if (isDelta())
        p.store({dU[number] * vectorAt(betas, row), dU[number + 1] * vectorAt(betas, row)}, dAdded, row, column);
    }
  });
  if (isDelta()) {
    k->barrier();
    dU = p.product(size, tileColumns, size, ~Factor(inverse), dAdded, p.zeros(size, tileColumns));
  }
  p.visitRows(size, tileColumns, [&](Index row, ArrayRef<size_t> numbers) {
    auto [element, isThere] = place(row, shape.valueWidth);
    Scalar factor = isDelta() && hasRowDecay() ? -fromStart(row) : k->number(-1);
    for (size_t number : numbers) {
      Index column = p.columnOf(size, tileColumns, number);
      storePair(dU[number], dU[number + 1], k->pointer(kDv), element, *firstColumn + column, shape.valueWidth, isThere,
                plan::DType::F32);
      if (isDelta())
        p.store({dU[number] * factor, dU[number + 1] * factor}, dRead, row, column);
    }
  });
  k->barrier();
  Carried next(after);
  decayState(next);
  next = p.product(width, tileColumns, size, ~Factor(queries), dyOfState, next);
  return isDelta() ? p.product(width, tileColumns, size, ~Factor(keys), dRead, next) : next;
}

void launchPass(DeviceFormCall &call, const ChunkKernel &pass, const std::string &kernel, const ChunkScores &scores,
                std::vector<plan::LaunchArgument> own) {
  const Shape &shape = pass.shape;
  std::vector<plan::LaunchArgument> arguments = shape.arguments();
  arguments.insert(arguments.end(), {scores.ofQueries, scores.inverse, scores.decays, scores.queries, scores.readKeys,
                                     scores.writtenKeys});
  arguments.insert(arguments.end(), own.begin(), own.end());
  arguments.push_back(sizeArgument(productOf(shape.length)));
  call.launch(kernel,
              {plan::constantFormula(llvm::divideCeil(shape.columns, pass.tileColumns)),
               plan::constantFormula(shape.heads), productOf(shape.batch)},
              pass.threads(), std::move(arguments), pass.sharedBytes());
}

/// A kernel that copies ahead, where copies are asynchronous and shared memory suffices for two buffers.
template <typename Kernel, typename... Arguments> Kernel makePass(const Shape &shape, const Arguments &...arguments) {
  Kernel ahead(shape, arguments..., /*isAhead=*/true);
  const bool isAhead = shape.type == plan::DType::BF16 && ahead.sharedBytes() <= kBlockSharedBytes;
  return isAhead ? ahead : Kernel(shape, arguments..., /*isAhead=*/false);
}
} // namespace

int64_t morph::chunkPassBytes(const Shape &shape) {
  RecurrenceOutputs outputs;
  outputs.out.emplace();
  return std::max(ForwardPass(shape, outputs, shape.type, /*isAhead=*/false).sharedBytes(),
                  BackwardPass(shape, shape.type, /*isAhead=*/false).sharedBytes());
}

void morph::launchChunkPass(DeviceFormCall &call, const Shape &shape, const ChunkScores &scores,
                            const RecurrenceOutputs &outputs, plan::DType keptType) {
  auto pass = makePass<ForwardPass>(shape, outputs, keptType);
  std::string variant = "pass_" + shape.variant() + "_" + plan::dtypeName(keptType) + "_";
  std::vector<plan::LaunchArgument> own;
  for (const auto *output : {&outputs.out, &outputs.finalState, &outputs.states, &outputs.written}) {
    variant += *output ? "1" : "0";
    own.push_back(output->value_or(operandArgument(static_cast<int64_t>(shape.first))));
  }
  std::string kernel =
      call.define(variant, kWritten + 1, /*sizes=*/1, pass.threads(), [&](KernelBuilder &k) { pass.build(k); });
  launchPass(call, pass, kernel, scores, std::move(own));
}

void morph::launchChunkPassBack(DeviceFormCall &call, const Shape &shape, const ChunkScores &scores,
                                const plan::LaunchArgument &dy, plan::DType dyType, const plan::LaunchArgument &dStates,
                                const plan::LaunchArgument &dv) {
  auto pass = makePass<BackwardPass>(shape, dyType);
  std::string kernel = call.define("back_" + shape.variant() + "_" + plan::dtypeName(dyType), kDv + 1, /*sizes=*/1,
                                   pass.threads(), [&](KernelBuilder &k) { pass.build(k); });
  launchPass(call, pass, kernel, scores, {dy, dStates, dv});
}
