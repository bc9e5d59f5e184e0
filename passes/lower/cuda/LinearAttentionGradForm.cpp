// SPDX-License-Identifier: Apache-2.0
// The gradient of linear_attention on GPUs, in chunks or position by position. Of the latter the state's gradient goes
// from the last position to the first; the states on its way are found again from those at the chunks' starts, a few
// positions at a time, so that they need not be stored. A block has some columns of a head: what is a sum over columns
// (the gradients of q, k, ...) is a part a block, and the parts are added up after (LinearAttentionSums.h). Legend: see
// RecurrenceSteps.h.

#include "passes/lower/cuda/LinearAttentionSums.h"
#include "passes/lower/cuda/RecurrenceChunks.h"

using namespace mlir;
using namespace morph;

using Carried = KernelBuilder::Carried;
using Shape = RecurrenceShape;
using Steps = RecurrenceSteps;
using Update = RecurrenceShape::Update;

namespace {

/// Gradients that are sums over columns: [B,T,H,K], but for beta's, [B,T,H].
enum RowGradient { OfQ, OfK, OfDecay, OfWrite, OfErase, OfBonus, OfBeta, RowGradients };

// Pointers of the kernel: the operands, then these.
constexpr unsigned kDy = Shape::Count, kStates = kDy + 1, kMiddle = kDy + 2, kDv = kDy + 3, kRowGradients = kDy + 4,
                   kPointers = kRowGradients + RowGradients;

class BackwardKernel {
public:
  BackwardKernel(const Shape &shape, Steps &steps)
      : shape(shape), steps(steps), stateStride(steps.blockColumns | 1),
        history(steps.positions * steps.paddedWidth() * stateStride),
        columnElements(steps.positions * steps.blockColumns) {}

  /// Of dynamic shared memory: the staged vectors, S before and dS after each of the positions, and what the columns
  /// have of each position.
  int64_t sharedElements() const { return steps.sharedElements + 2 * history + 3 * columnElements; }
  /// States between the chunks' starts that a block keeps.
  int64_t middleStates() const { return llvm::divideCeil(shape.chunk, steps.positions); }
  int64_t blockElements() const { return steps.threads * steps.rows; }

  void build(KernelBuilder &kernel);
  bool has(RowGradient gradient) const {
    switch (gradient) {
    case OfDecay:
      return shape.hasDecay();
    case OfWrite:
    case OfErase:
      return shape.has[Shape::Write];
    case OfBonus:
      return shape.has[Shape::Bonus];
    case OfBeta:
      return shape.has[Shape::Beta];
    default:
      return true;
    }
  }

private:
  Value states() { return k->dynamicShared(steps.sharedElements); }
  Value gradients() { return k->dynamicShared(steps.sharedElements + history); }
  /// What position and column have: what is written, its gradient, and the term of beta's gradient.
  Value columnValues(int64_t n) { return k->dynamicShared(steps.sharedElements + 2 * history + n * columnElements); }
  Index place(Index at, Index row, Index column) { return (at * steps.paddedWidth() + row) * stateStride + column; }
  Index ownColumn(Index at) { return at * steps.blockColumns + *steps.localColumn; }
  void storeHistory(ArrayRef<Scalar> state, Value to, Index at) {
    for (auto [i, value] : llvm::enumerate(state))
      k->store(value, to, place(at, steps.row(static_cast<int64_t>(i)), *steps.localColumn));
  }
  /// State `number` that the block keeps, as its threads have it.
  Index middlePlace(Index number, int64_t i) {
    Index block = (*steps.batch * shape.heads + *steps.head) * steps.parts + k->block(0);
    return ((block * middleStates() + number) * steps.rows + i) * steps.threads + k->thread();
  }

  void forward(Index begin, Index end);
  Carried backward(Index begin, Index end, Index middle, ArrayRef<Scalar> gradient);
  void sumColumns(Index begin, Index end);

  const Shape &shape;
  Steps &steps;
  int64_t stateStride, history, columnElements;
  KernelBuilder *k = nullptr;
  Carried bonus;
};

void BackwardKernel::build(KernelBuilder &kernel) {
  k = &kernel;
  Index length = k->size(0);
  steps.begin(*k, 0, length);
  if (shape.has[Shape::Bonus])
    bonus = steps.loadBonus();
  Index chunks = (length + (shape.chunk - 1)) / shape.chunk;
  Carried zero(static_cast<size_t>(steps.rows), k->number(0));
  k->loop(k->integer(0), chunks, 1, zero, [&](Index before, ArrayRef<Scalar> atEnd) {
    Index chunk = chunks - 1 - before, begin = chunk * shape.chunk, end = min(begin + shape.chunk, length);
    forward(begin, end);
    Index pieces = (end - begin + (steps.positions - 1)) / steps.positions;
    return k->loop(k->integer(0), pieces, 1, atEnd, [&](Index before, ArrayRef<Scalar> gradient) {
      Index piece = pieces - 1 - before, first = begin + piece * steps.positions;
      return backward(first, min(first + steps.positions, end), piece, gradient);
    });
  });
}

/// Keeps the states of a chunk that backward() begins with.
void BackwardKernel::forward(Index begin, Index end) {
  Index number = *steps.batch * shape.heads + *steps.head;
  Index chunks = (*steps.length + (shape.chunk - 1)) / shape.chunk;
  Carried start =
      steps.loadState(k->pointer(kStates), (number * chunks + begin / shape.chunk) * (shape.width * shape.columns));
  k->loop(begin, end, steps.positions, start, [&](Index first, ArrayRef<Scalar> state) {
    for (auto [i, value] : llvm::enumerate(state))
      k->store(value, k->pointer(kMiddle), middlePlace((first - begin) / steps.positions, static_cast<int64_t>(i)));
    Index last = min(first + steps.positions, end);
    k->barrier();
    steps.stage(first, last);
    k->barrier();
    return k->loop(first, last, 1, state,
                   [&](Index t, ArrayRef<Scalar> before) { return steps.step(t - first, before).state; });
  });
}

/// The gradients of some positions; `gradient` is the state's after them, and the result the one before them.
Carried BackwardKernel::backward(Index begin, Index end, Index middle, ArrayRef<Scalar> gradient) {
  Carried start;
  for (int64_t i = 0; i < steps.rows; ++i)
    start.push_back(k->load(k->pointer(kMiddle), middlePlace(middle, i)));
  k->barrier();
  // Of a normaliser's sums the gradients are the last launch's.
  steps.stage(begin, end, k->pointer(kDy), shape.columns, shape.normaliser ? plan::DType::F32 : shape.type);
  k->barrier();
  Value isFirst = *steps.lane == 0;
  k->loop(begin, end, 1, start, [&](Index t, ArrayRef<Scalar> before) {
    storeHistory(before, states(), t - begin);
    Steps::Step step = steps.step(t - begin, before);
    k->onlyIf(isFirst, [&] { k->store(*step.written, columnValues(0), ownColumn(t - begin)); });
    return step.state;
  });
  k->barrier();
  Carried result = k->loop(begin, end, 1, gradient, [&](Index before, ArrayRef<Scalar> after) {
    Index t = begin + (end - 1 - before), at = t - begin;
    Scalar dy = steps.ofColumn(Steps::StagedDy, at, *steps.localColumn) * shape.scale;
    Carried queries = steps.rowsOf(Steps::StagedQ, at), keys = steps.rowsOf(Steps::StagedK, at), next(after);
    for (auto [to, query] : llvm::zip_equal(next, queries))
      to = fma(query, dy, to);
    storeHistory(next, gradients(), at);
    Scalar value = steps.rowSum(next, keys); // The gradient of what is written under the key.
    std::optional<Scalar> ofWritten, ofBeta;
    if (shape.update == Update::Delta) {
      ofBeta.emplace(value * k->load(columnValues(0), ownColumn(at)));
      value = value * steps.betaOf(at);
      ofWritten.emplace(value);
      for (auto [to, key] : llvm::zip_equal(next, keys))
        to = to - key * value;
    } else if (shape.update == Update::Free) {
      ofWritten.emplace(steps.rowSum(next, steps.rowsOf(Steps::StagedWrite, at)));
      for (auto [to, erase] : llvm::zip_equal(next, steps.rowsOf(Steps::StagedErase, at)))
        to = fma(erase, *ofWritten, to);
    }
    if (!bonus.empty()) {
      Carried products;
      for (size_t i = 0; i < keys.size(); ++i)
        products.push_back(bonus[i] * keys[i]);
      value = fma(dy, steps.rowSum(products, queries), value);
    }
    k->onlyIf(isFirst, [&] {
      if (ofWritten)
        k->store(*ofWritten, columnValues(1), ownColumn(at));
      if (ofBeta)
        k->store(*ofBeta, columnValues(2), ownColumn(at));
      k->onlyIf(*steps.column < shape.valueWidth,
                [&] { k->store(value, k->pointer(kDv), steps.line(t) * shape.valueWidth + *steps.column); });
    });
    if (shape.hasDecay())
      for (auto [i, to] : llvm::enumerate(next))
        to = to * steps.decayOf(at, steps.row(static_cast<int64_t>(i)));
    return next;
  });
  k->barrier();
  sumColumns(begin, end);
  return result;
}

/// What is a sum over columns: a thread has a row of a position at a time. Columns that there are not have zeros.
void BackwardKernel::sumColumns(Index begin, Index end) {
  Index partLines = k->size(1); // B * T * H
  k->loop(k->thread(), (end - begin) * steps.paddedWidth(), steps.threads, [&](Index number) {
    Index at = number / steps.paddedWidth(), row = number % steps.paddedWidth();
    Scalar decay = shape.hasDecay() ? steps.decayOf(at, row) : k->number(1);
    Scalar query = steps.ofRow(Steps::StagedQ, at, row), key = steps.ofRow(Steps::StagedK, at, row);
    Scalar zero = k->number(0);
    Scalar write = shape.update == Update::Free ? steps.ofRow(Steps::StagedWrite, at, row) : zero;
    Scalar erase = shape.update == Update::Free ? steps.ofRow(Steps::StagedErase, at, row) : zero;
    Scalar beta = shape.update == Update::Delta ? steps.betaOf(at) : zero;
    Carried sums = k->loop(k->integer(0), k->integer(steps.blockColumns), 1, Carried(RowGradients, zero),
                           [&](Index column, ArrayRef<Scalar> start) {
                             Carried next(start);
                             Index of = at * steps.blockColumns + column;
                             Scalar decayed = decay * k->load(states(), place(at, row, column));
                             Scalar gradient = k->load(gradients(), place(at, row, column)), before = gradient;
                             Scalar value = steps.ofColumn(Steps::StagedV, at, column);
                             Scalar dy = steps.ofColumn(Steps::StagedDy, at, column) * shape.scale;
                             Scalar state = decayed;
                             if (shape.update == Update::Add) {
                               state = fma(key, value, state);
                               next[OfK] = fma(gradient, value, next[OfK]);
                             } else {
                               Scalar written = k->load(columnValues(0), of), ofWritten = k->load(columnValues(1), of);
                               if (shape.update == Update::Delta) {
                                 Scalar added = beta * written;
                                 state = fma(key, added, state);
                                 next[OfK] = fma(gradient, added, next[OfK]) - decayed * ofWritten;
                                 before = gradient - key * ofWritten;
                               } else {
                                 state = fma(key, value, fma(write, written, state));
                                 next[OfK] = fma(gradient, value, next[OfK]);
                                 next[OfWrite] = fma(gradient, written, next[OfWrite]);
                                 next[OfErase] = fma(decayed, ofWritten, next[OfErase]);
                                 before = fma(erase, ofWritten, gradient);
                               }
                             }
                             next[OfQ] = fma(state, dy, next[OfQ]);
                             if (has(OfDecay))
                               next[OfDecay] = fma(before, decayed, next[OfDecay]);
                             if (has(OfBonus))
                               next[OfBonus] = fma(value, dy, next[OfBonus]);
                             return next;
                           });
    k->onlyIf(row < shape.width, [&] {
      if (has(OfBonus)) {
        Index element = *steps.head * shape.width + row;
        Scalar factor = k->load(k->pointer(Shape::Bonus), element) * sums[OfBonus];
        sums[OfQ] = fma(factor, key, sums[OfQ]);
        sums[OfK] = fma(factor, query, sums[OfK]);
        sums[OfBonus] = sums[OfBonus] * query * key;
      }
      Index element = (k->block(0) * partLines + steps.line(begin + at)) * shape.width + row;
      for (int gradient = OfQ; gradient < OfBeta; ++gradient)
        if (has(RowGradient(gradient)))
          k->store(sums[static_cast<size_t>(gradient)], k->pointer(kRowGradients + static_cast<unsigned>(gradient)),
                   element);
    });
  });
  if (!has(OfBeta))
    return;
  k->onlyIf(k->thread() < end - begin, [&] {
    Index at = k->thread();
    auto sum = k->loop(k->integer(0), k->integer(steps.blockColumns), 1, {k->number(0)},
                       [&](Index column, ArrayRef<Scalar> sums) {
                         return Carried{sums[0] + k->load(columnValues(2), at * steps.blockColumns + column)};
                       });
    k->store(sum[0], k->pointer(kRowGradients + OfBeta), k->block(0) * partLines + steps.line(begin + at));
  });
}

} // namespace

static constexpr size_t kFirst = 3, kStatesOperand = 1, kWrittenOperand = 2;

/// The results after those of q, k and v, in their order.
static std::array<std::optional<plan::LaunchArgument>, RowGradients> rowResults(const Shape &shape) {
  std::array<std::optional<plan::LaunchArgument>, RowGradients> results;
  int64_t next = 3;
  results[OfQ] = resultArgument(0);
  results[OfK] = resultArgument(1);
  for (auto [operand, gradient] :
       {std::pair(Shape::HeadDecay, OfDecay), std::pair(Shape::Decay, OfDecay), std::pair(Shape::ChannelDecay, OfDecay),
        std::pair(Shape::Beta, OfBeta), std::pair(Shape::Write, OfWrite), std::pair(Shape::Erase, OfErase),
        std::pair(Shape::Bonus, OfBonus)})
    if (shape.has[operand])
      results[gradient] = resultArgument(next++);
  return results;
}

/// In chunks (RecurrenceChunks.h).
static void chunkedGradient(DeviceFormCall &call, const Shape &shape) {
  const std::vector<plan::Dim> positions{shape.batch, shape.length};
  const bool isDelta = shape.update == Update::Delta;
  auto results = rowResults(shape);
  PartSums sums{call, shape, /*parts=*/1, sizeArgument(productOf(positions, shape.heads))};
  ChunkScores scores = launchChunkScores(call, shape);

  // Forward, for what is not kept; then it need not be more exact than factors are.
  ChunkGradients g{operandArgument(0),
                   operandArgument(kStatesOperand),
                   takeOfChunks(call, shape, shape.width * shape.columns, shape.type),
                   resultArgument(2),
                   {},
                   shape.type,
                   plan::DType::F32,
                   plan::DType::F32,
                   *results[OfQ],
                   *results[OfK],
                   {},
                   results[OfBeta],
                   {}};
  RecurrenceOutputs outputs;
  const bool hasStates = call.hasOperand(kStatesOperand), hasWritten = !isDelta || call.hasOperand(kWrittenOperand);
  const plan::DType keptType = hasStates && hasWritten ? plan::DType::F32 : shape.type;
  if (isDelta && hasWritten)
    g.written = operandArgument(kWrittenOperand);
  if (!hasStates) {
    outputs.states = g.states = takeOfChunks(call, shape, shape.width * shape.columns, keptType);
    g.statesType = keptType;
  }
  if (!hasWritten) {
    outputs.written = g.written = call.takeScratch(scratchOf(positions, shape.heads * shape.columns));
    g.writtenType = keptType;
  }
  if (shape.normaliser) {
    outputs.out = call.takeScratch(scratchOf(positions, shape.heads * shape.columns));
    g.dy = call.takeScratch(scratchOf(positions, shape.heads * shape.columns));
    g.dyType = plan::DType::F32;
  }
  if (outputs.states || outputs.written || outputs.out)
    launchChunkPass(call, shape, scores, outputs, keptType);
  if (shape.normaliser)
    launchNormaliserGradient(call, shape, *outputs.out, g.dy);

  auto takeRows = [&](int64_t width) { return call.takeScratch(scratchOf(positions, shape.heads * width)); };
  const bool isShared = shape.groups < shape.heads;
  if (isShared)
    g.dq = takeRows(shape.width), g.dk = takeRows(shape.width);
  if (shape.hasDecay())
    g.dDecay = shape.has[Shape::HeadDecay] ? takeRows(1) : *results[OfDecay];
  if (shape.has[Shape::Bonus])
    g.dBonus = takeRows(shape.width);
  launchChunkPassBack(call, shape, scores, g.dy, g.dyType, g.dStates, g.dv);
  launchChunkGradients(call, shape, g);
  if (isShared) {
    sums.sumHeads(g.dq, *results[OfQ], shape.width, shape.heads / shape.groups);
    sums.sumHeads(g.dk, *results[OfK], shape.width, shape.heads / shape.groups);
  }
  if (shape.has[Shape::HeadDecay])
    sums.sumPositions(*g.dDecay, *results[OfDecay], 1);
  if (shape.has[Shape::Bonus])
    sums.sumPositions(*g.dBonus, *results[OfBonus], shape.width);
}

/// Position by position.
static void steppedGradient(DeviceFormCall &call, const Shape &shape) {
  const std::vector<plan::Dim> positions{shape.batch, shape.length};

  // Forward, for what is not kept.
  RecurrenceOutputs outputs;
  plan::LaunchArgument states = operandArgument(kStatesOperand), dy = operandArgument(0);
  if (!call.hasOperand(kStatesOperand)) {
    // B * ceil(T / chunk) is at most this.
    int64_t bytes = llvm::divideCeil(shape.heads * shape.width * shape.columns, 64) * 256;
    plan::SizeFormula size = productOf(positions, 1, shape.chunk, bytes), more = productOf(shape.batch, 1, 1, bytes);
    size.insert(size.end(), more.begin(), more.end());
    outputs.states = states = call.takeScratch(size);
  }
  if (shape.normaliser) {
    outputs.out = call.takeScratch(scratchOf(positions, shape.heads * shape.columns));
    dy = call.takeScratch(scratchOf(positions, shape.heads * shape.columns));
  }
  if (outputs.states || outputs.out)
    launchRecurrence(call, shape, outputs);
  if (shape.normaliser)
    launchNormaliserGradient(call, shape, *outputs.out, dy);

  // As many positions at once as shared memory takes.
  constexpr int64_t mostThreads = 512;
  std::optional<Steps> steps;
  std::optional<BackwardKernel> backward;
  for (int64_t count = 8; count >= 1; count /= 2) {
    steps.emplace(shape, mostThreads, count, /*hasGradient=*/true);
    backward.emplace(shape, *steps);
    if (4 * backward->sharedElements() <= kBlockSharedBytes)
      break;
  }
  PartSums sums{call, shape, steps->parts, sizeArgument(productOf(positions, shape.heads))};

  // Where each gradient goes at last, and where its parts do: there, too, if nothing is to be added up.
  std::array<std::optional<plan::LaunchArgument>, RowGradients> results = rowResults(shape), partsOf;
  for (int gradient = OfQ; gradient < RowGradients; ++gradient) {
    auto of = static_cast<size_t>(gradient);
    if (!results[of])
      continue;
    bool isShared = of == OfQ || of == OfK;
    bool isWhole = steps->parts == 1 && of != OfBonus && !(isShared && shape.groups < shape.heads) &&
                   !(of == OfDecay && !shape.has[Shape::ChannelDecay]);
    partsOf[of] =
        isWhole ? results[of]
                : call.takeScratch(scratchOf(positions, steps->parts * shape.heads * (of == OfBeta ? 1 : shape.width)));
  }
  plan::LaunchArgument middle = call.takeScratch(
      scratchOf(shape.batch, shape.heads * steps->parts * backward->middleStates() * backward->blockElements()));

  std::string kernel = call.define("backward_" + shape.variant(), kPointers, /*sizes=*/2, steps->threads,
                                   [&](KernelBuilder &k) { backward->build(k); });
  std::vector<plan::LaunchArgument> arguments = shape.arguments();
  arguments.insert(arguments.end(), {dy, states, middle, resultArgument(2)});
  for (const auto &part : partsOf)
    arguments.push_back(part.value_or(dy));
  arguments.push_back(sizeArgument(productOf(shape.length)));
  arguments.push_back(sums.lines);
  call.launch(kernel, {plan::constantFormula(steps->parts), plan::constantFormula(shape.heads), productOf(shape.batch)},
              steps->threads, std::move(arguments), 4 * backward->sharedElements());

  // Sums of the parts.
  for (RowGradient gradient : {OfQ, OfK, OfWrite, OfErase, OfBeta}) {
    bool isShared = gradient == OfQ || gradient == OfK;
    int64_t heads = isShared ? shape.heads / shape.groups : 1;
    if (results[gradient] && (steps->parts > 1 || heads > 1))
      sums.sumHeads(*partsOf[gradient], *results[gradient], gradient == OfBeta ? 1 : shape.width, heads);
  }
  if (results[OfBonus])
    sums.sumPositions(*partsOf[OfBonus], *results[OfBonus], shape.width);
  if (shape.has[Shape::ChannelDecay] && steps->parts > 1)
    sums.sumHeads(*partsOf[OfDecay], *results[OfDecay], shape.width, 1);
  if (shape.has[Shape::Decay])
    sums.sumLines(*partsOf[OfDecay], *results[OfDecay], positions, shape.heads, steps->parts);
  if (shape.has[Shape::HeadDecay]) {
    plan::LaunchArgument lines =
        call.takeScratch(plan::constantFormula(llvm::divideCeil(shape.heads * shape.width, 64) * 256));
    sums.sumPositions(*partsOf[OfDecay], lines, shape.width);
    sums.sumLines(lines, *results[OfDecay], {}, shape.heads, 1);
  }
}

void morph::linear_attention_gradForm(DeviceFormCall &call) {
  Shape shape(call, kFirst);
  if (isChunked(shape, call.hasOperand(kStatesOperand)))
    chunkedGradient(call, shape);
  else
    steppedGradient(call, shape);
}
