// SPDX-License-Identifier: Apache-2.0
// As FlashAttention-2: a warp has 16 rows, whose products with a tile of keys become shares, rounded to bf16, and the
// first factor of their sums of values, without leaving registers. Tiles of keys and values come by cp.async while the
// ones before are used.
//
// Where there are few rows (decoding), blocks share the keys, and a second kernel adds up what they found, in one
// order.

#include "passes/lower/cuda/TensorAttention.h"

#include "passes/lower/cuda/ElementForms.h"
#include "passes/lower/cuda/TensorTiles.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace morph;

using Carried = KernelBuilder::Carried;

namespace {
constexpr int64_t kSide = TensorTiles::kSide;
constexpr double kInfinity = std::numeric_limits<double>::infinity();
const double kLog2E = std::log2(std::exp(1.0));
/// Where keys are shared, the keys of a block at the least.
constexpr int64_t kSplitKeys = 256;

size_t at(int64_t number) { return static_cast<size_t>(number); }

/// Sizes of the forward's tiles.
struct ForwardSizes {
  explicit ForwardSizes(const AttentionShape &shape)
      // Keys of a cache are more than the queries, and may be shared.
      : mayShare(shape.hasOffset || shape.queries != shape.keys), warps(mayShare ? 4 : 8),
        q(warps * kSide, padTo16(shape.width)), kv(shape.width <= 128 ? 64 : 32, padTo16(shape.width)) {}

  int64_t threads() const { return warps * TensorTiles::kWarp; }
  int64_t sharedBytes() const { return q.bytes() + 4 * kv.bytes(); }

  bool mayShare;
  int64_t warps;
  HalfTile q, kv;
};

/// Products of the warp's 16 rows with the rows of a tile: [16,rows of b]. `a` gives the first factor's columns from 16
/// d on.
Carried products(TensorTiles &t, llvm::function_ref<Fragment(int64_t d)> a, const HalfTile &b, Value fromB) {
  Carried sums(at(b.rows / 2), t.k.number(0));
  for (int64_t d = 0; d < b.columns / kSide; ++d) {
    Fragment ofA = a(d);
    for (int64_t n = 0; n < b.rows / kSide; ++n)
      t.multiplyAdd(ofA, t.loadB(b, fromB, t.k.integer(n * kSide), t.k.integer(d * kSide)),
                    MutableArrayRef(sums).slice(at(8 * n), 8));
  }
  return sums;
}

/// sums[16,columns of b] += weights[16,rows of b] b
void addWeighted(TensorTiles &t, ArrayRef<Scalar> weights, const HalfTile &b, Value fromB,
                 MutableArrayRef<Scalar> sums) {
  for (int64_t n = 0; n < b.rows / kSide; ++n) {
    Fragment a = t.round(weights.slice(at(8 * n), 8));
    for (int64_t d = 0; d < b.columns / kSide; ++d)
      t.multiplyAdd(a, t.loadB(b, fromB, t.k.integer(n * kSide), t.k.integer(d * kSide), /*transposed=*/true),
                    sums.slice(at(8 * d), 8));
  }
}

/// What a warp's rows see of tiles of keys: rows of sums are rows, columns keys.
class VisibleKeys {
public:
  VisibleKeys(TensorTiles &t, const AttentionRowTile &rows, int64_t keyTile)
      : t(t), rows(rows), keyTile(keyTile), fewest(rows.seen.positionOf(rows.firstRow) + 1),
        latest(rows.seen.firstSeen(rows.end - 1)) {
    for (int64_t half = 0; half < 2; ++half)
      positions.push_back(rows.seen.positionOf(rows.firstRow + t.warp() * kSide + t.row(2 * half)));
  }

  /// The products with the keys from position `from` on, minus infinity where a row does not see a key.
  Carried mask(Index from, const Carried &products) {
    KernelBuilder &k = t.k;
    // Most tiles are seen by all rows.
    Value isWhole = k.both(from + keyTile <= fewest, latest <= from);
    return k.choose(
        isWhole, [&] { return products; },
        [&] {
          Carried masked(products);
          for (int64_t half = 0; half < 2; ++half) {
            // In terms of the lane's first column, and small enough for 32 bits.
            auto relative = [&](Index position) {
              return k.narrow(min(max(position - from - t.column(), k.integer(-1)), k.integer(keyTile)));
            };
            Index position = positions[at(half)];
            Index low = relative(rows.seen.firstSeen(position)), high = relative(position);
            for (int64_t n = 0; n < keyTile / 8; ++n)
              for (int64_t e = 0; e < 2; ++e) {
                Scalar &x = masked[at(4 * n + 2 * half + e)];
                Index column = low.constant(8 * n + e);
                x = k.select(k.both(low <= column, column <= high), x, k.number(-kInfinity));
              }
          }
          return masked;
        });
  }

private:
  TensorTiles &t;
  const AttentionRowTile &rows;
  int64_t keyTile;
  Index fewest, latest; ///< All rows see the keys before `fewest` and not before `latest`.
  SmallVector<Index> positions;
};

/// A softmax that goes on over tiles of keys, of the two rows of a lane. `greatest` is of all lanes of a row, `sum` of
/// this lane's columns alone.
struct RunningSoftmax {
  Scalar greatest[2], sum[2];

  /// Products become shares relative to the greatest product so far. Returns what sums before are to be multiplied by.
  std::array<Scalar, 2> addShares(TensorTiles &t, double scale, MutableArrayRef<Scalar> products) {
    KernelBuilder &k = t.k;
    Scalar factor = k.number(scale * kLog2E);
    auto addRow = [&](size_t half) {
      Scalar largest = greatest[half];
      auto forEach = [&](llvm::function_ref<void(Scalar &)> body) {
        for (size_t n = 2 * half; n < products.size(); n += 4) {
          body(products[n]);
          body(products[n + 1]);
        }
      };
      forEach([&](Scalar &x) { largest = k.maximum(largest, x); });
      largest = t.rowMax(largest);
      // Of a row that has seen no key yet all shares are exp(-inf) = 0.
      Scalar lowest = k.number(std::numeric_limits<float>::lowest());
      Scalar offset = k.select(k.less(largest, lowest), k.number(0), largest * factor);
      Scalar before = k.exp2Approximate(fma(greatest[half], factor, -offset));
      Scalar total = sum[half] * before;
      forEach([&](Scalar &x) {
        x = k.exp2Approximate(fma(x, factor, -offset));
        total = total + x;
      });
      greatest[half] = largest;
      sum[half] = total;
      return before;
    };
    Scalar first = addRow(0), second = addRow(1);
    return {first, second};
  }
};

//===----------------------------------------------------------------------===//
// Forward
//===----------------------------------------------------------------------===//

/// How blocks share the keys of a tile of rows.
struct KeyShares {
  KeyShares(KernelBuilder &k, const AttentionShape &shape, const ForwardSizes &sizes)
      : count((k.size(1) + (kSplitKeys - 1)) / kSplitKeys),
        areShared(k.both(k.size(0) * shape.group() <= k.integer(sizes.q.rows), k.integer(1) < count)) {}
  /// Where the part of a block lies in scratch, in rows.
  Index part(KernelBuilder &k, const ForwardSizes &sizes, Index groups, Index number) const {
    return ((k.block(2) * groups + k.block(1)) * count + number) * sizes.q.rows;
  }

  Index count; ///< Depends on S alone, so that results do not depend on the batch.
  Value areShared;
};

/// Pointers: q, k, v, start, offset, y; where keys may be shared, also sums [B,G,parts,M,D] and, of each row, the
/// greatest product and the sum of shares [B,G,parts,M,2].
void buildForward(KernelBuilder &k, const AttentionShape &shape, const ForwardSizes &sizes) {
  TensorTiles t(k, sizes.threads());
  Index rowCount = k.size(0) * shape.group(), tiles = (rowCount + (sizes.q.rows - 1)) / sizes.q.rows;
  Index number = tileOfBlock(tiles, k.block(0)), blocks = tiles;
  std::optional<KeyShares> shares;
  if (sizes.mayShare) {
    shares.emplace(k, shape, sizes);
    number = k.select(shares->areShared, k.integer(0), number);
    blocks = k.select(shares->areShared, shares->count, tiles);
  }

  auto buildBlock = [&] {
    AttentionRowTile rows(k, shape, number, sizes.q.rows, sizes.kv.rows, k.pointer(3), k.pointer(4));
    const int64_t tile = sizes.kv.rows;
    Index begin = rows.begin, end = rows.end;
    if (shares) {
      // Whole tiles of keys, as evenly as they go.
      Index all = (end - begin + (tile - 1)) / tile, each = (all + (shares->count - 1)) / shares->count;
      Index from = begin + k.block(0) * each * tile;
      begin = k.select(shares->areShared, from, begin);
      end = k.select(shares->areShared, min(end, from + each * tile), end);
    }
    Value q = t.place(0), kv = t.place(sizes.q.bytes());
    // Keys and values of a tile, one of two.
    auto placeOf = [&](Index from) { return t.advance(kv, from / tile % 2 * (2 * sizes.kv.bytes())); };
    auto copyKeys = [&](Index from) {
      auto place = [&](Index row) { return rows.placeOfKey(from + row); };
      Value to = placeOf(from);
      t.copy(sizes.kv, to, k.pointer(1), shape.width, place);
      t.copy(sizes.kv, t.advance(to, k.integer(sizes.kv.bytes())), k.pointer(2), shape.width, place);
    };
    auto arrive = [&] {
      waitCopies(k);
      k.barrier();
    };
    t.copy(sizes.q, q, k.pointer(0), shape.width, [&](Index row) { return rows.place(row); });
    copyKeys(begin);
    commitCopies(k);
    arrive();
    auto loadQ = [&](int64_t d) { return t.loadA(sizes.q, q, t.warp() * kSide, k.integer(d * kSide)); };
    // Of narrow heads the queries stay in registers.
    SmallVector<Fragment> kept;
    if (shape.width <= 128)
      for (int64_t d = 0; d < sizes.q.columns / kSide; ++d)
        kept.push_back(loadQ(d));
    auto fragmentOfQ = [&](int64_t d) { return kept.empty() ? loadQ(d) : kept[at(d)]; };

    VisibleKeys visible(t, rows, tile);
    Carried start{k.number(-kInfinity), k.number(-kInfinity)};
    start.append(at(2 + sizes.kv.columns / 2), k.number(0));
    Carried all = k.loop(begin, end, tile, start, [&](Index from, ArrayRef<Scalar> carried) {
      k.onlyIf(from + tile < end, [&] { copyKeys(from + tile); });
      commitCopies(k);
      Value keys = placeOf(from);
      Carried shares = visible.mask(from, products(t, fragmentOfQ, sizes.kv, keys));
      RunningSoftmax softmax{{carried[0], carried[1]}, {carried[2], carried[3]}};
      std::array<Scalar, 2> factors = softmax.addShares(t, shape.scale, shares);
      Carried sums(carried.drop_front(4));
      for (auto [n, sum] : llvm::enumerate(sums))
        sum = sum * factors[n % 4 / 2];
      addWeighted(t, shares, sizes.kv, t.advance(keys, k.integer(sizes.kv.bytes())), sums);
      arrive();
      Carried next{softmax.greatest[0], softmax.greatest[1], softmax.sum[0], softmax.sum[1]};
      next.append(sums);
      return next;
    });

    MutableArrayRef<Scalar> sums = MutableArrayRef(all).drop_front(4);
    Scalar total[2] = {t.rowSum(all[2]), t.rowSum(all[3])};
    auto storeResult = [&] {
      Carried y;
      for (auto [n, sum] : llvm::enumerate(sums)) {
        // A row that sees no key gives zero.
        Scalar of = total[n % 4 / 2];
        y.push_back(sum * selectBelow(-of, 0, 1 / of, k.number(0)));
      }
      t.store(y, k.pointer(5), shape.width, plan::DType::F32,
              [&](Index row) { return rows.place(t.warp() * kSide + row); });
    };
    auto storePart = [&] {
      Index first = shares->part(k, sizes, k.integer(shape.groups), k.block(0)) + t.warp() * kSide;
      t.store(sums, k.pointer(6), shape.width, plan::DType::F32,
              [&](Index row) { return std::pair((first + row) * shape.width, t.warp() * kSide + row < rows.rows); });
      k.onlyIf(t.column() == 0, [&] {
        for (int64_t half = 0; half < 2; ++half)
          k.storeVector({all[at(half)], total[half]}, k.pointer(7), (first + t.row(2 * half)) * 2);
      });
    };
    if (shares)
      k.onlyOne(shares->areShared, storePart, storeResult);
    else
      storeResult();
  };
  if (shares)
    k.onlyIf(k.block(0) < blocks, buildBlock);
  else
    buildBlock();
}

/// Adds up what blocks found that shared keys: a thread an element of the rows of a key-value head. Pointers: sums,
/// greatest products and sums of shares, y.
void buildParts(KernelBuilder &k, const AttentionShape &shape, const ForwardSizes &sizes) {
  KeyShares shares(k, shape, sizes);
  Index rows = k.size(0) * shape.group(), element = k.block(0) * kElementThreads + k.thread();
  Index row = element / shape.width, column = element % shape.width;
  k.onlyIf(k.both(shares.areShared, row < rows), [&] {
    auto statistics = [&](Index number) {
      Index at = shares.part(k, sizes, k.integer(shape.groups), number) + row;
      return k.loadVector(k.pointer(1), at * 2, 2);
    };
    Scalar greatest =
        k.loop(k.integer(0), shares.count, 1, {k.number(-kInfinity)}, [&](Index number, ArrayRef<Scalar> carried) {
          return Carried{k.maximum(carried[0], statistics(number)[0])};
        })[0];
    Scalar factor = k.number(shape.scale * kLog2E), lowest = k.number(std::numeric_limits<float>::lowest());
    Scalar offset = k.select(k.less(greatest, lowest), k.number(0), greatest * factor);
    Carried sums =
        k.loop(k.integer(0), shares.count, 1, {k.number(0), k.number(0)}, [&](Index number, ArrayRef<Scalar> carried) {
          Carried of = statistics(number);
          Scalar weight = k.exp2Approximate(fma(of[0], factor, -offset));
          Index at = shares.part(k, sizes, k.integer(shape.groups), number) + row;
          Scalar x = k.load(k.pointer(0), at * shape.width + column);
          return Carried{fma(x, weight, carried[0]), fma(of[1], weight, carried[1])};
        });
    k.store(sums[0] * selectBelow(-sums[1], 0, 1 / sums[1], k.number(0)), k.pointer(2),
            shape.rowElement(k.block(2), k.size(0), k.block(1), row) + column);
  });
}
} // namespace

void morph::launchTensorAttention(DeviceFormCall &call, const AttentionShape &shape) {
  ForwardSizes sizes(shape);
  std::vector<plan::LaunchArgument> arguments{operandArgument(0), operandArgument(1), operandArgument(2),
                                              operandArgument(3), operandArgument(4), resultArgument(0)};
  plan::LaunchArgument queries = sizeArgument(productOf(shape.queries)), keys = sizeArgument(productOf(shape.keys));
  plan::SizeFormula blocks = shape.tilesOfRows(sizes.q.rows), groups = plan::constantFormula(shape.groups);
  std::vector<plan::LaunchArgument> parts;
  if (sizes.mayShare) {
    // Of every sequence at most S / kSplitKeys + 1 parts.
    auto partsOf = [&](int64_t elements) {
      int64_t each = shape.groups * sizes.q.rows * elements;
      return call.takeScratch(
          sumOf(scratchOf({shape.batch}, each), productOf({shape.batch, shape.keys}, 4 * each, kSplitKeys * 256, 256)));
    };
    parts = {partsOf(shape.width), partsOf(2)};
    llvm::append_range(arguments, parts);
    blocks = sumOf(blocks, productOf(shape.keys, 1, kSplitKeys));
  }
  arguments.insert(arguments.end(), {queries, keys});
  auto pointers = static_cast<unsigned>(arguments.size() - 2);
  std::string kernel =
      call.define("tensor_" + shape.variant() + (sizes.mayShare ? "_shared" : ""), pointers,
                  /*sizes=*/2, sizes.threads(), [&](KernelBuilder &k) { buildForward(k, shape, sizes); });
  call.launch(kernel, {blocks, groups, productOf(shape.batch)}, sizes.threads(), arguments, sizes.sharedBytes());
  if (!sizes.mayShare)
    return;
  std::string sum = call.define("parts_" + shape.variant(), /*pointers=*/3, /*sizes=*/2, kElementThreads,
                                [&](KernelBuilder &k) { buildParts(k, shape, sizes); });
  call.launch(
      sum,
      {plan::constantFormula(static_cast<int64_t>(llvm::divideCeil(sizes.q.rows * shape.width, kElementThreads))),
       groups, productOf(shape.batch)},
      kElementThreads, {parts[0], parts[1], resultArgument(0), queries, keys});
}
