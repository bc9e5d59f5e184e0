// SPDX-License-Identifier: Apache-2.0
// Moves of rows and rotations on GPUs: a thread an element. Legend: B batch, T positions, H heads, D head dimension, N
// rows, C channels, F frequencies.

#include "passes/lower/cuda/ElementForms.h"

using namespace mlir;
using namespace morph;

static std::string nameOf(const plan::TensorType &type) { return plan::dtypeName(type.dtype); }

void morph::embeddingForm(DeviceFormCall &call) {
  const plan::TensorType &table = call.operandType(1);
  int64_t width = staticSize(table, 1);
  forElements(call, nameOf(table) + "_" + std::to_string(width),
              {operandArgument(0), operandArgument(1), resultArgument(0)}, {}, [&](KernelBuilder &k, Index element) {
                Index id = k.loadInteger(k.pointer(0), element / width);
                k.store(k.load(k.pointer(1), id * width + element % width, table.dtype), k.pointer(2), element);
              });
}

void morph::take_rowsForm(DeviceFormCall &call) {
  int64_t width = staticSize(call.operandType(0), 2);
  forElements(call, std::to_string(width), {operandArgument(0), operandArgument(1), resultArgument(0)}, {},
              [&](KernelBuilder &k, Index element) {
                Index row = k.loadInteger(k.pointer(1), element / width);
                k.store(k.load(k.pointer(0), row * width + element % width), k.pointer(2), element);
              });
}

void morph::last_rowsForm(DeviceFormCall &call) {
  const plan::TensorType &x = call.operandType(0);
  int64_t width = staticSize(x, 2);
  forElements(call, std::to_string(width), {operandArgument(0), resultArgument(0)}, {productOf(x.shape[1])},
              [&](KernelBuilder &k, Index element) {
                Index row = (element / width + 1) * k.size(1) - 1;
                k.store(k.load(k.pointer(0), row * width + element % width), k.pointer(1), element);
              });
}

/// Angles are computed in double, as on CPUs. A thread has both elements of a pair, so that the result may lie where x
/// does.
void morph::ropeForm(DeviceFormCall &call) {
  const plan::TensorType &x = call.operandType(0);
  const plan::RopeTable &table = call.plan.ropeTables.at(call.text("table"));
  int64_t heads = staticSize(x, 2), width = staticSize(x, 3);
  auto half = static_cast<int64_t>(table.inverseFrequencies.size());
  double factor = table.attentionFactor, sign = call.has("inverse") ? -factor : factor;
  bool hasOffset = call.hasOperand(1);
  std::string kernel = call.define(
      call.text("table") + "_" + std::to_string(heads) + "_" + std::to_string(width) +
          (call.has("inverse") ? "_inverse" : "") + (hasOffset ? "_offset" : ""),
      /*pointers=*/3, /*sizes=*/2, kElementThreads, [&](KernelBuilder &k) {
        Index number = k.block() * kElementThreads + k.thread(), line = number / (width - half),
              place = number % (width - half);
        k.onlyIf(number < k.size(0), [&] {
          Index row = line / heads, position = row % k.size(1), low = line * width + place, high = low + half;
          if (hasOffset)
            position = position + k.loadInteger(k.pointer(1), row / k.size(1));
          k.onlyIf(place < half, [&] {
            auto [sine, cosine] = k.sineAndCosine(k.toDouble(position) * k.constant(table.inverseFrequencies, place));
            Scalar a = k.load(k.pointer(0), low), b = k.load(k.pointer(0), high), c = cosine * factor, s = sine * sign;
            k.store(a * c - b * s, k.pointer(2), low);
            k.store(b * c + a * s, k.pointer(2), high);
          });
          // What the table does not reach stays as it is.
          k.onlyIf(k.integer(half) <= place, [&] { k.store(k.load(k.pointer(0), high), k.pointer(2), high); });
        });
      });
  call.launch(kernel, {productOf({x.shape[0], x.shape[1]}, heads * (width - half), kElementThreads)}, kElementThreads,
              {operandArgument(0), operandArgument(1), resultArgument(0),
               sizeArgument(productOf({x.shape[0], x.shape[1]}, heads * (width - half))),
               sizeArgument(productOf(x.shape[1]))});
}
