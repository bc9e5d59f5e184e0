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

  /// As many as have their sums of the head's dimensions in registers, without spilling any.
  static WarpRows of(const AttentionShape &shape) { return {shape.width <= 96 ? 2 : 1}; }

  size_t lanes() const { return at(2 * blocks); }
  /// The first row of a block of this warp.
  Index first(TensorTiles &t, int64_t block) const { return t.warp() * (blocks * kSide) + block * kSide; }
  /// The row of the lane's row `number`, of those of all warps.
  Index row(TensorTiles &t, int64_t number) const { return first(t, number / 2) + t.row(number % 2 * 2); }
  /// Which of the lane's rows number n of `count` sums has.
  size_t rowOf(size_t n, size_t count) const { return n / (count / at(blocks)) * 2 + n % 4 / 2; }
};

/// Sizes of the forward's tiles.
struct ForwardSizes {
  explicit ForwardSizes(const AttentionShape &shape)
      // Keys of a cache are more than the queries, and may be shared.
      : mayShare(shape.hasOffset || shape.queries != shape.keys),
        warpRows(mayShare ? WarpRows{1} : WarpRows::of(shape)), warps(warpRows.blocks == 2 || mayShare ? 4 : 8),
        q(warps * warpRows.blocks * kSide, padTo16(shape.width)),
        kv(shape.width <= (warpRows.blocks == 2 ? 64 : 128) ? 64 : 32, padTo16(shape.width)) {}

  int64_t threads() const { return warps * TensorTiles::kWarp; }
  int64_t sharedBytes() const { return q.bytes() + 4 * kv.bytes(); }

  bool mayShare;
  WarpRows warpRows;
  int64_t warps;
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

/// The same of a tile that is there by now, loaded once where a warp of one block of rows has registers for `columns`
/// of them.
class KeptFragments {
public:
  KeptFragments(TensorTiles &t, WarpRows rows, const HalfTile &tile, Value from, int64_t columns)
      : t(t), rows(rows), tile(tile), from(from) {
    if (rows.blocks == 1 && tile.columns <= columns)
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
    KeptFragments fragmentOfQ(t, warpRows, sizes.q, q, /*columns=*/128);

    VisibleKeys visible(t, warpRows, rows, sizes.q.rows, tile);
    Carried start = RunningSoftmax::start(t, warpRows);
    const size_t numberCount = start.size(), sumCount = at(warpRows.blocks * sizes.kv.columns / 2);
    start.append(sumCount, k.number(0));
    Value hasRows = rows.firstRow + warpRows.first(t, 0) < rows.rows;
    Carried all = pairs.loop(begin, end, start, [&](Index from, ArrayRef<Scalar> carried) {
      auto addTile = [&] {
        Carried shares = visible.mask(from, products(t, warpRows, fragmentOfQ, sizes.kv, pairs.first(from)));
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

struct BackwardSizes {
  explicit BackwardSizes(const AttentionShape &shape)
      // Wide heads have dk and dv, whose sums fill the registers of a warp, in kernels of their own.
      : isWide(shape.width > 128), warpRows(WarpRows::of(shape)), fixed(isWide ? 64 : 128, padTo16(shape.width)),
        moving(32, padTo16(shape.width)) {}

  int64_t threadsOfRows() const { return fixed.rows / (warpRows.blocks * kSide) * TensorTiles::kWarp; }
  int64_t threadsOfKeys() const { return fixed.rows / kSide * TensorTiles::kWarp; }
  /// What a block has of rows or of keys, and what it goes over.
  int64_t sharedBytes() const { return 2 * fixed.bytes() + 4 * moving.bytes() + 2 * statisticsBytes(); }
  /// Of what the rows that a block goes over have.
  int64_t statisticsBytes() const { return kStatistics * 4 * moving.rows; }
  /// Rows of statistics of a key-value head: those of whole tiles.
  Index paddedRows(Index rows) const { return (rows + (fixed.rows - 1)) / fixed.rows * fixed.rows; }

  /// What the kernel of rows leaves for that of keys: the logarithm to base two of a row's sum, and the sum of its
  /// shares times their gradients.
  static constexpr int64_t kStatistics = 2;

  bool isWide;
  WarpRows warpRows; ///< Of keys, whose sums are twice as many, a warp has 16.
  HalfTile fixed, moving;
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
  TensorTiles t(k, sizes.threadsOfRows());
  const HalfTile &fixed = sizes.fixed, &moving = sizes.moving;
  Index rowCount = k.size(0) * shape.group(), padded = sizes.paddedRows(rowCount);
  AttentionRowTile rows(k, shape, tileOfBlock(padded / fixed.rows, k.block(0)), fixed.rows, moving.rows, k.pointer(4),
                        {});
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

  KeptFragments ofQ(t, warpRows, fixed, q, /*columns=*/128), ofGradient(t, warpRows, fixed, dO, /*columns=*/128);
  Carried sums(at(warpRows.blocks * moving.columns / 2), k.number(0));
  sums = pairs.loop(rows.begin, rows.end, sums, [&](Index from, ArrayRef<Scalar> carried) {
    Carried next(carried), shares = visible.mask(from, products(t, warpRows, ofQ, moving, pairs.first(from))),
                           gradients = products(t, warpRows, ofGradient, moving, pairs.second(from));
    for (auto [n, share] : llvm::enumerate(shares)) {
      size_t row = warpRows.rowOf(n, shares.size());
      share = shareOf(k, share, factor, logarithm[row]) * (gradients[n] - inner[row]);
    }
    addWeighted(t, warpRows, shares, moving, pairs.first(from), next);
    return next;
  });
  for (Scalar &sum : sums)
    sum = sum * shape.scale;
  storeRows(t, warpRows, sums, k.pointer(7), shape.width, place);
}

/// Which gradients a kernel of keys finds.
struct KeyResults {
  bool keys, values;
};

/// dk or dv, or both, of a tile of keys. Pointers: dy, q, k, v, start, dk, dv, statistics.
void buildKeysGradient(KernelBuilder &k, const AttentionShape &shape, const BackwardSizes &sizes, KeyResults results) {
  TensorTiles t(k, sizes.threadsOfKeys());
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
  Index firstStatistic = (b * shape.groups + g) * sizes.paddedRows(rows);
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
  KeptFragments ofKeys(t, warpRows, fixed, key, /*columns=*/64), ofValues(t, warpRows, fixed, value, /*columns=*/64);
  Carried start((results.keys + results.values) * sumCount, k.number(0));
  Carried sums = pairs.loop(begin, end, start, [&](Index from, ArrayRef<Scalar> carried) {
    Carried next(carried);
    MutableArrayRef<Scalar> sums(next);
    Carried shares = mask(from, products(t, warpRows, ofKeys, moving, pairs.first(from)));
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
      for (auto [n, gradient] : llvm::enumerate(gradients))
        gradient = shares[n] * (gradient - inner[n]);
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
  ForwardSizes sizes(shape);
  const bool keeps = outputs.lse.has_value();
  const std::string variant = shape.variant() + (keeps ? "_lse" : "");
  const plan::LaunchArgument lse = outputs.lse.value_or(outputs.out); // Else it is not written.
  std::vector<plan::LaunchArgument> arguments = shape.arguments();
  arguments.insert(arguments.end(), {outputs.out, lse});
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
      call.define("tensor_" + variant + (sizes.mayShare ? "_shared" : ""), pointers,
                  /*sizes=*/2, sizes.threads(), [&](KernelBuilder &k) { buildForward(k, shape, sizes, keeps); });
  call.launch(kernel, {blocks, groups, productOf(shape.batch)}, sizes.threads(), arguments, sizes.sharedBytes());
  if (!sizes.mayShare)
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
  BackwardSizes sizes(shape);
  int64_t each = shape.groups * BackwardSizes::kStatistics;
  plan::LaunchArgument statistics =
      call.takeScratch(sumOf(scratchOf({shape.batch, shape.queries}, shape.group() * each),
                             scratchOf({shape.batch}, sizes.fixed.rows * each)));
  plan::LaunchArgument queries = sizeArgument(productOf(shape.queries)), keys = sizeArgument(productOf(shape.keys));
  plan::SizeFormula groups = plan::constantFormula(shape.groups), batch = productOf(shape.batch);
  std::string variant = shape.variant();
  std::string ofRows = call.define("tensor_rows_" + variant, /*pointers=*/9, /*sizes=*/2, sizes.threadsOfRows(),
                                   [&](KernelBuilder &k) { buildRowsGradient(k, shape, sizes); });
  call.launch(ofRows, {shape.tilesOfRows(sizes.fixed.rows), groups, batch}, sizes.threadsOfRows(),
              {operandArgument(0), operandArgument(1), operandArgument(2), operandArgument(3), operandArgument(4),
               forward.out, *forward.lse, resultArgument(0), statistics, queries, keys},
              sizes.sharedBytes());
  auto launchKeys = [&](const std::string &name, KeyResults results) {
    std::string ofKeys = call.define(name + variant, /*pointers=*/8, /*sizes=*/2, sizes.threadsOfKeys(),
                                     [&](KernelBuilder &k) { buildKeysGradient(k, shape, sizes, results); });
    call.launch(ofKeys, {productOf(shape.keys, 1, sizes.fixed.rows), groups, batch}, sizes.threadsOfKeys(),
                {operandArgument(0), operandArgument(1), operandArgument(2), operandArgument(3), operandArgument(4),
                 resultArgument(1), resultArgument(2), statistics, queries, keys},
                sizes.sharedBytes());
  };
  if (sizes.isWide) {
    launchKeys("tensor_dk_", {true, false});
    launchKeys("tensor_dv_", {false, true});
  } else {
    launchKeys("tensor_keys_", {true, true});
  }
}
