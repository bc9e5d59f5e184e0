// SPDX-License-Identifier: Apache-2.0
#include "passes/lower/cuda/AttentionTiles.h"

#include "passes/lower/cuda/ElementForms.h"

#include <limits>

using namespace mlir;
using namespace morph;

AttentionShape::AttentionShape(DeviceFormCall &call, size_t first)
    : first(first), heads(staticSize(call.operandType(first), 2)), groups(staticSize(call.operandType(first + 1), 2)),
      width(staticSize(call.operandType(first), 3)), scale(call.real("scale")),
      window(call.has("window") ? call.integer("window") : 0), softcap(call.has("softcap") ? call.real("softcap") : 0),
      hasStart(call.hasOperand(first + 3)),
      hasOffset(call.rule.operandIndex("offset") >= 0 && call.hasOperand(first + 4)),
      type(call.operandType(first).dtype), batch(call.operandType(first).shape[0]),
      queries(call.operandType(first).shape[1]), keys(call.operandType(first + 1).shape[1]) {}

std::string AttentionShape::variant() const {
  std::string name = plan::dtypeName(type);
  for (int64_t number : {heads, groups, width, window})
    name += "_" + std::to_string(number);
  return name + "_" + exactName(scale) + (softcap != 0 ? "_cap" + exactName(softcap) : "") +
         (hasStart ? "_start" : "") + (hasOffset ? "_offset" : "");
}

Scalar AttentionShape::capped(Scalar product) const {
  if (softcap == 0)
    return product;
  // tanh(x) is sigmoid(2 x) - sigmoid(-2 x): wrong by a rounding of one, which a score may be by anyway.
  Scalar twice = product * (2 * scale / softcap);
  return (sigmoid(twice) - sigmoid(-twice)) * (softcap / scale);
}

Scalar AttentionShape::slopeOf(Scalar capped) const {
  Scalar tanh = capped * (scale / softcap);
  return 1 - tanh * tanh;
}

std::vector<plan::LaunchArgument> AttentionShape::arguments() const {
  std::vector<plan::LaunchArgument> arguments;
  // The gradient has no offset; nor does a kernel read what is not there.
  for (int64_t operand : {0, 1, 2, 3, hasOffset ? 4 : 3})
    arguments.push_back(operandArgument(static_cast<int64_t>(first) + operand));
  return arguments;
}

AttentionTiles::AttentionTiles(int64_t width, int64_t rowTiles)
    : perThread(4), width(width), rowTiles(rowTiles), vector(width % 64 == 0   ? 4
                                                             : width % 32 == 0 ? 2
                                                                               : 1),
      pieces(llvm::divideCeil(width, kSide * vector)) {
  while (perThread > 1 && sharedBytes() > kBlockSharedBytes)
    perThread /= 2;
}

void AttentionTiles::begin(KernelBuilder &kernel) {
  k = &kernel;
  Index thread = kernel.thread();
  firstRow.emplace(thread / kSide * perThread);
  firstColumn.emplace(thread % kSide);
}

void AttentionTiles::load(Value to, Value from, plan::DType type,
                          llvm::function_ref<std::pair<Index, Value>(Index row)> place) {
  // Zeros up to a multiple of the vector, so that products need not look at the end.
  int64_t lanes = width % kVector == 0 ? kVector : 1, columns = (width + 3) / 4 * 4 / lanes;
  k->loop(k->thread(), k->integer(tile() * columns), kThreads, [&](Index number) {
    Index row = number / columns, column = number % columns * lanes;
    auto [element, isThere] = place(row);
    if (width % kVector != 0)
      isThere = k->both(isThere, column < width);
    // The first element is always there.
    Carried values = k->loadVector(from, k->select(isThere, element + column, k->integer(0)), lanes, type);
    for (Scalar &value : values)
      value = k->select(isThere, value, k->number(0));
    k->storeVector(values, to, row * stride() + column);
  });
}

AttentionTiles::Carried AttentionTiles::products(Value a, Value b) {
  auto count = static_cast<size_t>(perThread);
  return k->loop(k->integer(0), k->integer((width + 3) / 4 * 4), kVector, Carried(count * count, k->number(0)),
                 [&](Index d, ArrayRef<Scalar> start) {
                   Carried sums(start);
                   SmallVector<Carried> ofA, ofB;
                   for (int64_t i = 0; i < perThread; ++i) {
                     ofA.push_back(k->loadVector(a, row(i) * stride() + d, kVector));
                     ofB.push_back(k->loadVector(b, column(i) * stride() + d, kVector));
                   }
                   for (size_t n = 0; n < kVector; ++n)
                     for (size_t i = 0; i < count; ++i)
                       for (size_t j = 0; j < count; ++j)
                         sums[i * count + j] = fma(ofA[i][n], ofB[j][n], sums[i * count + j]);
                   return sums;
                 });
}

void AttentionTiles::storeWeights(ArrayRef<Scalar> product) {
  for (int64_t i = 0; i < perThread; ++i)
    for (int64_t j = 0; j < perThread; ++j)
      k->store(product[static_cast<size_t>(i * perThread + j)], weights(), row(i) * weightStride() + column(j));
}

AttentionTiles::Carried AttentionTiles::addWeighted(Value values, ArrayRef<Scalar> sums) {
  Value weights = this->weights();
  return k->loop(k->integer(0), k->integer(tile()), kVector, sums, [&](Index n, ArrayRef<Scalar> start) {
    Carried next(start);
    SmallVector<Carried> shares;
    for (int64_t i = 0; i < perThread; ++i)
      shares.push_back(k->loadVector(weights, row(i) * weightStride() + n, kVector));
    for (int64_t at = 0; at < kVector; ++at)
      for (int64_t piece = 0; piece < pieces; ++piece) {
        // Beyond the width is padding, or another row: of no use, and stored nowhere.
        Index place = *firstColumn * vector + piece * kSide * vector;
        if (width % (kSide * vector) != 0)
          place = min(place, k->integer(width - 1));
        Carried value = k->loadVector(values, (n + at) * stride() + place, vector);
        for (int64_t i = 0; i < perThread; ++i)
          for (int64_t lane = 0; lane < vector; ++lane) {
            Scalar &sum = next[static_cast<size_t>((i * pieces + piece) * vector + lane)];
            sum = fma(shares[static_cast<size_t>(i)][static_cast<size_t>(at)], value[static_cast<size_t>(lane)], sum);
          }
      }
    return next;
  });
}

AttentionTiles::Carried AttentionTiles::innerProducts(Value tile, Value from,
                                                      llvm::function_ref<std::pair<Index, Value>(Index row)> place) {
  // The tile's first row is always there.
  Index firstElement = place(k->integer(0)).first;
  Carried products;
  for (int64_t i = 0; i < perThread; ++i) {
    auto [element, isThere] = place(row(i));
    Carried sum = k->loop(*firstColumn, k->integer(width), kSide, {k->number(0)},
                          [&, element = element, isThere = isThere](Index d, ArrayRef<Scalar> before) {
                            Scalar x = k->load(from, k->select(isThere, element + d, firstElement));
                            x = k->select(isThere, x, k->number(0));
                            return Carried{fma(k->load(tile, row(i) * stride() + d), x, before[0])};
                          });
    products.push_back(rowSum(sum[0]));
  }
  return products;
}

void AttentionTiles::storeSums(ArrayRef<Scalar> sums, ArrayRef<Scalar> factors, Value to,
                               llvm::function_ref<std::pair<Index, Value>(Index row)> place) {
  for (int64_t i = 0; i < perThread; ++i) {
    auto [element, isThere] = place(row(i));
    k->onlyIf(isThere, [&, element = element] {
      for (int64_t piece = 0; piece < pieces; ++piece) {
        Index column = *firstColumn * vector + piece * kSide * vector;
        Carried values;
        for (int64_t lane = 0; lane < vector; ++lane)
          values.push_back(sums[static_cast<size_t>((i * pieces + piece) * vector + lane)] *
                           factors[static_cast<size_t>(i)]);
        k->onlyIf(column < width, [&] { k->storeVector(values, to, element + column); });
      }
    });
  }
}

AttentionKeys::AttentionKeys(KernelBuilder &k, const AttentionShape &shape, Index batch, Index queries, Index keys,
                             Value start, Value offset)
    : k(k), shape(shape), base(shape.hasOffset ? k.loadInteger(offset, batch) : keys - queries),
      start(shape.hasStart ? max(k.integer(0), k.loadInteger(start, batch)) : k.integer(0)) {}

Index AttentionKeys::firstSeen(Index position) const {
  return shape.window > 0 ? max(start, position - (shape.window - 1)) : start;
}

Value AttentionKeys::isVisible(Index key, Index position) const {
  return k.both(key <= position, firstSeen(position) <= key);
}

AttentionRowTile::AttentionRowTile(KernelBuilder &k, const AttentionShape &shape, Index number, int64_t rowTile,
                                   int64_t keyTile, Value start, Value offset)
    : k(k), shape(shape), queries(k.size(0)), keys(k.size(1)), rows(queries * shape.group()), group(k.block(1)),
      batch(k.block(2)), seen(k, shape, batch, queries, keys, start, offset), firstRow(number * rowTile),
      end(seen.positionOf(min(firstRow + rowTile, rows) - 1) + 1),
      first(min(seen.firstSeen(seen.positionOf(firstRow)), end)), begin(first / keyTile * keyTile),
      firstSlot(shape.hasOffset ? first % max(keys, k.integer(1)) : first) {}

std::pair<Index, Value> AttentionRowTile::placeOfKey(Index position) const {
  // Keys follow each other from the first one on, but where the ring ends.
  Index slot = firstSlot + (position - first);
  if (shape.hasOffset)
    slot = k.select(slot < keys, slot, slot - keys);
  return {shape.keyElement(batch, keys, group, slot), k.both(first <= position, position < end)};
}

AttentionRows::AttentionRows(KernelBuilder &k, const AttentionShape &shape, AttentionTiles &tiles, Value start,
                             Value offset)
    : AttentionRowTile(k, shape,
                       tileOfBlock((k.size(0) * shape.group() + (tiles.tile() - 1)) / tiles.tile(), k.block(0)),
                       tiles.tile(), tiles.tile(), start, offset),
      tiles(tiles) {
  for (int64_t i = 0; i < tiles.perThread; ++i)
    positions.push_back(seen.positionOf(firstRow + tiles.row(i)));
}

Scalar AttentionRows::addShares(Index at, size_t i, MutableArrayRef<Scalar> products, Scalar &greatest, Scalar &sum) {
  Scalar before = greatest, largest = before, total = k.number(0);
  SmallVector<Value> visible;
  for (auto [j, x] : llvm::enumerate(products)) {
    visible.push_back(isVisible(at, i, j));
    x = k.select(visible.back(), x, k.number(std::numeric_limits<float>::lowest()));
    largest = max(x, largest);
  }
  greatest = tiles.rowMax(largest);
  for (auto [x, isThere] : llvm::zip_equal(products, visible)) {
    x = k.select(isThere, exp((x - greatest) * shape.scale), k.number(0));
    total = total + x;
  }
  // Where there was no key before, the sums are zero, and any finite factor will do.
  Scalar factor = exp(max((before - greatest) * shape.scale, -80.0));
  sum = fma(sum, factor, tiles.rowSum(total));
  return factor;
}
