// SPDX-License-Identifier: Apache-2.0
#include "passes/lower/cuda/LinearAttentionSums.h"

#include "passes/lower/cuda/ElementForms.h"

#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace morph;

using Carried = KernelBuilder::Carried;

void PartSums::sumHeads(const plan::LaunchArgument &from, const plan::LaunchArgument &to, int64_t width,
                        int64_t heads) {
  std::string name = llvm::join_items("_", "sum", std::to_string(parts), std::to_string(width), std::to_string(heads));
  std::string kernel = call.define(name, 2, 2, kElementThreads, [&](KernelBuilder &k) {
    Index element = k.block() * kElementThreads + k.thread();
    k.onlyIf(element < k.size(1), [&] {
      Index first = element / width * heads * width + element % width;
      auto sum = k.loop(k.integer(0), k.integer(parts), 1, {k.number(0)}, [&](Index part, ArrayRef<Scalar> sums) {
        Scalar sum = sums[0];
        for (int64_t head = 0; head < heads; ++head)
          sum = sum + k.load(k.pointer(0), (part * k.size(0)) * width + first + head * width);
        return Carried{sum};
      });
      k.store(sum[0], k.pointer(1), element);
    });
  });
  std::vector<plan::Dim> dims{shape.batch, shape.length};
  int64_t each = shape.heads / heads * width;
  call.launch(kernel, {productOf(dims, each, kElementThreads)}, kElementThreads,
              {from, to, lines, sizeArgument(productOf(dims, each))});
}

void PartSums::sumPositions(const plan::LaunchArgument &from, const plan::LaunchArgument &to, int64_t width) {
  std::string name =
      llvm::join_items("_", "positions", std::to_string(parts), std::to_string(width), std::to_string(shape.heads));
  std::string kernel = call.define(name, 2, 1, kElementThreads, [&](KernelBuilder &k) {
    constexpr int64_t slots = kElementThreads / kWarp;
    Index lane = k.thread() % kWarp, slot = k.thread() / kWarp, element = k.block(0) * kWarp + lane;
    Index there = min(element, k.integer(width - 1));
    auto sum =
        k.loop(slot, k.size(0) / shape.heads * parts, slots, {k.number(0)}, [&](Index number, ArrayRef<Scalar> sums) {
          Index line = number * shape.heads + k.block(1);
          return Carried{sums[0] + k.load(k.pointer(0), line * width + there)};
        });
    Scalar total = sumOverWarps(k, sum[0]);
    k.onlyIf(k.both(slot == 0, element < width), [&] { k.store(total, k.pointer(1), k.block(1) * width + element); });
  });
  call.launch(kernel, {plan::constantFormula(llvm::divideCeil(width, kWarp)), plan::constantFormula(shape.heads), {}},
              kElementThreads, {from, to, lines});
}

void PartSums::sumLines(const plan::LaunchArgument &from, const plan::LaunchArgument &to, ArrayRef<plan::Dim> dims,
                        int64_t scale, int64_t parts) {
  std::string name = llvm::join_items("_", "lines", std::to_string(parts), std::to_string(shape.width));
  std::string kernel = call.define(name, 2, 1, kElementThreads, [&](KernelBuilder &k) {
    Index lane = k.thread() % kWarp, line = k.block() * (kElementThreads / kWarp) + k.thread() / kWarp;
    Index there = min(line, k.size(0) - 1);
    auto sum =
        k.loop(lane, k.integer(parts * shape.width), kWarp, {k.number(0)}, [&](Index number, ArrayRef<Scalar> sums) {
          Index element = (number / shape.width * k.size(0) + there) * shape.width;
          return Carried{sums[0] + k.load(k.pointer(0), element + number % shape.width)};
        });
    Scalar total = k.laneSum(sum[0], kWarp);
    k.onlyIf(k.both(lane == 0, line < k.size(0)), [&] { k.store(total, k.pointer(1), line); });
  });
  call.launch(kernel, {productOf(dims, scale, kElementThreads / kWarp)}, kElementThreads,
              {from, to, sizeArgument(productOf(dims, scale))});
}
