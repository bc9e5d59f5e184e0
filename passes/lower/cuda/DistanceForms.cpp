// SPDX-License-Identifier: Apache-2.0
// attention_distance on GPUs: a block a query of a head, a thread a key. Legend: B batch, T queries and keys, H query
// heads, G key heads, D head dimension.

#include "passes/lower/cuda/AttentionTiles.h"
#include "passes/lower/cuda/ElementForms.h"

#include <limits>

using namespace mlir;
using namespace morph;

void morph::attention_distanceForm(DeviceFormCall &call) {
  const AttentionShape shape(call, 0);
  const int64_t heads = shape.heads, groups = shape.groups, width = shape.width, window = shape.window;
  const bool hasWindow = window > 0;
  std::vector<plan::Dim> positions = {shape.batch, shape.queries};
  // [B,T,H]: what a query sees on average.
  plan::LaunchArgument parts = call.takeScratch(productOf(positions, heads, 1, 4));
  std::string queries = call.define(
      std::to_string(heads) + "_" + std::to_string(groups) + "_" + std::to_string(width) + "_" +
          exactName(shape.scale) + (hasWindow ? "_" + std::to_string(window) : "") +
          (shape.softcap != 0 ? "_cap" + exactName(shape.softcap) : ""),
      /*pointers=*/3, /*sizes=*/1, kElementThreads, [&](KernelBuilder &k) {
        Index head = k.block() % heads, position = k.block() / heads;
        Index query = position % k.size(0), first = position - query; // The first position of the sequence.
        Value row = k.shared(width);
        k.loop(k.thread(), k.integer(width), kElementThreads,
               [&](Index d) { k.store(k.load(k.pointer(0), k.block() * width + d), row, d); });
        k.barrier();
        Index begin = hasWindow ? max(k.integer(0), query - (window - 1)) : k.integer(0);
        Scalar zero = k.number(0);
        // The largest product so far, and the sums of shares and of shares times distances relative to it.
        auto sums =
            k.loop(begin + k.thread(), query + 1, kElementThreads,
                   {k.number(-std::numeric_limits<float>::max()), zero, zero}, [&](Index key, ArrayRef<Scalar> before) {
                     Index line = ((first + key) * groups + head / (heads / groups)) * width;
                     auto product =
                         k.loop(k.integer(0), k.integer(width), 1, {zero}, [&](Index d, ArrayRef<Scalar> sum) {
                           return KernelBuilder::Carried{sum[0] + k.load(row, d) * k.load(k.pointer(1), line + d)};
                         });
                     Scalar score = shape.capped(product[0]) * shape.scale, greatest = k.maximum(before[0], score);
                     Scalar shrink = exp(before[0] - greatest), share = exp(score - greatest);
                     return KernelBuilder::Carried{greatest, before[1] * shrink + share,
                                                   before[2] * shrink + share * k.toScalar(query - key)};
                   });
        Scalar shrink = exp(sums[0] - k.blockMax(sums[0]));
        Scalar shares = k.blockSum(sums[1] * shrink), distances = k.blockSum(sums[2] * shrink);
        k.onlyIf(k.thread() == 0, [&] { k.store(distances / shares, k.pointer(2), k.block()); });
      });
  call.launch(queries, {productOf(positions, heads)}, kElementThreads,
              {operandArgument(0), operandArgument(1), parts, sizeArgument(productOf(shape.queries))});
  std::string means = call.define(
      "means_" + std::to_string(heads), /*pointers=*/2, /*sizes=*/1, kElementThreads, [&](KernelBuilder &k) {
        Scalar sum = blockSumInDouble(
            k, k.size(0), [&](Index position) { return k.load(k.pointer(0), position * heads + k.block()); });
        Index count = max(k.size(0), k.integer(1));
        k.onlyIf(k.thread() == 0, [&] { k.store(k.toSingle(sum / k.toDouble(count)), k.pointer(1), k.block()); });
      });
  call.launch(means, {plan::constantFormula(heads)}, kElementThreads,
              {parts, resultArgument(0), sizeArgument(productOf(positions))});
}
