// SPDX-License-Identifier: Apache-2.0
// linear_attention on GPUs: in chunks (RecurrenceChunks.h), or position by position (RecurrenceSteps.h, whose legend
// holds).

#include "passes/lower/cuda/RecurrenceChunks.h"

using namespace mlir;
using namespace morph;

using Carried = KernelBuilder::Carried;
using Shape = RecurrenceShape;
using Steps = RecurrenceSteps;

static constexpr unsigned kOut = Shape::Count, kFinal = kOut + 1, kStates = kOut + 2, kWritten = kOut + 3;

static void buildForward(KernelBuilder &k, const Shape &shape, Steps &steps, const RecurrenceOutputs &outputs) {
  Index length = k.size(0);
  steps.begin(k, 0, length);
  Index number = *steps.batch * shape.heads + *steps.head;
  const int64_t stateElements = shape.width * shape.columns;
  Index place = number * stateElements;
  Carried state = shape.has[Shape::State] ? steps.loadState(k.pointer(Shape::State), place)
                                          : Carried(static_cast<size_t>(steps.rows), k.number(0));
  Carried bonus = shape.has[Shape::Bonus] ? steps.loadBonus() : Carried();
  Value storesColumn = k.both(*steps.lane == 0, *steps.column < shape.columns);
  state = k.loop(k.integer(0), length, steps.positions, state, [&](Index begin, ArrayRef<Scalar> atBegin) {
    Index end = min(begin + steps.positions, length);
    k.barrier();
    steps.stage(begin, end);
    k.barrier();
    return k.loop(begin, end, 1, atBegin, [&](Index t, ArrayRef<Scalar> before) {
      Index at = t - begin;
      if (outputs.states)
        k.onlyIf(t % shape.chunk == 0, [&] {
          Index chunks = (length + (shape.chunk - 1)) / shape.chunk;
          steps.storeState(before, k.pointer(kStates), (number * chunks + t / shape.chunk) * stateElements);
        });
      Steps::Step step = steps.step(at, before);
      Index element = steps.line(t) * shape.columns + *steps.column;
      if (outputs.out) {
        Carried read = step.state, queries = steps.rowsOf(Steps::StagedQ, at);
        if (!bonus.empty()) {
          Carried keys = steps.rowsOf(Steps::StagedK, at);
          Scalar value = steps.ofColumn(Steps::StagedV, at, *steps.localColumn);
          for (size_t i = 0; i < read.size(); ++i)
            read[i] = fma(bonus[i] * keys[i], value, read[i]);
        }
        Scalar out = steps.rowSum(read, queries) * shape.scale;
        k.onlyIf(storesColumn, [&] { k.store(out, k.pointer(kOut), element); });
      }
      if (outputs.written)
        k.onlyIf(storesColumn, [&] { k.store(*step.written, k.pointer(kWritten), element); });
      return step.state;
    });
  });
  if (outputs.finalState)
    steps.storeState(state, k.pointer(kFinal), place);
}

void morph::launchRecurrence(DeviceFormCall &call, const Shape &shape, const RecurrenceOutputs &outputs) {
  constexpr int64_t mostThreads = 128, positions = 16;
  Steps steps(shape, mostThreads, positions, /*hasGradient=*/false);
  std::string variant = "forward_" + shape.variant() + "_";
  for (const auto *output : {&outputs.out, &outputs.finalState, &outputs.states, &outputs.written})
    variant += *output ? "1" : "0";
  std::string kernel = call.define(variant, kWritten + 1, /*sizes=*/1, steps.threads,
                                   [&](KernelBuilder &k) { buildForward(k, shape, steps, outputs); });
  std::vector<plan::LaunchArgument> arguments = shape.arguments();
  for (const auto *output : {&outputs.out, &outputs.finalState, &outputs.states, &outputs.written})
    arguments.push_back(output->value_or(operandArgument(static_cast<int64_t>(shape.first))));
  arguments.push_back(sizeArgument(productOf(shape.length)));
  call.launch(kernel, {plan::constantFormula(steps.parts), plan::constantFormula(shape.heads), productOf(shape.batch)},
              steps.threads, std::move(arguments), 4 * steps.sharedElements);
}

void morph::linear_attentionForm(DeviceFormCall &call) {
  Shape shape(call, 0);
  RecurrenceOutputs outputs;
  outputs.out = shape.normaliser ? call.takeScratch(scratchOf({shape.batch, shape.length}, shape.heads * shape.columns))
                                 : resultArgument(0);
  outputs.finalState = resultArgument(1);
  int64_t next = 2;
  if (call.has("keep_states"))
    outputs.states = resultArgument(next++);
  if (call.has("keep_written"))
    outputs.written = resultArgument(next);
  if (isChunked(shape, outputs.states.has_value()))
    launchChunkPass(call, shape, launchChunkScores(call, shape), outputs, plan::DType::F32);
  else
    launchRecurrence(call, shape, outputs);
  if (shape.normaliser)
    launchNormaliser(call, shape, *outputs.out);
}
