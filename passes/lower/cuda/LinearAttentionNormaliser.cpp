// SPDX-License-Identifier: Apache-2.0
// The normaliser of linear attention on GPUs: the recurrence has it as one more column of values, all ones, by whose
// result and a little the others are divided. Legend: see RecurrenceSteps.h.

#include "passes/lower/cuda/ElementForms.h"
#include "passes/lower/cuda/LinearAttentionForm.h"

using namespace mlir;
using namespace morph;

void morph::launchNormaliser(DeviceFormCall &call, const RecurrenceShape &shape, const plan::LaunchArgument &sums) {
  forElements(call, "normalise_" + shape.variant(), {sums, resultArgument(0)}, {},
              [&](KernelBuilder &k, Index element) {
                Index line = element / shape.valueWidth * shape.columns;
                Scalar divisor = k.load(k.pointer(0), line + shape.valueWidth) + shape.normaliser;
                k.store(k.load(k.pointer(0), line + element % shape.valueWidth) / divisor, k.pointer(1), element);
              });
}

void morph::launchNormaliserGradient(DeviceFormCall &call, const RecurrenceShape &shape,
                                     const plan::LaunchArgument &sums, const plan::LaunchArgument &to) {
  std::string kernel = call.define("normaliser_" + shape.variant(), 3, 1, kElementThreads, [&](KernelBuilder &k) {
    // A warp has a line.
    Index lane = k.thread() % kWarp, line = k.block() * (kElementThreads / kWarp) + k.thread() / kWarp;
    Value isThere = line < k.size(0);
    Index first = min(line, k.size(0) - 1);
    Scalar inverse = 1 / (k.load(k.pointer(1), first * shape.columns + shape.valueWidth) + shape.normaliser);
    auto sum = k.loop(lane, k.integer(shape.valueWidth), kWarp, {k.number(0)}, [&](Index at, ArrayRef<Scalar> sums) {
      Scalar gradient = k.load(k.pointer(0), first * shape.valueWidth + at, shape.type) * inverse;
      k.onlyIf(isThere, [&] { k.store(gradient, k.pointer(2), first * shape.columns + at); });
      return KernelBuilder::Carried{fma(gradient, k.load(k.pointer(1), first * shape.columns + at), sums[0])};
    });
    Scalar total = k.laneSum(sum[0], kWarp);
    k.onlyIf(k.both(isThere, lane == 0),
             [&] { k.store(-total * inverse, k.pointer(2), first * shape.columns + shape.valueWidth); });
  });
  std::vector<plan::Dim> dims{shape.batch, shape.length};
  call.launch(kernel, {productOf(dims, shape.heads, kElementThreads / kWarp)}, kElementThreads,
              {operandArgument(0), sums, to, sizeArgument(productOf(dims, shape.heads))});
}
