// SPDX-License-Identifier: Apache-2.0
// The gradient of softmax attention on GPUs, as in FlashAttention-2: of what the forward leaves, tiles of rows find dq,
// then tiles of keys dk and dv. Every sum has one order. Legend: see AttentionTiles.h.

#include "passes/lower/cuda/TensorAttention.h"

using namespace mlir;
using namespace morph;

using Carried = KernelBuilder::Carried;

/// dq of a tile of rows, and for the kernel of keys [B,G,rows]: the sums of a row's shares times their gradients.
/// Pointers: dy, q, k, v, start, y, logarithms of the rows' sums, dq, inner. dq may lie where y does.
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

  k.barrier();
  Carried inner = tiles.innerProducts(dO, k.pointer(5), ofRow), logSums;
  k.barrier(); // Before dq is where y was.
  for (size_t i = 0; i < perThread; ++i) {
    Index row = rows.firstRow + tiles.row(static_cast<int64_t>(i));
    logSums.push_back(
        k.load(k.pointer(6), shape.logSumElement(rows.batch, rows.queries, rows.group, min(row, rows.rows - 1))));
    k.onlyIf(k.both(row < rows.rows, tiles.column(0) == 0),
             [&] { k.store(inner[i], k.pointer(8), (rows.batch * shape.groups + rows.group) * rows.rows + row); });
  }

  Carried sums(static_cast<size_t>(tiles.sumCount()), k.number(0));
  sums = k.loop(rows.begin, rows.end, tile, sums, [&](Index at, ArrayRef<Scalar> carried) {
    loadKeys(at);
    Carried products = tiles.products(q, key), gradients = tiles.products(dO, value);
    for (size_t i = 0; i < perThread; ++i)
      for (size_t j = 0; j < perThread; ++j) {
        Scalar &x = products[i * perThread + j];
        const Scalar score = shape.capped(x);
        x = exp(score * shape.scale - logSums[i]) * (gradients[i * perThread + j] - inner[i]) * shape.scale;
        if (shape.softcap != 0)
          x = x * shape.slopeOf(score);
        x = k.select(rows.isVisible(at, i, j), x, k.number(0));
      }
    tiles.storeWeights(products);
    k.barrier();
    return tiles.addWeighted(key, carried);
  });
  tiles.storeSums(sums, Carried(perThread, k.number(1)), k.pointer(7), ofRow);
}

/// dk and dv of a tile of keys. Pointers: dy, q, k, v, start, logarithms of the rows' sums, inner, dk, dv.
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
      Index known = min(row, rows - 1);
      Scalar logSum = k.load(k.pointer(5), shape.logSumElement(b, queries, g, known)),
             inner = k.load(k.pointer(6), (b * shape.groups + g) * rows + known);
      for (size_t i = 0; i < perThread; ++i) {
        Index at = firstKey + tiles.row(static_cast<int64_t>(i));
        Value isVisible = k.both(isRow, seen.isVisible(at, position));
        Scalar &share = shares[i * perThread + j], &gradient = gradients[i * perThread + j];
        const Scalar score = shape.capped(share);
        share = k.select(isVisible, exp(score * shape.scale - logSum), k.number(0));
        gradient = share * (gradient - inner) * shape.scale;
        if (shape.softcap != 0)
          gradient = gradient * shape.slopeOf(score);
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
  tiles.storeSums(ArrayRef(sums).take_front(sumCount), ones, k.pointer(7), ofKey);
  tiles.storeSums(ArrayRef(sums).drop_front(sumCount), ones, k.pointer(8), ofKey);
}

void morph::attention_gradForm(DeviceFormCall &call) {
  AttentionShape shape(call, 1);
  AttentionOutputs forward;
  if (call.hasOperand(5)) {
    forward = {operandArgument(5), operandArgument(6)};
  } else {
    // The forward once more; its result lies where dq will.
    forward = {resultArgument(0), call.takeScratch(scratchOf({shape.batch, shape.queries}, shape.heads))};
    launchAttention(call, shape, forward);
  }
  if (shape.isForTensorCores())
    return launchTensorAttentionGrad(call, shape, forward);
  AttentionTiles tiles(shape.width, /*rowTiles=*/4);
  plan::LaunchArgument inner = call.takeScratch(scratchOf({shape.batch, shape.queries}, shape.heads));
  auto launch = [&](const std::string &kernel, const plan::SizeFormula &blocks,
                    std::initializer_list<plan::LaunchArgument> rest) {
    std::vector<plan::LaunchArgument> arguments{operandArgument(0), operandArgument(1), operandArgument(2),
                                                operandArgument(3), operandArgument(4)};
    arguments.insert(arguments.end(), rest);
    arguments.insert(arguments.end(), {sizeArgument(productOf(shape.queries)), sizeArgument(productOf(shape.keys))});
    call.launch(kernel, {blocks, plan::constantFormula(shape.groups), productOf(shape.batch)}, AttentionTiles::kThreads,
                std::move(arguments), tiles.sharedBytes());
  };
  constexpr int64_t threads = AttentionTiles::kThreads;
  std::string ofRows = call.define("rows_" + shape.variant(), /*pointers=*/9, /*sizes=*/2, threads,
                                   [&](KernelBuilder &k) { buildRows(k, shape, tiles); });
  launch(ofRows, shape.tilesOfRows(tiles.tile()), {forward.out, *forward.lse, resultArgument(0), inner});
  std::string ofKeys = call.define("keys_" + shape.variant(), /*pointers=*/9, /*sizes=*/2, threads,
                                   [&](KernelBuilder &k) { buildKeys(k, shape, tiles); });
  launch(ofKeys, productOf(shape.keys, 1, tiles.tile()), {*forward.lse, inner, resultArgument(1), resultArgument(2)});
}
