// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/BlockAttention.h"

#include "runtime/kernels/AttentionLoops.h"
#include "runtime/kernels/GemmLoops.h"
#include "runtime/kernels/Parallel.h"
#include "runtime/kernels/Pieces.h"
#include "runtime/kernels/SmallProducts.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

namespace morph {
namespace {

using plan::alignedBytes;
using plan::AttentionSizes;
using plan::blocksOf;
using plan::kDecodeKeys;
using plan::kKeptBlocks;
using plan::kKeyBlock;
using plan::kQueryBlock;

template <typename T> void fillRows(Matrix<T> x, int64_t rows, int64_t width) {
  for (int64_t i = 0; i < rows; ++i)
    std::fill(x.row(i), x.row(i) + width, T(0));
}

/// A block of queries that stand at the keys position, position + 1, ..., and the keys that any of them sees.
struct Queries {
  Queries(const AttentionProblem &p, int64_t b, int64_t number)
      : begin(number * kQueryBlock), rows(std::min(kQueryBlock, p.sizes.queries - begin)),
        position(p.sizes.keys - p.sizes.queries + begin), window(p.window),
        start(p.start ? std::max<int64_t>(0, p.start[b]) : 0), lastKey(position + rows),
        firstKey(std::min(firstSeen(0), lastKey)) {}
  int64_t firstSeen(int64_t row) const { return window > 0 ? std::max(start, position + row - window + 1) : start; }
  bool empty() const { return firstKey == lastKey; }
  /// The blocks of keys that are seen, and of one of them the keys that count.
  int64_t firstBlock() const { return firstKey / kKeyBlock; }
  int64_t lastBlock() const { return empty() ? firstBlock() : blocksOf(lastKey, kKeyBlock); }
  int64_t keys(int64_t block) const { return std::min(kKeyBlock, lastKey - block * kKeyBlock); }
  /// What row `row` sees of a block of keys.
  int64_t first(int64_t row, int64_t block) const {
    return std::clamp<int64_t>(firstSeen(row) - block * kKeyBlock, 0, keys(block));
  }
  int64_t last(int64_t row, int64_t block) const {
    return std::clamp<int64_t>(position + row + 1 - block * kKeyBlock, 0, keys(block));
  }

  int64_t begin, rows, position, window, start, lastKey, firstKey;
};

/// The last queries see the most keys.
int64_t longestFirst(int64_t task, int64_t blocks) { return blocks - 1 - task; }

template <typename T> constexpr T lowest() { return std::numeric_limits<T>::lowest(); }

template <typename E, typename T>
void forwardBlock(const AttentionProblem &p, const Queries &block, Matrix<const E> q, Matrix<const E> k,
                  Matrix<const E> v, Matrix<T> o, T *logSums, T *scores, E *shares, RowSums<T> *sums) {
  const int64_t width = p.sizes.width;
  fillRows(o, block.rows, width);
  std::fill(sums, sums + block.rows, RowSums<T>{0, 0, 0});
  for (int64_t j = block.firstBlock(); j < block.lastBlock(); ++j) {
    const int64_t n = block.keys(j);
    const Matrix<T> s{scores, n};
    const Matrix<E> e{shares, n};
    multiply(false, true, block.rows, n, width, T(1), q, k.below(j * kKeyBlock), T(0), s);
    for (int64_t i = 0; i < block.rows; ++i) {
      const T factor =
          addExponentials(s.row(i), e.row(i), block.first(i, j), block.last(i, j), n, T(p.scale), sums + i);
      if (factor != 1)
        scaleRow(o.row(i), width, factor);
    }
    multiply(false, false, block.rows, width, n, T(1), Matrix<const E>{e.data, n}, v.below(j * kKeyBlock), T(1), o);
  }
  for (int64_t i = 0; i < block.rows; ++i) {
    if (sums[i].sum != 0)
      scaleRow(o.row(i), width, T(1) / sums[i].sum);
    if (logSums)
      logSums[i] = sums[i].sum != 0 ? T(p.scale) * sums[i].most + std::log(sums[i].sum) : lowest<T>();
  }
}

/// One query: the heads of a group are its rows, so that their keys are read once; tasks of kDecodeKeys keys find sums
/// and outputs of their own, which are joined in the order of the keys.
template <typename T>
void decode(const AttentionProblem &p, const T *q, const T *k, const T *v, T *o, T *logSums, int threads,
            Pieces pieces) {
  const AttentionSizes &s = p.sizes;
  const int64_t group = s.heads / s.groups, width = s.width, parts = blocksOf(s.keys, kDecodeKeys);
  RowSums<T> *const sums = pieces.take<RowSums<T>>(s.batch * s.heads * parts);
  T *const outputs = pieces.take<T>(s.batch * s.heads * parts * width);
  const int64_t scoresEach = alignedBytes(group * std::min(kKeyBlock, s.keys) * static_cast<int64_t>(sizeof(T))) /
                             static_cast<int64_t>(sizeof(T));
  T *const scores = pieces.take<T>(threads * scoresEach);
  parallelTasks(threads, s.batch * s.groups * parts, [&](int64_t task, int thread) {
    const int64_t part = task % parts, g = task / parts % s.groups, b = task / parts / s.groups;
    const int64_t start = p.start ? std::max<int64_t>(0, p.start[b]) : 0;
    const int64_t seen = std::max(start, p.window > 0 ? s.keys - p.window : 0);
    const Matrix<const T> keys = headOf(k, b, g, s.keys, s.groups, width),
                          values = headOf(v, b, g, s.keys, s.groups, width);
    const int64_t firstRow = b * s.heads + g * group;
    RowSums<T> *const mine = sums + firstRow * parts;
    for (int64_t r = 0; r < group; ++r) {
      mine[r * parts + part] = {0, 0, 0};
      std::fill_n(outputs + ((firstRow + r) * parts + part) * width, width, T(0));
    }
    const int64_t end = std::min(s.keys, (part + 1) * kDecodeKeys);
    for (int64_t at = part * kDecodeKeys; at < end; at += kKeyBlock) {
      const int64_t n = std::min(kKeyBlock, end - at), first = std::clamp<int64_t>(seen - at, 0, n);
      if (first == n)
        continue;
      const Matrix<T> x{scores + thread * scoresEach, n};
      for (int64_t r = 0; r < group; ++r) {
        rowTimesRows(q + (firstRow + r) * width, keys.row(at), keys.stride, x.row(r), n, width, false);
        const T factor = addExponentials(x.row(r), x.row(r), first, n, n, T(p.scale), mine + r * parts + part);
        if (factor != 1)
          scaleRow(outputs + ((firstRow + r) * parts + part) * width, width, factor);
      }
      multiply(false, false, group, width, n, T(1), Matrix<const T>{x.data, n}, values.below(at), T(1),
               Matrix<T>{outputs + (firstRow * parts + part) * width, parts * width});
    }
  });
  for (int64_t row = 0; row < s.batch * s.heads; ++row) {
    T most = lowest<T>(), sum = 0;
    const RowSums<T> *const mine = sums + row * parts;
    for (int64_t part = 0; part < parts; ++part)
      if (mine[part].sum != 0)
        most = std::max(most, mine[part].most);
    T *const out = o + row * width;
    std::fill_n(out, width, T(0));
    for (int64_t part = 0; part < parts; ++part)
      if (mine[part].sum != 0) {
        const T factor = std::exp(T(p.scale) * (mine[part].most - most));
        sum += factor * mine[part].sum;
        addScaledRow(outputs + (row * parts + part) * width, out, width, factor);
      }
    if (sum != 0)
      scaleRow(out, width, T(1) / sum);
    if (logSums)
      logSums[row] = sum != 0 ? T(p.scale) * most + std::log(sum) : lowest<T>();
  }
}

/// Scratch of a thread.
template <typename E, typename T> struct GradientBuffers {
  GradientBuffers(Pieces &pieces, const AttentionSizes &s)
      : block(std::min(kQueryBlock, s.queries) * std::min(kKeyBlock, s.keys)),
        kept(std::min(kKeptBlocks, blocksOf(s.keys, kKeyBlock) + 1)) {
    each = alignedBytes(block * static_cast<int64_t>(sizeof(T))) / static_cast<int64_t>(sizeof(T));
    scores = pieces.take<T>(kept * each);
    dshares = pieces.take<T>(kept * each);
    if constexpr (!std::is_same_v<E, T>) {
      shares = pieces.take<E>(block);
      dscores = pieces.take<E>(block);
    }
  }
  int64_t block, kept, each;
  T *scores, *dshares;                     ///< Products of the blocks of keys that are kept.
  E *shares = nullptr, *dscores = nullptr; ///< Of one block; in the place of the products where the type is theirs.
};

/// A head's operands and results as matrices.
template <typename E, typename T> struct Head {
  Head(const AttentionSizes &s, const E *dO, const E *q, const E *k, const E *v, T *dq, T *dk, T *dv, int64_t b,
       int64_t h)
      : dO(headOf(dO, b, h, s.queries, s.heads, s.width)), q(headOf(q, b, h, s.queries, s.heads, s.width)),
        k(headOf(k, b, h / (s.heads / s.groups), s.keys, s.groups, s.width)),
        v(headOf(v, b, h / (s.heads / s.groups), s.keys, s.groups, s.width)),
        dq(headOf(dq, b, h, s.queries, s.heads, s.width)),
        dk(headOf(dk, b, h / (s.heads / s.groups), s.keys, s.groups, s.width)),
        dv(headOf(dv, b, h / (s.heads / s.groups), s.keys, s.groups, s.width)) {}
  Matrix<const E> dO, q, k, v;
  Matrix<T> dq, dk, dv;
};

/// S and dP of a block of queries and a block of keys.
template <typename E, typename T>
void blockProducts(const AttentionProblem &p, const Head<E, T> &x, const Queries &block, int64_t j, T *scores,
                   T *dshares) {
  const int64_t n = block.keys(j), width = p.sizes.width;
  multiply(false, true, block.rows, n, width, T(1), x.q.below(block.begin), x.k.below(j * kKeyBlock), T(0),
           Matrix<T>{scores, n});
  multiply(false, true, block.rows, n, width, T(1), x.dO.below(block.begin), x.v.below(j * kKeyBlock), T(0),
           Matrix<T>{dshares, n});
}

/// The sums of a block's rows, with `sum` as its reciprocal and `inner` as rowsum(P * dP); the products of its blocks
/// of keys are left in the buffers where they fit.
template <typename E, typename T>
void rowSums(const AttentionProblem &p, const Head<E, T> &x, const Queries &block, const AttentionSaved<T> &saved,
             int64_t b, int64_t h, GradientBuffers<E, T> &buffers, bool keep, RowSums<T> *sums) {
  const AttentionSizes &s = p.sizes;
  if (saved.o) {
    for (int64_t i = 0; i < block.rows; ++i) {
      const T logSum = saved.logSums[(b * s.heads + h) * s.queries + block.begin + i];
      const T *o = saved.o + ((b * s.queries + block.begin + i) * s.heads + h) * s.width;
      const E *dO = x.dO.row(block.begin + i);
      T inner = 0;
      for (int64_t l = 0; l < s.width; ++l)
        inner += o[l] * widen(dO[l]);
      const bool none = logSum == lowest<T>();
      sums[i] = {none ? T(0) : logSum / T(p.scale), none ? T(0) : T(1), inner};
    }
    return;
  }
  std::fill(sums, sums + block.rows, RowSums<T>{0, 0, 0});
  for (int64_t j = block.firstBlock(); j < block.lastBlock(); ++j) {
    const int64_t n = block.keys(j), slot = keep ? j - block.firstBlock() : 0;
    T *const scores = buffers.scores + slot * buffers.each, *const dshares = buffers.dshares + slot * buffers.each;
    blockProducts(p, x, block, j, scores, dshares);
    for (int64_t i = 0; i < block.rows; ++i)
      addInner(scores + i * n, dshares + i * n, block.first(i, j), block.last(i, j), T(p.scale), sums + i);
  }
  for (int64_t i = 0; i < block.rows; ++i) {
    sums[i].sum = sums[i].sum != 0 ? T(1) / sums[i].sum : T(0);
    sums[i].inner *= sums[i].sum;
  }
}

/// From a block pair's products and its rows' sums: adds to dq, or to dk and dv, or to all.
template <typename E, typename T>
void addGradients(const AttentionProblem &p, const Head<E, T> &x, const Queries &block, int64_t j, T *scores,
                  T *dshares, GradientBuffers<E, T> &buffers, const RowSums<T> *sums, bool toQueries, bool toKeys) {
  const int64_t n = block.keys(j), width = p.sizes.width, at = j * kKeyBlock;
  E *shares, *dscores;
  if constexpr (std::is_same_v<E, T>) {
    shares = scores;
    dscores = dshares;
  } else {
    shares = buffers.shares;
    dscores = buffers.dscores;
  }
  for (int64_t i = 0; i < block.rows; ++i)
    softmaxGradient(scores + i * n, dshares + i * n, shares + i * n, dscores + i * n, block.first(i, j),
                    block.last(i, j), n, sums[i].most, sums[i].sum, sums[i].inner, T(p.scale));
  const Matrix<const E> ds{dscores, n}, share{shares, n};
  if (toQueries)
    multiply(false, false, block.rows, width, n, T(1), ds, x.k.below(at), T(1), x.dq.below(block.begin));
  if (toKeys) {
    multiply(true, false, n, width, block.rows, T(1), ds, x.q.below(block.begin), T(1), x.dk.below(at));
    multiply(true, false, n, width, block.rows, T(1), share, x.dO.below(block.begin), T(1), x.dv.below(at));
  }
}

/// All of a block of queries: dq, and what it adds to dk and dv where `toKeys`. Leaves the sums of its rows.
template <typename E, typename T>
void backwardBlock(const AttentionProblem &p, const Head<E, T> &x, const Queries &block, const AttentionSaved<T> &saved,
                   int64_t b, int64_t h, GradientBuffers<E, T> &buffers, RowSums<T> *sums, bool toKeys) {
  const bool keep = !saved.o && block.lastBlock() - block.firstBlock() <= buffers.kept;
  rowSums(p, x, block, saved, b, h, buffers, keep, sums);
  fillRows(x.dq.below(block.begin), block.rows, p.sizes.width);
  for (int64_t j = block.firstBlock(); j < block.lastBlock(); ++j) {
    const int64_t slot = keep ? j - block.firstBlock() : 0;
    T *const scores = buffers.scores + slot * buffers.each, *const dshares = buffers.dshares + slot * buffers.each;
    if (!keep)
      blockProducts(p, x, block, j, scores, dshares);
    addGradients(p, x, block, j, scores, dshares, buffers, sums, true, toKeys);
  }
}

} // namespace

template <typename E, typename T>
void attentionForward(const AttentionProblem &p, const E *q, const E *k, const E *v, T *o, T *logSums, int threads,
                      void *workspace) {
  const AttentionSizes &s = p.sizes;
  Pieces pieces(workspace);
  if (insideTasks())
    threads = 1;
  if constexpr (std::is_same_v<E, T>)
    if (s.queries == 1) {
      decode(p, q, k, v, o, logSums, threads, pieces);
      return;
    }
  const int64_t blocks = blocksOf(s.queries, kQueryBlock), rows = std::min(kQueryBlock, s.queries),
                elements = rows * std::min(kKeyBlock, s.keys);
  struct Mine {
    T *scores;
    E *shares;
    RowSums<T> *sums;
  };
  const int64_t bytes = alignedBytes(elements * static_cast<int64_t>(sizeof(T))) +
                        (std::is_same_v<E, T> ? 0 : alignedBytes(elements * static_cast<int64_t>(sizeof(E)))) +
                        alignedBytes(rows * static_cast<int64_t>(sizeof(RowSums<T>)));
  auto mineOf = [&](int thread) {
    Pieces own(static_cast<char *>(workspace) + thread * bytes);
    Mine mine{own.take<T>(elements), nullptr, nullptr};
    if constexpr (std::is_same_v<E, T>)
      mine.shares = mine.scores;
    else
      mine.shares = own.template take<E>(elements);
    mine.sums = own.template take<RowSums<T>>(rows);
    return mine;
  };
  parallelTasks(threads, s.batch * s.heads * blocks, [&](int64_t task, int thread) {
    const int64_t b = task / (s.heads * blocks), h = task / blocks % s.heads, group = s.heads / s.groups;
    const Queries block(p, b, longestFirst(task % blocks, blocks));
    const Mine mine = mineOf(thread);
    forwardBlock<E, T>(
        p, block, headOf(q, b, h, s.queries, s.heads, s.width).below(block.begin),
        headOf(k, b, h / group, s.keys, s.groups, s.width), headOf(v, b, h / group, s.keys, s.groups, s.width),
        headOf(o, b, h, s.queries, s.heads, s.width).below(block.begin),
        logSums ? logSums + (b * s.heads + h) * s.queries + block.begin : nullptr, mine.scores, mine.shares, mine.sums);
  });
}

template <typename E, typename T>
void attentionBackward(const AttentionProblem &p, const E *dO, const E *q, const E *k, const E *v,
                       const AttentionSaved<T> &saved, T *dq, T *dk, T *dv, int threads, void *workspace) {
  const AttentionSizes &s = p.sizes;
  if (insideTasks())
    threads = 1;
  const int64_t blocks = blocksOf(s.queries, kQueryBlock), keyBlocks = blocksOf(s.keys, kKeyBlock),
                group = s.heads / s.groups;
  Pieces pieces(workspace);
  RowSums<T> *const sums = pieces.take<RowSums<T>>(s.batch * s.heads * s.queries);
  char *const own = reinterpret_cast<char *>(pieces.take<char>(0));
  const int64_t bytes =
      plan::attentionGradWorkspace({s.batch, s.queries, s.keys, 0, s.groups, s.width}, 1, sizeof(E), sizeof(T));
  auto buffersOf = [&](int thread) {
    Pieces mine(own + thread * bytes);
    return GradientBuffers<E, T>(mine, s);
  };
  auto headAt = [&](int64_t b, int64_t h) { return Head<E, T>(s, dO, q, k, v, dq, dk, dv, b, h); };
  auto sumsOf = [&](int64_t b, int64_t h, const Queries &block) {
    return sums + (b * s.heads + h) * s.queries + block.begin;
  };
  // The heads of a group add to the same keys. One task for each group computes every product once; where that leaves
  // threads without work, blocks of queries and then blocks of keys are tasks, and two of five products are repeated.
  // Either way a key's sum runs over the heads of its group and their blocks of queries in the same order.
  const bool whole = s.batch * s.groups >= 2 * threads || threads == 1 || blocks == 1;
  if (whole) {
    parallelTasks(threads, s.batch * s.groups, [&](int64_t task, int thread) {
      const int64_t b = task / s.groups, g = task % s.groups;
      GradientBuffers<E, T> buffers = buffersOf(thread);
      const Head<E, T> keys = headAt(b, g * group);
      fillRows(keys.dk, s.keys, s.width);
      fillRows(keys.dv, s.keys, s.width);
      for (int64_t h = g * group; h < (g + 1) * group; ++h)
        for (int64_t i = 0; i < blocks; ++i) {
          const Queries block(p, b, i);
          backwardBlock(p, headAt(b, h), block, saved, b, h, buffers, sumsOf(b, h, block), true);
        }
    });
    return;
  }
  parallelTasks(threads, s.batch * s.heads * blocks, [&](int64_t task, int thread) {
    const int64_t b = task / (s.heads * blocks), h = task / blocks % s.heads;
    const Queries block(p, b, longestFirst(task % blocks, blocks));
    GradientBuffers<E, T> buffers = buffersOf(thread);
    backwardBlock(p, headAt(b, h), block, saved, b, h, buffers, sumsOf(b, h, block), false);
  });
  parallelTasks(threads, s.batch * s.groups * keyBlocks, [&](int64_t task, int thread) {
    // The first keys are seen by the most queries.
    const int64_t j = task % keyBlocks, g = task / keyBlocks % s.groups, b = task / keyBlocks / s.groups;
    GradientBuffers<E, T> buffers = buffersOf(thread);
    const Head<E, T> keys = headAt(b, g * group);
    const int64_t n = std::min(kKeyBlock, s.keys - j * kKeyBlock);
    fillRows(keys.dk.below(j * kKeyBlock), n, s.width);
    fillRows(keys.dv.below(j * kKeyBlock), n, s.width);
    for (int64_t h = g * group; h < (g + 1) * group; ++h)
      for (int64_t i = 0; i < blocks; ++i) {
        const Queries block(p, b, i);
        if (j < block.firstBlock() || j >= block.lastBlock())
          continue;
        const Head<E, T> x = headAt(b, h);
        blockProducts(p, x, block, j, buffers.scores, buffers.dshares);
        addGradients(p, x, block, j, buffers.scores, buffers.dshares, buffers, sumsOf(b, h, block), false, true);
      }
  });
}

#define MORPH_INSTANTIATE(E, T)                                                                                        \
  template void attentionForward<E, T>(const AttentionProblem &, const E *, const E *, const E *, T *, T *, int,       \
                                       void *);                                                                        \
  template void attentionBackward<E, T>(const AttentionProblem &, const E *, const E *, const E *, const E *,          \
                                        const AttentionSaved<T> &, T *, T *, T *, int, void *);
MORPH_INSTANTIATE(float, float)
MORPH_INSTANTIATE(Bf16, float)
MORPH_INSTANTIATE(double, double)
#undef MORPH_INSTANTIATE

} // namespace morph
