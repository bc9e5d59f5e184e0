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
  explicit PassKernel(const Shape &shape)
      : ChunkKernel(shape), keys(p.take(size, width)), queries(p.take(size, width)),
        writtenKeys(hasChannels() && isDelta() ? p.take(size, width) : keys), scores(p.take(size, size)),
        inverse(isDelta() ? p.take(size, size) : scores), state(p.take(width, tileColumns)),
        decays(takeVector(hasChannels() ? width : size)), betas(takeVector(size)) {}

  bool isDelta() const { return shape.update == Shape::Update::Delta; }
  /// What both directions load of a chunk; where `hasQueries`, queries and their scores, too.
  void fillChunk(bool hasQueries);
  Scalar fromStart(Index row) { return decayed(vectorAt(decays, row)); }
  Scalar toEnd(Index row) { return decayed(*all - vectorAt(decays, row)); }
  void decayState(Carried &sums);

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
};

void PassKernel::fillChunk(bool hasQueries) {
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
    fillScores(scores, k->pointer(kScores));
  }
  if (isDelta()) {
    fillScores(inverse, k->pointer(kInverse));
    loadBetas(betas);
  }
  const int64_t count = hasChannels() ? width : size;
  if (shape.hasDecay())
    k->onlyIf(k->thread() < count, [&] {
      k->store(k->load(k->pointer(kDecays), ofChunks() * count + k->thread()), vector(decays), k->thread());
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
  ForwardPass(const Shape &shape, const RecurrenceOutputs &outputs, plan::DType keptType)
      : PassKernel(shape), outputs(outputs), keptType(keptType), values(p.take(size, tileColumns)),
        added(isDelta() ? p.take(size, tileColumns) : values),
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
  Carried last = k->loop(k->integer(0), *chunks, 1, start, [&](Index number, ArrayRef<Scalar> before) {
    beginChunk(number);
    return chunkOf(before);
  });
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
  k->barrier();
  fillChunk(outputs.out.has_value());
  fillValues(values, *firstColumn);
  p.store(width, tileColumns, before, state);
  if (outputs.states)
    storeState(before, k->pointer(kStates), ofChunks() * (shape.width * shape.columns), *firstColumn, keptType);
  p.finishFills();
  k->barrier();
  all.emplace(hasRowDecay() ? vectorAt(decays, k->integer(size - 1)) : k->number(0));
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
  BackwardPass(const Shape &shape, plan::DType dyType)
      : PassKernel(shape), dyType(dyType), dy(p.take(size, tileColumns)), dyOfState(p.take(size, tileColumns)),
        dAdded(isDelta() ? p.take(size, tileColumns) : dy), dRead(isDelta() ? p.take(size, tileColumns) : dy) {}

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
  k->loop(k->integer(0), *chunks, 1, p.zeros(width, tileColumns), [&](Index number, ArrayRef<Scalar> after) {
    beginChunk(*chunks - 1 - number);
    return chunkOf(after);
  });
}

Carried BackwardPass::chunkOf(ArrayRef<Scalar> after) {
  k->barrier();
  fillChunk(/*hasQueries=*/true);
  fillColumns(dy, k->pointer(kDy), dyType, shape.columns, *firstColumn);
  p.store(width, tileColumns, after, state);
  storeState(after, k->pointer(kDStates), ofChunks() * (shape.width * shape.columns), *firstColumn, shape.type);
  p.finishFills();
  k->barrier();
  all.emplace(hasRowDecay() ? vectorAt(decays, k->integer(size - 1)) : k->number(0));
  Carried dU = p.product(size, tileColumns, width, writtenKeys, state, p.zeros(size, tileColumns));
  if (hasRowDecay())
    scaleRows(tileColumns, dU, [&](Index row) { return toEnd(row); });
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
} // namespace

int64_t morph::chunkPassBytes(const Shape &shape) {
  return std::max(ForwardPass(shape, {}, shape.type).sharedBytes(), BackwardPass(shape, shape.type).sharedBytes());
}

void morph::launchChunkPass(DeviceFormCall &call, const Shape &shape, const ChunkScores &scores,
                            const RecurrenceOutputs &outputs, plan::DType keptType) {
  ForwardPass pass(shape, outputs, keptType);
  std::string variant = "pass_" + shape.variant() + "_" + plan::dtypeName(keptType) + "_";
  std::vector<plan::LaunchArgument> own;
  for (const auto *output : {&outputs.out, &outputs.finalState, &outputs.states, &outputs.written}) {
    variant += *output ? "1" : "0";
    own.push_back(output->value_or(scores.ofQueries));
  }
  std::string kernel =
      call.define(variant, kWritten + 1, /*sizes=*/1, pass.threads(), [&](KernelBuilder &k) { pass.build(k); });
  launchPass(call, pass, kernel, scores, std::move(own));
}

void morph::launchChunkPassBack(DeviceFormCall &call, const Shape &shape, const ChunkScores &scores,
                                const plan::LaunchArgument &dy, plan::DType dyType, const plan::LaunchArgument &dStates,
                                const plan::LaunchArgument &dv) {
  BackwardPass pass(shape, dyType);
  std::string kernel = call.define("back_" + shape.variant() + "_" + plan::dtypeName(dyType), kDv + 1, /*sizes=*/1,
                                   pass.threads(), [&](KernelBuilder &k) { pass.build(k); });
  launchPass(call, pass, kernel, scores, {dy, dStates, dv});
}
