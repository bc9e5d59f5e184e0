// SPDX-License-Identifier: Apache-2.0
// As FlashAttention-2: a warp has 16 or 32 rows, whose products with a tile of keys become shares, rounded to bf16, and
// the first factor of their sums of values, without leaving registers. Tiles of keys and values come by cp.async while
// the ones before are used.
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

/// The rows of a warp, in blocks of 16: what is read from shared memory for one block serves all of them. Sums of a
/// warp are those of its blocks, one after the other; a lane has two rows of each.
struct WarpRows {
  int64_t blocks;

  static WarpRows of(const KernelTile &tile) { return {tile.rows / (tile.warps * kSide)}; }

  size_t lanes() const { return at(2 * blocks); }
  /// The first row of a block of this warp.
  Index first(TensorTiles &t, int64_t block) const { return t.warp() * (blocks * kSide) + block * kSide; }
  /// The row of the lane's row `number`, of those of all warps.
  Index row(TensorTiles &t, int64_t number) const { return first(t, number / 2) + t.row(number % 2 * 2); }
  /// Which of the lane's rows number n of `count` sums has.
  size_t rowOf(size_t n, size_t count) const { return n / (count / at(blocks)) * 2 + n % 4 / 2; }
};

/// Whether the fragments of a warp's own rows, which are the same in every step, stay in registers: where its sums, of
/// one block of rows, leave room for `columns` of them.
bool keepsFragments(WarpRows rows, const HalfTile &tile, int64_t columns) {
  return rows.blocks == 1 && tile.columns <= columns;
}
/// For which widths they do so; of keys there are two results, with twice the sums.
constexpr int64_t kKeptColumns = 128, kKeptColumnsOfKeys = 64;

/// What is read from shared memory of a step's products: by every warp all of `factors` tiles [columns,width], and by
/// all of them `rowFactors` times their own rows; and two tiles that are copied there.
double sharedBytesOf(const AttentionShape &shape, const KernelTile &tile, double factors, double rowFactors) {
  const auto width = static_cast<double>(padTo16(shape.width)), columns = static_cast<double>(tile.columns);
  return 2 * width *
         (static_cast<double>(tile.warps) * factors * columns + rowFactors * static_cast<double>(tile.rows) +
          2 * columns);
}

/// The work of a step with that many products [rows,columns,width], and blocks that have `rows` of `all` and go over
/// what these see of causal attention, `columnsOf` columns a position.
TileWork causalWork(const AttentionShape &shape, const KernelTile &tile, double products, int64_t all,
                    int64_t columnsOf) {
  const auto rows = static_cast<double>(tile.rows), columns = static_cast<double>(tile.columns),
             width = static_cast<double>(padTo16(shape.width));
  TileWork work;
  work.activeWarps = tile.warps;
  work.blocks = static_cast<double>(static_cast<int64_t>(llvm::divideCeil(all, tile.rows)) *
                                    TileReference::groups(shape.group()) * TileReference::kBatch);
  // Half of the positions, half of the block's own, and half of a tile that is not whole.
  double positions = TileReference::kPositions * (1 + rows / static_cast<double>(all)) / 2;
  work.steps = positions * static_cast<double>(columnsOf) / columns + .5;
  work.products = products * 2 * rows * columns * width;
  work.elements = rows * columns;
  work.cacheBytes = 2 * columns * width * 2;
  return work;
}

/// Sizes of the forward's tiles.
struct ForwardSizes {
  ForwardSizes(const AttentionShape &shape, const KernelTile &tile)
      : shape(shape), tile(tile), mayShare(mayShareKeys(shape)), warpRows(WarpRows::of(tile)),
        q(tile.rows, padTo16(shape.width)), kv(tile.columns, padTo16(shape.width)) {}

  /// Keys of a cache are more than the queries, and may be shared.
  static bool mayShareKeys(const AttentionShape &shape) { return shape.hasOffset || shape.queries != shape.keys; }
  static const char *kind(const AttentionShape &shape) {
    return mayShareKeys(shape) ? "attention_cached" : "attention";
  }
  static SmallVector<KernelTile> tiles(const AttentionShape &shape) {
    SmallVector<KernelTile> all;
    for (int64_t blocks : {2, 1})
      for (int64_t warps : {4, 8})
        for (int64_t columns : {64, 32, 128})
          if (blocks == 1 || !mayShareKeys(shape))
            all.push_back({blocks * warps * kSide, columns, warps});
    return all;
  }
  TileWork work() const {
    TileWork work = causalWork(shape, tile, /*products=*/2, TileReference::kPositions * shape.group(), 1);
    work.sharedBytes = sharedBytesOf(shape, tile, /*factors=*/2, keepsFragments(warpRows, q, kKeptColumns) ? 0 : 1);
    work.blockBytes = sharedBytes();
    if (!mayShare)
      return work;
    // Of a single position, whose keys nobody else has.
    work.activeWarps = static_cast<int64_t>(llvm::divideCeil(shape.group(), kSide));
    double active = static_cast<double>(work.activeWarps * kSide) / static_cast<double>(tile.rows);
    work.products *= active;
    work.elements *= active;
    work.sharedBytes *= active;
    work.memoryBytes = work.cacheBytes;
    work.cacheBytes = 0;
    work.blocks = static_cast<double>(TileReference::kCachedKeys / kSplitKeys * TileReference::groups(shape.group()));
    work.steps = static_cast<double>(kSplitKeys) / static_cast<double>(tile.columns);
    return work;
  }

  int64_t threads() const { return tile.warps * TensorTiles::kWarp; }
  int64_t sharedBytes() const { return q.bytes() + 4 * kv.bytes(); }

  const AttentionShape &shape;
  KernelTile tile;
  bool mayShare;
  WarpRows warpRows;
  HalfTile q, kv;
};

/// Of a warp's first factor, block `block` of rows and columns from 16 d on.
using FragmentOf = llvm::function_ref<Fragment(int64_t block, int64_t d)>;

/// Products of the warp's rows with the rows of a tile: [rows,rows of b].
Carried products(TensorTiles &t, WarpRows rows, FragmentOf a, const HalfTile &b, Value fromB) {
  Carried sums(at(rows.blocks * b.rows / 2), t.k.number(0));
  for (int64_t d = 0; d < b.columns / kSide; ++d) {
    SmallVector<Fragment> ofA;
    for (int64_t block = 0; block < rows.blocks; ++block)
      ofA.push_back(a(block, d));
    for (int64_t n = 0; n < b.rows / kSide; ++n) {
      Fragment ofB = t.loadB(b, fromB, t.k.integer(n * kSide), t.k.integer(d * kSide));
      for (int64_t block = 0; block < rows.blocks; ++block)
        t.multiplyAdd(ofA[at(block)], ofB, MutableArrayRef(sums).slice(at(block * b.rows / 2 + 8 * n), 8));
    }
  }
  return sums;
}

/// sums[rows,columns of b] += weights[rows,rows of b] b
void addWeighted(TensorTiles &t, WarpRows rows, ArrayRef<Scalar> weights, const HalfTile &b, Value fromB,
                 MutableArrayRef<Scalar> sums) {
  for (int64_t n = 0; n < b.rows / kSide; ++n) {
    SmallVector<Fragment> a;
    for (int64_t block = 0; block < rows.blocks; ++block)
      a.push_back(t.round(weights.slice(at(block * b.rows / 2 + 8 * n), 8)));
    for (int64_t d = 0; d < b.columns / kSide; ++d) {
      Fragment ofB = t.loadB(b, fromB, t.k.integer(n * kSide), t.k.integer(d * kSide), /*transposed=*/true);
      for (int64_t block = 0; block < rows.blocks; ++block)
        t.multiplyAdd(a[at(block)], ofB, sums.slice(at(block * b.columns / 2 + 8 * d), 8));
    }
  }
}

/// Fragments of the warp's rows of a tile in shared memory.
auto fragmentsOf(TensorTiles &t, WarpRows rows, const HalfTile &tile, Value from) {
  return [&t, rows, &tile, from](int64_t block, int64_t d) {
    return t.loadA(tile, from, rows.first(t, block), t.k.integer(d * kSide));
  };
}

/// The same of a tile that is there by now, loaded once where the warp keeps them.
class KeptFragments {
public:
  KeptFragments(TensorTiles &t, WarpRows rows, const HalfTile &tile, Value from, int64_t columns)
      : t(t), rows(rows), tile(tile), from(from) {
    if (keepsFragments(rows, tile, columns))
      for (int64_t d = 0; d < tile.columns / kSide; ++d)
        kept.push_back(fragmentsOf(t, rows, tile, from)(0, d));
  }
  Fragment operator()(int64_t block, int64_t d) const {
    return kept.empty() ? fragmentsOf(t, rows, tile, from)(block, d) : kept[at(d)];
  }

private:
  TensorTiles &t;
  WarpRows rows;
  const HalfTile &tile;
  Value from;
  SmallVector<Fragment> kept;
};

/// Stores sums [rows,width] of a warp, fp32; `place` gives the first element of one of the rows of all warps.
void storeRows(TensorTiles &t, WarpRows rows, ArrayRef<Scalar> sums, Value to, int64_t width,
               llvm::function_ref<TensorTiles::Row(Index row)> place) {
  size_t each = sums.size() / at(rows.blocks);
  for (int64_t block = 0; block < rows.blocks; ++block)
    t.store(sums.slice(at(block) * each, each), to, width, plan::DType::F32,
            [&](Index row) { return place(rows.first(t, block) + row); });
}

/// Two tiles at a time, of keys and values or of queries and what they lead to, copied while those before are used.
class TilePairs {
public:
  /// From byte `place` of shared memory on. `copy` starts copying what is there from row `from` on.
  TilePairs(TensorTiles &t, const HalfTile &tile, int64_t place, llvm::function_ref<void(Index from, Value to)> copy,
            int64_t extraBytes = 0)
      : t(t), tile(tile), base(t.place(place)), copy(copy), bytes(2 * tile.bytes() + extraBytes) {}

  /// Where the pair from row `from` on lies: the first tile, the second, and what is copied beside them.
  Value first(Index from) { return t.advance(base, from / tile.rows % 2 * bytes); }
  Value second(Index from) { return t.advance(first(from), t.k.integer(tile.bytes())); }
  Value extra(Index from) { return t.advance(first(from), t.k.integer(2 * tile.bytes())); }

  /// Copies the first pair, with what copies the caller has begun: all of it is there then.
  void begin(Index from) {
    copy(from, first(from));
    arrive();
  }
  /// Goes over the pairs, of which the first is there. `from` is a multiple of a tile's rows.
  Carried loop(Index from, Index end, ArrayRef<Scalar> start,
               llvm::function_ref<Carried(Index from, ArrayRef<Scalar>)> body) {
    return t.k.loop(from, end, tile.rows, start, [&](Index at, ArrayRef<Scalar> carried) {
      Index next = at + tile.rows;
      t.k.onlyIf(next < end, [&] { copy(next, first(next)); });
      Carried result = body(at, carried);
      arrive();
      return result;
    });
  }

private:
  void arrive() {
    commitCopies(t.k);
    waitCopies(t.k);
    t.k.barrier();
  }

  TensorTiles &t;
  const HalfTile &tile;
  Value base;
  llvm::function_ref<void(Index from, Value to)> copy;
  int64_t bytes;
};

/// Copies keys and values of positions from `from` on, which the kernel's pointers have.
void copyKeysAndValues(TensorTiles &t, const AttentionRowTile &rows, const HalfTile &tile, Index from, Value to,
                       unsigned keys, unsigned values) {
  auto place = [&](Index row) { return rows.placeOfKey(from + row); };
  t.copy(tile, to, t.k.pointer(keys), rows.shape.width, place);
  t.copy(tile, t.advance(to, t.k.integer(tile.bytes())), t.k.pointer(values), rows.shape.width, place);
}

/// Products with the soft cap, where there is one.
Carried cappedProducts(const AttentionShape &shape, Carried products) {
  for (Scalar &x : products)
    x = shape.capped(x);
  return products;
}

/// What a warp's rows see of tiles of keys: rows of sums are rows, columns keys.
class VisibleKeys {
public:
  VisibleKeys(TensorTiles &t, WarpRows warpRows, const AttentionRowTile &rows, int64_t rowTile, int64_t keyTile)
      : t(t), rows(rows), keyTile(keyTile), rowTile(rowTile), first(rows.seen.positionOf(rows.firstRow)),
        latest(rows.seen.firstSeen(rows.end - 1)) {
    for (int64_t number = 0; number < 2 * warpRows.blocks; ++number)
      later.push_back(t.k.narrow(rows.seen.positionOf(rows.firstRow + warpRows.row(t, number)) - first));
  }

  /// The products with the keys from position `from` on, minus infinity where a row does not see a key.
  Carried mask(Index from, const Carried &products) {
    KernelBuilder &k = t.k;
    // Most tiles are seen by all rows.
    Value isWhole = k.both(from + (keyTile - 1) <= first, latest <= from);
    return k.choose(
        isWhole, [&] { return products; },
        [&] {
          Carried masked(products);
          // In terms of the lane's first column, in 32 bits: more than all rows and keys of the tiles is far enough.
          const int64_t far = 2 * keyTile + rowTile;
          auto relative = [&](Index position) {
            return k.narrow(min(max(position - from - t.column(), k.integer(-far)), k.integer(far)));
          };
          Index ofFirst = relative(first), ofStart = relative(rows.seen.start);
          for (auto [number, after] : llvm::enumerate(later)) {
            Index high = ofFirst + after, low = ofStart;
            if (rows.shape.window > 0)
              low = max(low, relative(first - (rows.shape.window - 1)) + after);
            size_t begin = number / 2 * at(keyTile / 2) + number % 2 * 2;
            for (int64_t n = 0; n < keyTile / 8; ++n)
              for (int64_t e = 0; e < 2; ++e) {
                Scalar &x = masked[begin + at(4 * n + e)];
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
  int64_t keyTile, rowTile;
  Index first;              ///< Position of the first row: no row sees fewer keys.
  Index latest;             ///< The last first key that a row sees.
  SmallVector<Index> later; ///< How far the lane's rows lie behind the first one.
};

/// A softmax that goes on over tiles of keys, of the rows of a lane. `greatest` is of all lanes of a row, `sum` of this
/// lane's columns alone.
struct RunningSoftmax {
  /// As `numbers` says, which begins with the greatest products of the rows and then has their sums.
  RunningSoftmax(WarpRows rows, ArrayRef<Scalar> numbers)
      : rows(rows), greatest(numbers.take_front(rows.lanes())), sum(numbers.slice(rows.lanes(), rows.lanes())) {}
  static Carried start(TensorTiles &t, WarpRows rows) {
    Carried numbers(rows.lanes(), t.k.number(-kInfinity));
    numbers.append(rows.lanes(), t.k.number(0));
    return numbers;
  }
  Carried numbers() const {
    Carried all(greatest);
    all.append(sum);
    return all;
  }

  /// Products become shares relative to the greatest product so far. Returns what sums before are to be multiplied by.
  Carried addShares(TensorTiles &t, double scale, MutableArrayRef<Scalar> products) {
    KernelBuilder &k = t.k;
    Scalar factor = k.number(scale * kLog2E);
    Carried factors;
    for (size_t row = 0; row < rows.lanes(); ++row) {
      auto forEach = [&](llvm::function_ref<void(Scalar &)> body) {
        for (auto [n, x] : llvm::enumerate(products))
          if (rows.rowOf(n, products.size()) == row)
            body(x);
      };
      Scalar largest = greatest[row];
      forEach([&](Scalar &x) { largest = k.maximum(largest, x); });
      largest = t.rowMax(largest);
      // Of a row that has seen no key yet all shares are exp(-inf) = 0.
      Scalar lowest = k.number(std::numeric_limits<float>::lowest());
      Scalar offset = k.select(k.less(largest, lowest), k.number(0), largest * factor);
      factors.push_back(k.exp2Approximate(fma(greatest[row], factor, -offset)));
      Scalar total = sum[row] * factors.back();
      forEach([&](Scalar &x) {
        x = k.exp2Approximate(fma(x, factor, -offset));
        total = total + x;
      });
      greatest[row] = largest;
      sum[row] = total;
    }
    return factors;
  }

  WarpRows rows;
  Carried greatest, sum;
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

/// The logarithm of a row's sum of exp(scale * product), by its greatest product and the sum relative to it; infinity,
/// so that shares are zero, where it sees no key.
Scalar logSumOf(KernelBuilder &k, const AttentionShape &shape, Scalar greatest, Scalar sum) {
  return selectBelow(-sum, 0, fma(greatest, k.number(shape.scale), log(sum)), k.number(kInfinity));
}

/// Pointers: q, k, v, start, offset, y and, where it `keepsLogSums`, these; where keys may be shared, also sums
/// [B,G,parts,M,D] and, of each row, the greatest product and the sum of shares [B,G,parts,M,2].
void buildForward(KernelBuilder &k, const AttentionShape &shape, const ForwardSizes &sizes, bool keepsLogSums) {
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
    Value q = t.place(0);
    auto copyKeys = [&](Index from, Value to) { copyKeysAndValues(t, rows, sizes.kv, from, to, 1, 2); };
    TilePairs pairs(t, sizes.kv, sizes.q.bytes(), copyKeys);
    t.copy(sizes.q, q, k.pointer(0), shape.width, [&](Index row) { return rows.place(row); });
    pairs.begin(begin);
    const WarpRows warpRows = sizes.warpRows;
    KeptFragments fragmentOfQ(t, warpRows, sizes.q, q, kKeptColumns);

    VisibleKeys visible(t, warpRows, rows, sizes.q.rows, tile);
    Carried start = RunningSoftmax::start(t, warpRows);
    const size_t numberCount = start.size(), sumCount = at(warpRows.blocks * sizes.kv.columns / 2);
    start.append(sumCount, k.number(0));
    Value hasRows = rows.firstRow + warpRows.first(t, 0) < rows.rows;
    Carried all = pairs.loop(begin, end, start, [&](Index from, ArrayRef<Scalar> carried) {
      auto addTile = [&] {
        Carried shares =
            visible.mask(from, cappedProducts(shape, products(t, warpRows, fragmentOfQ, sizes.kv, pairs.first(from))));
        RunningSoftmax softmax(warpRows, carried);
        Carried factors = softmax.addShares(t, shape.scale, shares), next = softmax.numbers();
        for (auto [n, sum] : llvm::enumerate(carried.drop_front(numberCount)))
          next.push_back(sum * factors[warpRows.rowOf(n, sumCount)]);
        addWeighted(t, warpRows, shares, sizes.kv, pairs.second(from), MutableArrayRef(next).drop_front(numberCount));
        return next;
      };
      // When decoding, most warps have no row.
      return sizes.mayShare ? k.choose(hasRows, addTile, [&] { return Carried(carried); }) : addTile();
    });

    ArrayRef<Scalar> sums = ArrayRef(all).drop_front(numberCount);
    RunningSoftmax softmax(warpRows, all);
    Carried total;
    for (Scalar sum : softmax.sum)
      total.push_back(t.rowSum(sum));
    auto storeResult = [&] {
      Carried y;
      for (auto [n, sum] : llvm::enumerate(sums)) {
        // A row that sees no key gives zero.
        Scalar of = total[warpRows.rowOf(n, sumCount)];
        y.push_back(sum * selectBelow(-of, 0, 1 / of, k.number(0)));
      }
      storeRows(t, warpRows, y, k.pointer(5), shape.width, [&](Index row) { return rows.place(row); });
      for (size_t number = 0; keepsLogSums && number < warpRows.lanes(); ++number) {
        Index row = rows.firstRow + warpRows.row(t, static_cast<int64_t>(number));
        k.onlyIf(k.both(t.column() == 0, row < rows.rows), [&] {
          k.store(logSumOf(k, shape, softmax.greatest[number], total[number]), k.pointer(6),
                  shape.logSumElement(rows.batch, rows.queries, rows.group, row));
        });
      }
    };
    auto storePart = [&] {
      Index first = shares->part(k, sizes, k.integer(shape.groups), k.block(0));
      storeRows(t, warpRows, sums, k.pointer(7), shape.width,
                [&](Index row) { return std::pair((first + row) * shape.width, row < rows.rows); });
      k.onlyIf(t.column() == 0, [&] {
        for (size_t number = 0; number < warpRows.lanes(); ++number)
          k.storeVector({softmax.greatest[number], total[number]}, k.pointer(8),
                        (first + warpRows.row(t, static_cast<int64_t>(number))) * 2);
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
/// greatest products and sums of shares, y, logarithms of the rows' sums.
void buildParts(KernelBuilder &k, const AttentionShape &shape, const ForwardSizes &sizes, bool keepsLogSums) {
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
    if (keepsLogSums)
      k.onlyIf(column == 0, [&] {
        k.store(logSumOf(k, shape, greatest, sums[1]), k.pointer(3),
                shape.logSumElement(k.block(2), k.size(0), k.block(1), row));
      });
  });
}

//===----------------------------------------------------------------------===//
// Backward: tiles of rows find dq, then tiles of keys dk and dv. Every sum has one order.
//===----------------------------------------------------------------------===//

/// Which gradients a kernel of keys finds.
struct KeyResults {
  bool keys, values;
};

/// Sizes of one of the kernels: what a block has of rows or of keys is fixed, what it goes over moves.
struct BackwardSizes {
  BackwardSizes(const AttentionShape &shape, const KernelTile &tile)
      : shape(shape), tile(tile), warpRows(WarpRows::of(tile)), fixed(tile.rows, padTo16(shape.width)),
        moving(tile.columns, padTo16(shape.width)) {}

  static SmallVector<KernelTile> tilesOfRows() { return tiles({2, 1}); }
  /// Of keys, whose sums are twice as many, a warp has 16.
  static SmallVector<KernelTile> tilesOfKeys() { return tiles({1}); }
  /// Products of rows with keys, of their gradients with values, and dq.
  TileWork workOfRows() const {
    TileWork work = causalWork(shape, tile, /*products=*/3, TileReference::kPositions * shape.group(), 1);
    work.sharedBytes = sharedBytesOf(shape, tile, /*factors=*/3, keepsFragments(warpRows, fixed, kKeptColumns) ? 0 : 2);
    work.blockBytes = sharedBytes();
    return work;
  }
  /// Products of keys with rows, of values with gradients where they are for dk, and the sums.
  TileWork workOfKeys(KeyResults results) const {
    const double products = 1 + 2 * results.keys + results.values;
    TileWork work = causalWork(shape, tile, products, TileReference::kPositions, shape.group());
    work.sharedBytes = sharedBytesOf(shape, tile, /*factors=*/products,
                                     keepsFragments(warpRows, fixed, kKeptColumnsOfKeys) ? 0 : 1 + results.keys);
    work.blockBytes = sharedBytes();
    return work;
  }

  int64_t threads() const { return tile.warps * TensorTiles::kWarp; }
  int64_t sharedBytes() const { return 2 * fixed.bytes() + 4 * moving.bytes() + 2 * statisticsBytes(); }
  /// Of what the rows that a block goes over have.
  int64_t statisticsBytes() const { return kStatistics * 4 * moving.rows; }
  /// Rows of statistics of a key-value head: those of whole tiles, whatever the tile.
  static Index paddedRows(Index rows) { return (rows + (kMostRows - 1)) / kMostRows * kMostRows; }

  /// What the kernel of rows leaves for that of keys: the logarithm to base two of a row's sum, and the sum of its
  /// shares times their gradients.
  static constexpr int64_t kStatistics = 2;
  static constexpr int64_t kMostRows = 128;

  const AttentionShape &shape;
  KernelTile tile;
  WarpRows warpRows;
  HalfTile fixed, moving;

private:
  /// Blocks have 64 or 128 rows, and go over no more at a time than that: of those all statistics are there. Each of a
  /// multiprocessor's four schedulers has a warp of every block.
  static SmallVector<KernelTile> tiles(ArrayRef<int64_t> blocks) {
    SmallVector<KernelTile> all;
    for (int64_t perWarp : blocks)
      for (int64_t rows : {kMostRows, kMostRows / 2})
        for (int64_t columns : {32, 64})
          if (int64_t warps = rows / (perWarp * kSide); warps >= 4)
            all.push_back({rows, columns, warps});
    return all;
  }
};

/// The shares of a row are exp2(products * scale - logarithm).
Scalar shareOf(KernelBuilder &k, Scalar product, Scalar factor, Scalar logarithm) {
  return k.exp2Approximate(fma(product, factor, -logarithm));
}

/// The inner product of each of a lane's rows of a tile with the row that `place` gives of memory, fp32. What is loaded
/// is there before `arrive`, after which the tile is.
Carried innerProducts(TensorTiles &t, WarpRows rows, const HalfTile &tile, Value from, Value memory, int64_t width,
                      llvm::function_ref<TensorTiles::Row(Index row)> place, llvm::function_ref<void()> arrive) {
  KernelBuilder &k = t.k;
  const int64_t lanes = width % 2 == 0 ? 2 : 1, step = TensorTiles::kSide / 2;
  // Of each eight columns a lane has the two that it has of sums.
  auto forColumns = [&](llvm::function_ref<void(size_t number, Index column)> body) {
    for (size_t number = 0; number < rows.lanes(); ++number)
      for (int64_t first = 0; first < width; first += step)
        for (int64_t e = 0; e < 2; e += lanes)
          body(number, t.column() + (first + e));
  };
  // The tile's first row is always there, and no other block's, which may write its own.
  Index firstElement = place(k.integer(0)).first;
  Carried loaded;
  forColumns([&](size_t number, Index column) {
    auto [element, isThere] = place(rows.row(t, static_cast<int64_t>(number)));
    if (width % step != 0)
      isThere = k.both(isThere, column < width);
    for (Scalar x : k.loadVector(memory, k.select(isThere, element + column, firstElement), lanes))
      loaded.push_back(k.select(isThere, x, k.number(0)));
  });
  arrive();
  Carried products(rows.lanes(), k.number(0));
  const Scalar *next = loaded.begin();
  forColumns([&](size_t number, Index column) {
    Index element = rows.row(t, static_cast<int64_t>(number)) * tile.stride() + column;
    for (Scalar x : k.loadVector(from, element, lanes, plan::DType::BF16))
      products[number] = fma(x, *next++, products[number]);
  });
  for (Scalar &product : products)
    product = t.rowSum(product);
  return products;
}

/// dq of a tile of rows. Pointers: dy, q, k, v, start, y, logarithms of the rows' sums, dq, statistics [B,G,rows,2]. dq
/// may lie where y does.
void buildRowsGradient(KernelBuilder &k, const AttentionShape &shape, const BackwardSizes &sizes) {
  TensorTiles t(k, sizes.threads());
  const HalfTile &fixed = sizes.fixed, &moving = sizes.moving;
  Index rowCount = k.size(0) * shape.group(), padded = BackwardSizes::paddedRows(rowCount);
  Index tiles = (rowCount + (fixed.rows - 1)) / fixed.rows;
  AttentionRowTile rows(k, shape, tileOfBlock(tiles, k.block(0)), fixed.rows, moving.rows, k.pointer(4), {});
  auto place = [&](Index row) { return rows.place(row); };
  Value q = t.place(0), dO = t.place(fixed.bytes());
  auto copyKeys = [&](Index from, Value to) { copyKeysAndValues(t, rows, moving, from, to, 2, 3); };
  TilePairs pairs(t, moving, 2 * fixed.bytes(), copyKeys);
  t.copy(fixed, q, k.pointer(1), shape.width, place);
  t.copy(fixed, dO, k.pointer(0), shape.width, place);
  const WarpRows warpRows = sizes.warpRows;
  VisibleKeys visible(t, warpRows, rows, fixed.rows, moving.rows);
  Scalar factor = k.number(shape.scale * kLog2E);

  Carried inner =
              innerProducts(t, warpRows, fixed, dO, k.pointer(5), shape.width, place, [&] { pairs.begin(rows.begin); }),
          logarithm;
  for (size_t number = 0; number < warpRows.lanes(); ++number) {
    Index row = rows.firstRow + warpRows.row(t, static_cast<int64_t>(number));
    // A row that there is not has no shares.
    Scalar logSum =
        k.load(k.pointer(6), shape.logSumElement(rows.batch, rows.queries, rows.group, min(row, rowCount - 1)));
    logarithm.push_back(k.select(row < rowCount, logSum * kLog2E, k.number(kInfinity)));
    Index element = (rows.batch * shape.groups + rows.group) * padded + row;
    k.onlyIf(t.column() == 0, [&] {
      k.storeVector({logarithm.back(), inner[number]}, k.pointer(8), element * BackwardSizes::kStatistics);
    });
  }

  KeptFragments ofQ(t, warpRows, fixed, q, kKeptColumns), ofGradient(t, warpRows, fixed, dO, kKeptColumns);
  Carried sums(at(warpRows.blocks * moving.columns / 2), k.number(0));
  sums = pairs.loop(rows.begin, rows.end, sums, [&](Index from, ArrayRef<Scalar> carried) {
    Carried next(carried), scores = cappedProducts(shape, products(t, warpRows, ofQ, moving, pairs.first(from))),
                           shares = visible.mask(from, scores),
                           gradients = products(t, warpRows, ofGradient, moving, pairs.second(from));
    for (auto [n, share] : llvm::enumerate(shares)) {
      size_t row = warpRows.rowOf(n, shares.size());
      share = shareOf(k, share, factor, logarithm[row]) * (gradients[n] - inner[row]);
      if (shape.softcap != 0)
        share = share * shape.slopeOf(scores[n]);
    }
    addWeighted(t, warpRows, shares, moving, pairs.first(from), next);
    return next;
  });
  for (Scalar &sum : sums)
    sum = sum * shape.scale;
  storeRows(t, warpRows, sums, k.pointer(7), shape.width, place);
}

/// dk or dv, or both, of a tile of keys. Pointers: dy, q, k, v, start, dk, dv, statistics.
void buildKeysGradient(KernelBuilder &k, const AttentionShape &shape, const BackwardSizes &sizes, KeyResults results) {
  TensorTiles t(k, sizes.threads());
  const HalfTile &fixed = sizes.fixed, &moving = sizes.moving;
  const int64_t tile = moving.rows, group = shape.group();
  Index queries = k.size(0), keys = k.size(1), rows = queries * group;
  // The first keys are seen by the most queries.
  Index firstKey = k.block(0) * fixed.rows, g = k.block(1), b = k.block(2);
  AttentionKeys seen(k, shape, b, queries, keys, k.pointer(4), {});
  Index begin = max(firstKey - seen.base, k.integer(0)) * group / tile * tile, end = rows;
  if (shape.window > 0)
    end = min(end, max(min(firstKey + fixed.rows, keys) + (shape.window - 1) - seen.base, k.integer(0)) * group);
  auto placeOfKey = [&](Index row) {
    return std::pair(shape.keyElement(b, keys, g, firstKey + row), firstKey + row < keys);
  };
  Index firstStatistic = (b * shape.groups + g) * BackwardSizes::paddedRows(rows);
  auto copyRows = [&](Index from, Value to) {
    auto place = [&](Index row) { return std::pair(shape.rowElement(b, queries, g, from + row), from + row < rows); };
    t.copy(moving, to, k.pointer(1), shape.width, place);
    t.copy(moving, t.advance(to, k.integer(moving.bytes())), k.pointer(0), shape.width, place);
    // Of a row there are two numbers, of 16 bytes two rows.
    Index number = k.thread() * 8, first = (firstStatistic + from) * (2 * BackwardSizes::kStatistics);
    k.onlyIf(k.thread() < sizes.statisticsBytes() / 16,
             [&] { copyAsync(k, t.advance(to, k.integer(2 * moving.bytes())), number, k.pointer(7), first + number); });
  };
  Value key = t.place(0), value = t.place(fixed.bytes());
  t.copy(fixed, key, k.pointer(2), shape.width, placeOfKey);
  if (results.keys)
    t.copy(fixed, value, k.pointer(3), shape.width, placeOfKey);
  TilePairs pairs(t, moving, 2 * fixed.bytes(), copyRows, sizes.statisticsBytes());
  const WarpRows warpRows{1};
  // This lane's keys, from the first of the block on.
  Index keyOfLane = k.narrow(t.warp() * kSide + t.row(0));
  Scalar factor = k.number(shape.scale * kLog2E);
  // Rows of sums are keys, and columns are rows of q: the transpose of what rows find.
  auto mask = [&](Index from, const Carried &products) {
    Index last = min(from + tile, rows) - 1;
    Value isWhole =
        k.both(firstKey + fixed.rows <= seen.positionOf(from) + 1, seen.firstSeen(seen.positionOf(last)) <= firstKey);
    return k.choose(
        isWhole, [&] { return products; },
        [&] {
          Carried masked(products);
          for (int64_t n = 0; n < tile / 8; ++n)
            for (int64_t e = 0; e < 2; ++e) {
              Index position = seen.positionOf(from + 8 * n + t.column() + e);
              auto relative = [&](Index at) {
                return k.narrow(min(max(at - firstKey, k.integer(-1)), k.integer(fixed.rows)));
              };
              Index high = relative(position), low = relative(seen.firstSeen(position));
              for (int64_t half = 0; half < 2; ++half) {
                Scalar &x = masked[at(4 * n + 2 * half + e)];
                Index mine = keyOfLane + keyOfLane.constant(8 * half);
                x = k.select(k.both(low <= mine, mine <= high), x, k.number(-kInfinity));
              }
            }
          return masked;
        });
  };

  const size_t sumCount = at(moving.columns / 2);
  pairs.begin(begin);
  KeptFragments ofKeys(t, warpRows, fixed, key, kKeptColumnsOfKeys),
      ofValues(t, warpRows, fixed, value, kKeptColumnsOfKeys);
  Carried start((results.keys + results.values) * sumCount, k.number(0));
  Carried sums = pairs.loop(begin, end, start, [&](Index from, ArrayRef<Scalar> carried) {
    Carried next(carried);
    MutableArrayRef<Scalar> sums(next);
    Carried scores = cappedProducts(shape, products(t, warpRows, ofKeys, moving, pairs.first(from))),
            shares = mask(from, scores);
    Carried inner;
    for (int64_t n = 0; n < tile / 8; ++n) {
      Carried of = k.loadVector(pairs.extra(from), (t.column() + 8 * n) * BackwardSizes::kStatistics, 4);
      for (int64_t number = 0; number < 4; ++number) {
        Scalar &share = shares[at(4 * n + number)];
        share = shareOf(k, share, factor, of[at(number % 2 * 2)]);
        inner.push_back(of[at(number % 2 * 2 + 1)]);
      }
    }
    if (results.values)
      addWeighted(t, warpRows, shares, moving, pairs.second(from), sums.take_back(sumCount));
    if (results.keys) {
      Carried gradients = products(t, warpRows, ofValues, moving, pairs.second(from));
      for (auto [n, gradient] : llvm::enumerate(gradients)) {
        gradient = shares[n] * (gradient - inner[n]);
        if (shape.softcap != 0)
          gradient = gradient * shape.slopeOf(scores[n]);
      }
      addWeighted(t, warpRows, gradients, moving, pairs.first(from), sums.take_front(sumCount));
    }
    return next;
  });
  if (results.keys) {
    Carried dk(sums.begin(), sums.begin() + sumCount);
    for (Scalar &sum : dk)
      sum = sum * shape.scale;
    storeRows(t, warpRows, dk, k.pointer(5), shape.width, placeOfKey);
  }
  if (results.values)
    storeRows(t, warpRows, ArrayRef(sums).take_back(sumCount), k.pointer(6), shape.width, placeOfKey);
}
} // namespace

void morph::launchTensorAttention(DeviceFormCall &call, const AttentionShape &shape, const AttentionOutputs &outputs) {
  const bool mayShare = ForwardSizes::mayShareKeys(shape), keeps = outputs.lse.has_value();
  const std::string variant = shape.variant() + (keeps ? "_lse" : "");
  auto define = [&](const KernelTile &tile) {
    ForwardSizes sizes(shape, tile);
    return call.define("tensor_" + variant + (mayShare ? "_shared_" : "_") + tile.name(),
                       /*pointers=*/mayShare ? 9 : 7, /*sizes=*/2, sizes.threads(),
                       [&](KernelBuilder &k) { buildForward(k, shape, sizes, keeps); });
  };
  ForwardSizes sizes(shape, call.pickTile(
                                ForwardSizes::kind(shape), shape.width, ForwardSizes::tiles(shape),
                                [&](const KernelTile &tile) { return ForwardSizes(shape, tile).work(); }, define));
  const plan::LaunchArgument lse = outputs.lse.value_or(outputs.out); // Else it is not written.
  std::vector<plan::LaunchArgument> arguments = shape.arguments();
  arguments.insert(arguments.end(), {outputs.out, lse});
  plan::LaunchArgument queries = sizeArgument(productOf(shape.queries)), keys = sizeArgument(productOf(shape.keys));
  plan::SizeFormula blocks = shape.tilesOfRows(sizes.q.rows), groups = plan::constantFormula(shape.groups);
  std::vector<plan::LaunchArgument> parts;
  if (mayShare) {
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
  call.launch(define(sizes.tile), {blocks, groups, productOf(shape.batch)}, sizes.threads(), arguments,
              sizes.sharedBytes());
  if (!mayShare)
    return;
  std::string sum = call.define("parts_" + variant, /*pointers=*/4, /*sizes=*/2, kElementThreads,
                                [&](KernelBuilder &k) { buildParts(k, shape, sizes, keeps); });
  call.launch(
      sum,
      {plan::constantFormula(static_cast<int64_t>(llvm::divideCeil(sizes.q.rows * shape.width, kElementThreads))),
       groups, productOf(shape.batch)},
      kElementThreads, {parts[0], parts[1], outputs.out, lse, queries, keys});
}

void morph::launchTensorAttentionGrad(DeviceFormCall &call, const AttentionShape &shape,
                                      const AttentionOutputs &forward) {
  int64_t each = shape.groups * BackwardSizes::kStatistics;
  plan::LaunchArgument statistics =
      call.takeScratch(sumOf(scratchOf({shape.batch, shape.queries}, shape.group() * each),
                             scratchOf({shape.batch}, BackwardSizes::kMostRows * each)));
  plan::LaunchArgument queries = sizeArgument(productOf(shape.queries)), keys = sizeArgument(productOf(shape.keys));
  plan::SizeFormula groups = plan::constantFormula(shape.groups), batch = productOf(shape.batch);
  std::string variant = shape.variant();
  auto defineRows = [&](const KernelTile &tile) {
    BackwardSizes sizes(shape, tile);
    return call.define("tensor_rows_" + variant + "_" + tile.name(), /*pointers=*/9, /*sizes=*/2, sizes.threads(),
                       [&](KernelBuilder &k) { buildRowsGradient(k, shape, sizes); });
  };
  BackwardSizes ofRows(shape, call.pickTile(
                                  "attention_rows", shape.width, BackwardSizes::tilesOfRows(),
                                  [&](const KernelTile &tile) { return BackwardSizes(shape, tile).workOfRows(); },
                                  defineRows));
  call.launch(defineRows(ofRows.tile), {shape.tilesOfRows(ofRows.fixed.rows), groups, batch}, ofRows.threads(),
              {operandArgument(0), operandArgument(1), operandArgument(2), operandArgument(3), operandArgument(4),
               forward.out, *forward.lse, resultArgument(0), statistics, queries, keys},
              ofRows.sharedBytes());
  auto launchKeys = [&](const std::string &name, KeyResults results) {
    auto define = [&](const KernelTile &tile) {
      BackwardSizes sizes(shape, tile);
      return call.define("tensor_" + name + "_" + variant + "_" + tile.name(), /*pointers=*/8, /*sizes=*/2,
                         sizes.threads(), [&](KernelBuilder &k) { buildKeysGradient(k, shape, sizes, results); });
    };
    BackwardSizes sizes(
        shape, call.pickTile(
                   "attention_" + name, shape.width, BackwardSizes::tilesOfKeys(),
                   [&](const KernelTile &tile) { return BackwardSizes(shape, tile).workOfKeys(results); }, define));
    call.launch(define(sizes.tile), {productOf(shape.keys, 1, sizes.fixed.rows), groups, batch}, sizes.threads(),
                {operandArgument(0), operandArgument(1), operandArgument(2), operandArgument(3), operandArgument(4),
                 resultArgument(1), resultArgument(2), statistics, queries, keys},
                sizes.sharedBytes());
  };
  // Wide heads have dk and dv, whose sums fill the registers of a warp, in kernels of their own.
  if (shape.width > 128) {
    launchKeys("dk", {true, false});
    launchKeys("dv", {false, true});
  } else {
    launchKeys("keys", {true, true});
  }
}
