// SPDX-License-Identifier: Apache-2.0
// The gradient of softmax attention on GPUs, as in FlashAttention-2: tiles of rows find their softmax and dq, then
// tiles of keys find dk and dv. Every sum has one order. Legend: see AttentionTiles.h.

#include "passes/lower/cuda/TensorAttention.h"

#include <limits>

using namespace mlir;
using namespace morph;

using Carried = KernelBuilder::Carried;

/// What the first kernel leaves of a row: the greatest product, the reciprocal of the sum, and the sum of the shares
/// times their gradients.
static constexpr int64_t kStatistics = 3;
static constexpr double kLowest = std::numeric_limits<float>::lowest();

/// dq of a tile of rows. Pointers: dy, q, k, v, start, dq, statistics.
static void buildRows(KernelBuilder &k, const AttentionShape &shape, AttentionTiles &tiles) {
  const int64_t tile = tiles.tile();
  const auto perThread = static_cast<size_t>(tiles.perThread);
  tiles.begin(k);
  AttentionRows rows(k, shape, tiles, k.pointer(4), {});
  auto ofRow = [&](Index row) { return rows.place(row); };
  auto ofKey = [&](Index at) { return [&, at](Index row) { return rows.placeOfKey(at + row); }; };
  Value q = tiles.rows(0), dO = tiles.rows(1), key = tiles.rows(2), value = tiles.rows(3);
  tiles.load(q, k.pointer(1), shape.type, ofRow);
  tiles.load(dO, k.pointer(0), shape.type, ofRow);
  auto loadKeys = [&](Index at) {
    k.barrier();
    tiles.load(key, k.pointer(2), shape.type, ofKey(at));
    tiles.load(value, k.pointer(3), shape.type, ofKey(at));
    k.barrier();
  };

  Carried start(perThread, k.number(kLowest));
  start.append(2 * perThread, k.number(0));
  Carried statistics = k.loop(rows.begin, rows.end, tile, start, [&](Index at, ArrayRef<Scalar> carried) {
    Carried next(carried);
    loadKeys(at);
    Carried products = tiles.products(q, key), gradients = tiles.products(dO, value);
    for (size_t i = 0; i < perThread; ++i) {
      MutableArrayRef<Scalar> shares = MutableArrayRef(products).slice(i * perThread, perThread);
      Scalar factor = rows.addShares(at, i, shares, next[i], next[perThread + i]);
      Scalar inners = k.number(0), &inner = next[2 * perThread + i];
      for (size_t j = 0; j < perThread; ++j)
        inners = fma(shares[j], gradients[i * perThread + j], inners);
      inner = fma(inner, factor, tiles.rowSum(inners));
    }
    return next;
  });
  for (size_t i = 0; i < perThread; ++i) {
    Scalar &sum = statistics[perThread + i], &inner = statistics[2 * perThread + i];
    sum = selectBelow(-sum, 0, 1 / sum, k.number(0));
    inner = inner * sum;
    Index row = rows.firstRow + tiles.row(static_cast<int64_t>(i));
    k.onlyIf(k.both(row < rows.rows, tiles.column(0) == 0), [&] {
      Index element = ((rows.batch * shape.groups + rows.group) * rows.rows + row) * kStatistics;
      for (int64_t n = 0; n < kStatistics; ++n)
        k.store(statistics[static_cast<size_t>(n) * perThread + i], k.pointer(6), element + n);
    });
  }

  Carried sums(static_cast<size_t>(tiles.sumCount()), k.number(0));
  sums = k.loop(rows.begin, rows.end, tile, sums, [&](Index at, ArrayRef<Scalar> carried) {
    loadKeys(at);
    Carried products = tiles.products(q, key), gradients = tiles.products(dO, value);
    for (size_t i = 0; i < perThread; ++i)
      for (size_t j = 0; j < perThread; ++j) {
        Scalar &x = products[i * perThread + j];
        Scalar share = exp((x - statistics[i]) * shape.scale) * statistics[perThread + i];
        x = share * (gradients[i * perThread + j] - statistics[2 * perThread + i]) * shape.scale;
        x = k.select(rows.isVisible(at, i, j), x, k.number(0));
      }
    tiles.storeWeights(products);
    k.barrier();
    return tiles.addWeighted(key, carried);
  });
  tiles.storeSums(sums, Carried(perThread, k.number(1)), k.pointer(5), ofRow);
}

/// dk and dv of a tile of keys. Pointers: dy, q, k, v, start, dk, dv, statistics.
static void buildKeys(KernelBuilder &k, const AttentionShape &shape, AttentionTiles &tiles) {
  const int64_t tile = tiles.tile(), group = shape.group();
  const auto perThread = static_cast<size_t>(tiles.perThread);
  tiles.begin(k);
  Index queries = k.size(0), keys = k.size(1), rows = queries * group;
  // The first keys are seen by the most queries.
  Index firstKey = k.block(0) * tile, g = k.block(1), b = k.block(2);
  AttentionKeys seen(k, shape, b, queries, keys, k.pointer(4), {});
  Index begin = max(firstKey - seen.base, k.integer(0)) * group / tile * tile, end = rows;
  if (shape.window > 0)
    end = min(end, max(min(firstKey + tile, keys) + (shape.window - 1) - seen.base, k.integer(0)) * group);
  auto ofKey = [&](Index row) {
    return std::pair(shape.keyElement(b, keys, g, firstKey + row), firstKey + row < keys);
  };
  auto ofRow = [&](Index at) {
    return [&, at](Index row) { return std::pair(shape.rowElement(b, queries, g, at + row), at + row < rows); };
  };
  Value key = tiles.rows(0), value = tiles.rows(1), q = tiles.rows(2), dO = tiles.rows(3);
  tiles.load(key, k.pointer(2), shape.type, ofKey);
  tiles.load(value, k.pointer(3), shape.type, ofKey);
  const auto sumCount = static_cast<size_t>(tiles.sumCount());
  Carried sums = k.loop(begin, end, tile, Carried(2 * sumCount, k.number(0)), [&](Index at, ArrayRef<Scalar> carried) {
    k.barrier();
    tiles.load(q, k.pointer(1), shape.type, ofRow(at));
    tiles.load(dO, k.pointer(0), shape.type, ofRow(at));
    k.barrier();
    Carried shares = tiles.products(key, q), gradients = tiles.products(value, dO);
    for (size_t j = 0; j < perThread; ++j) {
      Index row = at + tiles.column(static_cast<int64_t>(j)), position = seen.positionOf(row);
      Value isRow = row < rows;
      Index element = ((b * shape.groups + g) * rows + min(row, rows - 1)) * kStatistics;
      Scalar most = k.load(k.pointer(7), element), inverse = k.load(k.pointer(7), element + 1),
             inner = k.load(k.pointer(7), element + 2);
      for (size_t i = 0; i < perThread; ++i) {
        Index at = firstKey + tiles.row(static_cast<int64_t>(i));
        Value isVisible = k.both(isRow, seen.isVisible(at, position));
        Scalar &share = shares[i * perThread + j], &gradient = gradients[i * perThread + j];
        share = k.select(isVisible, exp((share - most) * shape.scale) * inverse, k.number(0));
        gradient = share * (gradient - inner) * shape.scale;
      }
    }
    tiles.storeWeights(shares);
    k.barrier();
    Carried values = tiles.addWeighted(dO, carried.drop_front(sumCount));
    k.barrier();
    tiles.storeWeights(gradients);
    k.barrier();
    Carried next = tiles.addWeighted(q, carried.take_front(sumCount));
    next.append(values);
    return next;
  });
  Carried ones(perThread, k.number(1));
  tiles.storeSums(ArrayRef(sums).take_front(sumCount), ones, k.pointer(5), ofKey);
  tiles.storeSums(ArrayRef(sums).drop_front(sumCount), ones, k.pointer(6), ofKey);
}

void morph::attention_gradForm(DeviceFormCall &call) {
  AttentionShape shape(call, 1);
  if (shape.isForTensorCores())
    return launchTensorAttentionGrad(call, shape);
  AttentionTiles tiles(shape.width, /*rowTiles=*/4);
  plan::LaunchArgument statistics =
      call.takeScratch(scratchOf({shape.batch, shape.queries}, shape.heads * kStatistics));
  plan::LaunchArgument queries = sizeArgument(productOf(shape.queries)), keys = sizeArgument(productOf(shape.keys));
  constexpr int64_t threads = AttentionTiles::kThreads;
  std::string ofRows = call.define("rows_" + shape.variant(), /*pointers=*/7, /*sizes=*/2, threads,
                                   [&](KernelBuilder &k) { buildRows(k, shape, tiles); });
  call.launch(ofRows, {shape.tilesOfRows(tiles.tile()), plan::constantFormula(shape.groups), productOf(shape.batch)},
              threads,
              {operandArgument(0), operandArgument(1), operandArgument(2), operandArgument(3), operandArgument(4),
               resultArgument(0), statistics, queries, keys},
              tiles.sharedBytes());
  std::string ofKeys = call.define("keys_" + shape.variant(), /*pointers=*/8, /*sizes=*/2, threads,
                                   [&](KernelBuilder &k) { buildKeys(k, shape, tiles); });
  call.launch(ofKeys,
              {productOf(shape.keys, 1, tiles.tile()), plan::constantFormula(shape.groups), productOf(shape.batch)},
              threads,
              {operandArgument(0), operandArgument(1), operandArgument(2), operandArgument(3), operandArgument(4),
               resultArgument(1), resultArgument(2), statistics, queries, keys},
              tiles.sharedBytes());
}
