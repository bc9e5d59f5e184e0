// SPDX-License-Identifier: Apache-2.0
// Moves of rows and rotations on GPUs: a thread an element. Legend: B batch, T positions, H heads, D head dimension, N
// rows, C channels, F frequencies.

#include "passes/lower/cuda/DeviceForms.h"

using namespace mlir;
using namespace morph;

static constexpr int64_t kThreads = 256;

/// Launches a kernel with a thread an element of the first result. `build` gets the element's number, which is below the
/// count; sizes are passed on as the kernel's own, after the count.
static void forElements(DeviceFormCall &call, const std::string &variant, std::vector<plan::LaunchArgument> pointers,
                        std::vector<plan::SizeFormula> sizes,
                        llvm::function_ref<void(KernelBuilder &, Index element)> build) {
  auto count = static_cast<unsigned>(pointers.size());
  std::string kernel = call.define(variant, count, static_cast<unsigned>(sizes.size()) + 1, kThreads, [&](KernelBuilder &k) {
    Index element = k.block() * kThreads + k.thread();
    k.onlyIf(element < k.size(0), [&] { build(k, element); });
  });
  std::vector<plan::LaunchArgument> arguments = std::move(pointers);
  arguments.push_back(sizeArgument(elementsOf(call.resultType(0))));
  for (plan::SizeFormula &size : sizes)
    arguments.push_back(sizeArgument(std::move(size)));
  call.launch(kernel, {elementsOf(call.resultType(0), kThreads)}, kThreads, arguments);
}

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

/// Angles are computed in double, as on CPUs, from sines and cosines that the host has not made: position by position
/// they would be a table as long as the context.
void morph::ropeForm(DeviceFormCall &call) {
  const plan::TensorType &x = call.operandType(0);
  const plan::RopeTable &table = call.plan.ropeTables.at(call.text("table"));
  int64_t heads = staticSize(x, 2), width = staticSize(x, 3);
  auto half = static_cast<int64_t>(table.inverseFrequencies.size());
  bool isInverse = call.has("inverse"), hasOffset = call.hasOperand(1);
  std::string variant = call.text("table") + "_" + std::to_string(heads) + "_" + std::to_string(width) +
                        (isInverse ? "_inverse" : "") + (hasOffset ? "_offset" : "");
  forElements(call, variant, {operandArgument(0), operandArgument(1), resultArgument(0)}, {productOf(x.shape[1])},
              [&](KernelBuilder &k, Index element) {
                Index inRow = element % width, position = element / (heads * width) % k.size(1);
                if (hasOffset)
                  position = position + k.loadInteger(k.pointer(1), k.integer(0));
                Scalar own = k.load(k.pointer(0), element);
                Index isHigh = k.select(inRow < half, k.integer(0), k.integer(half));
                Scalar result = k.choose(
                    inRow < 2 * half,
                    [&] {
                      Index frequency = inRow - isHigh;
                      auto [sine, cosine] = k.sineAndCosine(k.toDouble(position) * k.constant(table.inverseFrequencies, frequency));
                      Index partner = k.select(inRow < half, element + half, element - half);
                      Scalar other = k.load(k.pointer(0), partner);
                      double factor = table.attentionFactor;
                      // Low elements take the other one's sine from them, high ones add it; the inverse turns back.
                      Scalar sign = k.select(inRow < half, k.number(isInverse ? factor : -factor),
                                             k.number(isInverse ? -factor : factor));
                      return own * (cosine * factor) + other * (sine * sign);
                    },
                    [&] { return own; });
                k.store(result, k.pointer(2), element);
              });
}
