// SPDX-License-Identifier: Apache-2.0
// The causal depthwise convolution on GPUs. Inputs are those of the state, zero where there is none, and then x.
// Legend: B batch, T positions, C channels, W taps.

#include "passes/lower/cuda/ElementForms.h"

using namespace mlir;
using namespace morph;

namespace {
struct Convolution {
  /// `first`: the place of x among the operands.
  Convolution(DeviceFormCall &call, size_t first)
      : channels(staticSize(call.operandType(first), 2)), taps(staticSize(call.operandType(first + 1), 2)),
        hasState(call.hasOperand(first + 2)), batch(call.operandType(first).shape[0]),
        length(call.operandType(first).shape[1]) {}

  int64_t channels, taps;
  bool hasState;
  plan::Dim batch, length;

  std::string variant() const {
    return std::to_string(channels) + "_" + std::to_string(taps) + (hasState ? "_state" : "");
  }

  /// Input `number` of a sequence, those of the state included.
  Scalar input(KernelBuilder &k, Value x, Value state, Index sequence, Index length, Index number,
               Index channel) const {
    Index before = k.integer(taps - 1);
    return k.choose(
        number < before,
        [&] { return hasState ? k.load(state, (sequence * (taps - 1) + number) * channels + channel) : k.number(0); },
        [&] { return k.load(x, (sequence * length + (number - before)) * channels + channel); });
  }
};
} // namespace

void morph::short_convForm(DeviceFormCall &call) {
  const Convolution conv(call, 0);
  const int64_t channels = conv.channels, taps = conv.taps;
  forElements(
      call, conv.variant(), {operandArgument(0), operandArgument(1), operandArgument(2), resultArgument(0)},
      {productOf(conv.length)}, [&](KernelBuilder &k, Index element) {
        Index length = k.size(1), channel = element % channels, line = element / channels;
        auto sum = k.loop(k.integer(0), k.integer(taps), 1, {k.number(0)}, [&](Index tap, ArrayRef<Scalar> sums) {
          Scalar x = conv.input(k, k.pointer(0), k.pointer(2), line / length, length, line % length + tap, channel);
          return KernelBuilder::Carried{fma(k.load(k.pointer(1), channel * taps + tap), x, sums[0])};
        });
        k.store(sum[0], k.pointer(3), element);
      });

  // The final state, which may be the state: a thread has a channel, and each row takes a later one.
  std::string keep = call.define("state_" + conv.variant(), 3, 2, kElementThreads, [&](KernelBuilder &k) {
    Index number = k.block() * kElementThreads + k.thread(), length = k.size(1);
    k.onlyIf(number < k.size(0), [&] {
      Index channel = number % channels, sequence = number / channels;
      k.loop(k.integer(0), k.integer(taps - 1), 1, [&](Index row) {
        Scalar x = conv.input(k, k.pointer(0), k.pointer(1), sequence, length, length + row, channel);
        k.store(x, k.pointer(2), (sequence * (taps - 1) + row) * channels + channel);
      });
    });
  });
  call.launch(keep, {productOf(conv.batch, channels, kElementThreads)}, kElementThreads,
              {operandArgument(0), operandArgument(2), resultArgument(1), sizeArgument(productOf(conv.batch, channels)),
               sizeArgument(productOf(conv.length))});
}

void morph::short_conv_gradForm(DeviceFormCall &call) {
  const Convolution conv(call, 1);
  const int64_t channels = conv.channels, taps = conv.taps;
  forElements(call, "x_" + std::to_string(channels) + "_" + std::to_string(taps),
              {operandArgument(0), operandArgument(2), resultArgument(0)}, {productOf(conv.length)},
              [&](KernelBuilder &k, Index element) {
                Index length = k.size(1), channel = element % channels, t = element / channels % length;
                Index later = min(length - t, k.integer(taps));
                auto sum = k.loop(k.integer(0), later, 1, {k.number(0)}, [&](Index ahead, ArrayRef<Scalar> sums) {
                  Scalar dy = k.load(k.pointer(0), element + ahead * channels);
                  Scalar weight = k.load(k.pointer(1), channel * taps + (k.integer(taps - 1) - ahead));
                  return KernelBuilder::Carried{fma(weight, dy, sums[0])};
                });
                k.store(sum[0], k.pointer(2), element);
              });

  // The weight's gradient: a block sums a tap of some channels over some positions, and then the parts are summed.
  constexpr int64_t warp = 32, slots = kElementThreads / warp, positions = 256;
  plan::LaunchArgument parts =
      call.takeScratch(productOf({conv.batch, conv.length}, 1, positions, llvm::divideCeil(channels * taps, 64) * 256));
  std::string sums = call.define("parts_" + conv.variant(), 4, 2, kElementThreads, [&](KernelBuilder &k) {
    Index lane = k.thread() % warp, slot = k.thread() / warp, channel = k.block(1) * warp + lane, tap = k.block(2);
    Index lines = k.size(0), length = k.size(1), begin = k.block() * positions;
    Index there = min(channel, k.integer(channels - 1));
    auto sum = k.loop(
        begin + slot, min(begin + positions, lines), slots, {k.number(0)}, [&](Index line, ArrayRef<Scalar> sums) {
          Scalar x = conv.input(k, k.pointer(1), k.pointer(2), line / length, length, line % length + tap, there);
          return KernelBuilder::Carried{fma(k.load(k.pointer(0), line * channels + there), x, sums[0])};
        });
    Scalar total = sumOverWarps(k, sum[0]);
    k.onlyIf(k.both(slot == 0, channel < channels),
             [&] { k.store(total, k.pointer(3), (k.block() * channels + channel) * taps + tap); });
  });
  call.launch(sums,
              {productOf({conv.batch, conv.length}, 1, positions),
               plan::constantFormula(llvm::divideCeil(channels, warp)), plan::constantFormula(taps)},
              kElementThreads,
              {operandArgument(0), operandArgument(1), operandArgument(3), parts,
               sizeArgument(productOf({conv.batch, conv.length})), sizeArgument(productOf(conv.length))});
  call.launch(call.defineSumOfParts(channels * taps), {plan::constantFormula(llvm::divideCeil(channels * taps, 128))},
              128, {parts, resultArgument(1), sizeArgument(productOf({conv.batch, conv.length}, 1, positions))});
}
