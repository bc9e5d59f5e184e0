// SPDX-License-Identifier: Apache-2.0
// Softmax attention on GPUs: a block has a tile of rows of a key-value head, and goes over tiles of its keys with a
// softmax that goes on (FlashAttention). Legend: see AttentionTiles.h.

#include "passes/lower/cuda/AttentionTiles.h"

#include <limits>

using namespace mlir;
using namespace morph;

using Carried = KernelBuilder::Carried;

static void buildAttention(KernelBuilder &k, const AttentionShape &shape, AttentionTiles &tiles) {
  const double lowest = std::numeric_limits<float>::lowest();
  const int64_t tile = tiles.tile();
  const auto perThread = static_cast<size_t>(tiles.perThread);
  tiles.begin(k);
  Index queries = k.size(0), keys = k.size(1), rows = queries * shape.group();
  // The last queries see the most keys, and go first.
  Index number = (rows + (tile - 1)) / tile - 1 - k.block(0), g = k.block(1), b = k.block(2);
  AttentionKeys seen(k, shape, b, queries, keys, k.pointer(3), k.pointer(4));
  Index firstRow = number * tile, lastRow = min(firstRow + tile, rows) - 1;
  Index end = seen.positionOf(lastRow) + 1, first = min(seen.firstSeen(seen.positionOf(firstRow)), end);
  Index begin = first / tile * tile;
  // Keys follow each other from the first one on, but where the ring ends.
  Index firstSlot = shape.hasOffset ? first % max(keys, k.integer(1)) : first;

  auto ofRow = [&](Index row) {
    Index r = firstRow + row;
    return std::pair(shape.rowElement(b, queries, g, r), r < rows);
  };
  auto ofKey = [&](Index begin) {
    return [&, begin](Index row) {
      Index key = begin + row, slot = firstSlot + (key - first);
      if (shape.hasOffset)
        slot = k.select(slot < keys, slot, slot - keys);
      return std::pair(shape.keyElement(b, keys, g, slot), k.both(first <= key, key < end));
    };
  };

  Value q = tiles.rows(0), kv = tiles.rows(1);
  tiles.load(q, k.pointer(0), shape.type, ofRow);
  SmallVector<Index> positions;
  for (int64_t i = 0; i < tiles.perThread; ++i)
    positions.push_back(seen.positionOf(firstRow + tiles.row(i)));

  // Of each row the greatest product and the sum so far, then the sums of values.
  Carried start(perThread, k.number(lowest));
  start.append(perThread + static_cast<size_t>(tiles.sumCount()), k.number(0));
  Carried all = k.loop(begin, end, tile, start, [&](Index at, ArrayRef<Scalar> carried) {
    Carried next(carried);
    k.barrier();
    tiles.load(kv, k.pointer(1), shape.type, ofKey(at));
    k.barrier();
    Carried shares = tiles.products(q, kv), factors;
    for (size_t i = 0; i < perThread; ++i) {
      SmallVector<Value> isVisible;
      Scalar &most = next[i], &sum = next[perThread + i];
      Scalar before = most, largest = before, total = k.number(0);
      for (size_t j = 0; j < perThread; ++j) {
        Scalar &x = shares[i * perThread + j];
        isVisible.push_back(seen.isVisible(at + tiles.column(static_cast<int64_t>(j)), positions[i]));
        x = k.select(isVisible.back(), x, k.number(lowest));
        largest = max(x, largest);
      }
      most = tiles.rowMax(largest);
      for (size_t j = 0; j < perThread; ++j) {
        Scalar &x = shares[i * perThread + j];
        x = k.select(isVisible[j], exp((x - most) * shape.scale), k.number(0));
        total = total + x;
      }
      // Where there was no key before, the sums are zero, and any finite factor will do.
      factors.push_back(exp(max((before - most) * shape.scale, -80.0)));
      sum = fma(sum, factors.back(), tiles.rowSum(total));
    }
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
  }
  tiles.storeSums(ArrayRef(all).drop_front(2 * perThread), inverse, k.pointer(5), ofRow);
}

void morph::attentionForm(DeviceFormCall &call) {
  AttentionShape shape(call, 0);
  AttentionTiles tiles(shape.width, /*rowTiles=*/2);
  std::string kernel = call.define(shape.variant(), /*pointers=*/6, /*sizes=*/2, AttentionTiles::kThreads,
                                   [&](KernelBuilder &k) { buildAttention(k, shape, tiles); });
  call.launch(kernel, {shape.tilesOfRows(tiles.tile()), plan::constantFormula(shape.groups), productOf(shape.batch)},
              AttentionTiles::kThreads,
              {operandArgument(0), operandArgument(1), operandArgument(2), operandArgument(3), operandArgument(4),
               resultArgument(0), sizeArgument(productOf(shape.queries)), sizeArgument(productOf(shape.keys))},
              tiles.sharedBytes());
}
