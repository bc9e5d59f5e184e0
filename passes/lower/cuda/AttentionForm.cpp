// SPDX-License-Identifier: Apache-2.0
// Softmax attention on GPUs: a block has a tile of rows of a key-value head, and goes over tiles of its keys with a
// softmax that goes on (FlashAttention). Legend: see AttentionTiles.h.

#include "passes/lower/cuda/TensorAttention.h"

#include <limits>

using namespace mlir;
using namespace morph;

using Carried = KernelBuilder::Carried;

/// Pointers: q, k, v, start, offset, y and, where it `keepsLogSums`, these.
static void buildAttention(KernelBuilder &k, const AttentionShape &shape, AttentionTiles &tiles, bool keepsLogSums) {
  const double lowest = std::numeric_limits<float>::lowest();
  const auto perThread = static_cast<size_t>(tiles.perThread);
  tiles.begin(k);
  AttentionRows rows(k, shape, tiles, k.pointer(3), k.pointer(4));
  auto ofRow = [&](Index row) { return rows.place(row); };
  auto ofKey = [&](Index at) { return [&, at](Index row) { return rows.placeOfKey(at + row); }; };

  Value q = tiles.rows(0), kv = tiles.rows(1);
  tiles.load(q, k.pointer(0), shape.type, ofRow);

  // Of each row the greatest product and the sum so far, then the sums of values.
  Carried start(perThread, k.number(lowest));
  start.append(perThread + static_cast<size_t>(tiles.sumCount()), k.number(0));
  Carried all = k.loop(rows.begin, rows.end, tiles.tile(), start, [&](Index at, ArrayRef<Scalar> carried) {
    Carried next(carried);
    k.barrier();
    tiles.load(kv, k.pointer(1), shape.type, ofKey(at));
    k.barrier();
    Carried shares = tiles.products(q, kv), factors;
    for (Scalar &share : shares)
      share = shape.capped(share);
    for (size_t i = 0; i < perThread; ++i)
      factors.push_back(
          rows.addShares(at, i, MutableArrayRef(shares).slice(i * perThread, perThread), next[i], next[perThread + i]));
    tiles.storeWeights(shares);
    k.barrier();
    tiles.load(kv, k.pointer(2), shape.type, ofKey(at));
    k.barrier();
    Carried sums(llvm::drop_begin(next, 2 * perThread));
    size_t each = sums.size() / perThread;
    for (auto [n, sum] : llvm::enumerate(sums))
      sum = sum * factors[n / each];
    llvm::copy(tiles.addWeighted(kv, sums), next.begin() + 2 * perThread);
    return next;
  });
  Carried inverse;
  for (size_t i = 0; i < perThread; ++i) {
    // A row that sees no key gives zero.
    Scalar sum = all[perThread + i];
    inverse.push_back(selectBelow(-sum, 0, 1 / sum, k.number(0)));
    if (!keepsLogSums)
      continue;
    Index row = rows.firstRow + tiles.row(static_cast<int64_t>(i));
    k.onlyIf(k.both(row < rows.rows, tiles.column(0) == 0), [&] {
      Scalar logSum = selectBelow(-sum, 0, fma(all[i], k.number(shape.scale), log(sum)),
                                  k.number(std::numeric_limits<double>::infinity()));
      k.store(logSum, k.pointer(6), shape.logSumElement(rows.batch, rows.queries, rows.group, row));
    });
  }
  tiles.storeSums(ArrayRef(all).drop_front(2 * perThread), inverse, k.pointer(5), ofRow);
}

void morph::launchAttention(DeviceFormCall &call, const AttentionShape &shape, const AttentionOutputs &outputs) {
  if (shape.isForTensorCores())
    return launchTensorAttention(call, shape, outputs);
  AttentionTiles tiles(shape.width, /*rowTiles=*/2);
  const bool keeps = outputs.lse.has_value();
  std::string kernel =
      call.define(shape.variant() + (keeps ? "_lse" : ""), /*pointers=*/7, /*sizes=*/2, AttentionTiles::kThreads,
                  [&](KernelBuilder &k) { buildAttention(k, shape, tiles, keeps); });
  std::vector<plan::LaunchArgument> arguments = shape.arguments();
  arguments.insert(arguments.end(), {outputs.out, outputs.lse.value_or(outputs.out),
                                     sizeArgument(productOf(shape.queries)), sizeArgument(productOf(shape.keys))});
  call.launch(kernel, {shape.tilesOfRows(tiles.tile()), plan::constantFormula(shape.groups), productOf(shape.batch)},
              AttentionTiles::kThreads, std::move(arguments), tiles.sharedBytes());
}

void morph::attentionForm(DeviceFormCall &call) {
  AttentionOutputs outputs{resultArgument(0), {}};
  if (call.has("keep_lse"))
    outputs.lse = resultArgument(1);
  launchAttention(call, AttentionShape(call, 0), outputs);
}
