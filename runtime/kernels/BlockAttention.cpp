// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/BlockAttention.h"

#include "runtime/kernels/AttentionLoops.h"
#include "runtime/kernels/DecodeLoops.h"
#include "runtime/kernels/GemmLoops.h"
#include "runtime/kernels/Parallel.h"
#include "runtime/kernels/ScratchAllocator.h"
#include "runtime/kernels/SmallProducts.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

namespace morph {
namespace {

using plan::alignedBytes;
using plan::AttentionGradTasks;
using plan::AttentionSizes;
using plan::blocksOf;
using plan::kDecodeKeys;
using plan::kKeyBlock;
using plan::kQueryBlock;

template <typename T> void fillRows(Matrix<T> x, int64_t rows, int64_t width) {
  for (int64_t i = 0; i < rows; ++i)
    std::fill(x.row(i), x.row(i) + width, T(0));
}

/// A block of queries of the positions position, position + 1, ..., and the keys that any of them sees, by position.
struct Queries {
  Queries(const AttentionProblem &p, int64_t b, int64_t number)
      : begin(number * kQueryBlock), rows(std::min(kQueryBlock, p.sizes.queries - begin)),
        position(p.position(b) + begin), window(p.window), start(p.start ? std::max<int64_t>(0, p.start[b]) : 0),
        lastKey(position + rows), firstKey(std::min(firstSeen(0), lastKey)) {}
  int64_t firstSeen(int64_t row) const { return window > 0 ? std::max(start, position + row - window + 1) : start; }
  bool empty() const { return firstKey == lastKey; }
  /// The blocks of keys that are seen, and of one of them the keys that count.
  int64_t firstBlock() const { return firstKey / kKeyBlock; }
  int64_t lastBlock() const { return empty() ? firstBlock() : blocksOf(lastKey, kKeyBlock); }
  int64_t keys(int64_t block) const { return std::min(kKeyBlock, lastKey - block * kKeyBlock); }
  /// What row `row` sees of `n` keys from `at` on, or of a block of keys.
  int64_t first(int64_t row, int64_t at, int64_t n) const { return std::clamp<int64_t>(firstSeen(row) - at, 0, n); }
  int64_t last(int64_t row, int64_t at, int64_t n) const { return std::clamp<int64_t>(position + row + 1 - at, 0, n); }
  int64_t first(int64_t row, int64_t block) const { return first(row, block * kKeyBlock, keys(block)); }
  int64_t last(int64_t row, int64_t block) const { return last(row, block * kKeyBlock, keys(block)); }

  int64_t begin, rows, position, window, start, lastKey, firstKey;
};

/// The last queries see the most keys.
int64_t longestFirst(int64_t task, int64_t blocks) { return blocks - 1 - task; }

/// The logarithm of a row's sum of exp(scale * product); infinity, so that shares are zero, where it sees no key.
template <typename T> T logSumOf(const RowSums<T> &sums, T scale) {
  return sums.sum != 0 ? scale * sums.most + std::log(sums.sum) : std::numeric_limits<T>::infinity();
}

template <typename T> constexpr T lowest() { return std::numeric_limits<T>::lowest(); }

/// A block of operands as factors: its own memory, or `widened`.
template <typename E> Matrix<const E> factorsOf(Matrix<const E> x, int64_t, int64_t, E *) { return x; }
Matrix<const float> factorsOf(Matrix<const Bf16> x, int64_t rows, int64_t width, float *widened) {
  widenRows(x, {widened, width}, rows, width);
  return {widened, width};
}

/// Scratch of a thread: the products of a block, their shares (in their place where the type is theirs), sums of rows,
/// and widened queries, and keys or values.
template <typename E, typename T, typename C> struct ForwardBuffers {
  ForwardBuffers(ScratchAllocator &scratch, const AttentionSizes &s) {
    const int64_t rows = std::min(kQueryBlock, s.queries), elements = rows * std::min(kKeyBlock, s.keys);
    scores = scratch.take<T>(elements);
    if constexpr (std::is_same_v<E, T>)
      shares = scores;
    else
      shares = scratch.take<E>(elements);
    sums = scratch.take<RowSums<T>>(rows);
    if constexpr (!std::is_same_v<E, C>) {
      queries = scratch.take<E>(rows * s.width);
      keys = scratch.take<E>(std::min(kKeyBlock, s.keys) * s.width);
    }
  }
  T *scores;
  E *shares, *queries = nullptr, *keys = nullptr;
  RowSums<T> *sums;
};

template <typename E, typename T, typename C>
void forwardBlock(const AttentionProblem &p, const Queries &block, Matrix<const C> queries, Matrix<const C> k,
                  Matrix<const C> v, Matrix<T> o, T *lse, const ForwardBuffers<E, T, C> &buffers) {
  const int64_t width = p.sizes.width;
  RowSums<T> *const sums = buffers.sums;
  const Matrix<const E> q = factorsOf(queries, block.rows, width, buffers.queries);
  fillRows(o, block.rows, width);
  std::fill(sums, sums + block.rows, RowSums<T>{0, 0, 0});
  // Blocks end where the ring does.
  for (int64_t at = block.firstKey, n; at < block.lastKey; at += n) {
    const int64_t row = at % p.sizes.keys;
    n = std::min({kKeyBlock - at % kKeyBlock, block.lastKey - at, p.sizes.keys - row});
    const Matrix<T> s{buffers.scores, n};
    const Matrix<E> e{buffers.shares, n};
    multiply(false, true, block.rows, n, width, T(1), q, factorsOf(k.below(row), n, width, buffers.keys), T(0), s);
    if (p.softcap > 0)
      capRow(s.data, block.rows * n, T(p.capFactor()));
    for (int64_t i = 0; i < block.rows; ++i) {
      const T factor =
          addExponentials(s.row(i), e.row(i), block.first(i, at, n), block.last(i, at, n), n, T(p.factor()), sums + i);
      if (factor != 1)
        scaleRow(o.row(i), width, factor);
    }
    multiply(false, false, block.rows, width, n, T(1), Matrix<const E>{e.data, n},
             factorsOf(v.below(row), n, width, buffers.keys), T(1), o);
  }
  for (int64_t i = 0; i < block.rows; ++i) {
    if (sums[i].sum != 0)
      scaleRow(o.row(i), width, T(1) / sums[i].sum);
    if (lse)
      lse[i] = logSumOf(sums[i], T(p.factor()));
  }
}

/// Rows of a ring.
struct Rows {
  int64_t begin, end;
};

/// The rows of the keys that one query sees of a sequence; two parts where the ring ends between them.
std::array<Rows, 2> rowsSeen(const AttentionProblem &p, int64_t b) {
  const int64_t start = p.start ? std::max<int64_t>(0, p.start[b]) : 0, end = p.position(b) + 1;
  const int64_t seen = std::min(end, std::max(start, p.window > 0 ? end - p.window : 0));
  const int64_t first = seen % p.sizes.keys, last = first + end - seen;
  return {Rows{0, std::max<int64_t>(0, last - p.sizes.keys)}, Rows{first, std::min(last, p.sizes.keys)}};
}

/// One query: the heads of a group are its rows, so that their keys are read once; tasks of kDecodeKeys keys find sums
/// and outputs of their own, which are joined in the order of the ring's rows.
template <typename T, typename C>
void decode(const AttentionProblem &p, const C *queries, const C *k, const C *v, T *o, T *lse, int threads,
            ScratchAllocator scratch) {
  const AttentionSizes &s = p.sizes;
  const int64_t group = s.heads / s.groups, width = s.width, parts = blocksOf(s.keys, kDecodeKeys);
  RowSums<T> *const sums = scratch.take<RowSums<T>>(s.batch * s.heads * parts);
  T *const outputs = scratch.take<T>(s.batch * s.heads * parts * width);
  const int64_t scoresEach = alignedBytes(group * std::min(kKeyBlock, s.keys) * static_cast<int64_t>(sizeof(T))) /
                             static_cast<int64_t>(sizeof(T));
  T *const scores = scratch.take<T>(threads * scoresEach);
  const int64_t heads = s.batch * s.heads;
  const Matrix<const T> q = factorsOf(Matrix<const C>{queries, width}, heads, width,
                                      std::is_same_v<T, C> ? nullptr : scratch.take<T>(heads * width));
  // Heads of keys lie beside each other: where the parts keep the threads busy, a task reads them all, which is one
  // stream of memory.
  const int64_t together = s.batch * parts >= 2 * threads ? s.groups : 1;
  parallelTasks(threads, s.batch * s.groups / together * parts, [&](int64_t task, int thread) {
    const int64_t part = task % parts, first = task / parts * together, b = first / s.groups;
    auto sumsOf = [&](int64_t g, int64_t r) { return sums + ((b * s.groups + g) * group + r) * parts + part; };
    auto outputOf = [&](int64_t g) {
      return Matrix<T>{outputs + ((b * s.groups + g) * group * parts + part) * width, parts * width};
    };
    const int64_t firstGroup = first % s.groups, lastGroup = firstGroup + together;
    for (int64_t g = firstGroup; g < lastGroup; ++g) {
      for (int64_t r = 0; r < group; ++r)
        *sumsOf(g, r) = {0, 0, 0};
      fillRows(outputOf(g), group, width);
    }
    for (const Rows &rows : rowsSeen(p, b)) {
      const int64_t end = std::min(rows.end, (part + 1) * kDecodeKeys);
      for (int64_t at = std::max(rows.begin, part * kDecodeKeys), n; at < end; at += n) {
        n = std::min(kKeyBlock, end - at);
        const Matrix<T> x{scores + thread * scoresEach, n};
        for (int64_t g = firstGroup; g < lastGroup; ++g) {
          scoreKeys(q.below(b * s.heads + g * group), headOf(k, b, g, s.keys, s.groups, width).below(at), x, group, n,
                    width);
          if (p.softcap > 0)
            capRow(x.data, group * n, T(p.capFactor()));
          for (int64_t r = 0; r < group; ++r) {
            const T factor = addExponentials(x.row(r), x.row(r), 0, n, n, T(p.factor()), sumsOf(g, r));
            if (factor != 1)
              scaleRow(outputOf(g).row(r), width, factor);
          }
          addValues(x, headOf(v, b, g, s.keys, s.groups, width).below(at), outputOf(g), group, n, width);
        }
      }
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
        const T factor = std::exp(T(p.factor()) * (mine[part].most - most));
        sum += factor * mine[part].sum;
        addScaledRow(outputs + (row * parts + part) * width, out, width, factor);
      }
    if (sum != 0)
      scaleRow(out, width, T(1) / sum);
    if (lse)
      lse[row] = logSumOf(RowSums<T>{most, sum, 0}, T(p.factor()));
  }
}

/// Scratch of a thread: the products of a block of queries and a block of keys, which shares and their gradients take
/// the place of where the type is theirs.
template <typename E, typename T> struct GradientBuffers {
  GradientBuffers(ScratchAllocator &scratch, const AttentionSizes &s) {
    const int64_t block = std::min(kQueryBlock, s.queries) * std::min(kKeyBlock, s.keys);
    scores = scratch.take<T>(block);
    dshares = scratch.take<T>(block);
    if constexpr (std::is_same_v<E, T>) {
      shares = scores;
      dscores = dshares;
    } else {
      shares = scratch.take<E>(block);
      dscores = scratch.take<E>(block);
    }
  }
  T *scores, *dshares;
  E *shares, *dscores;
};

/// A head's operands and results as matrices.
template <typename E, typename T> struct Head {
  Matrix<const E> dO, q, k, v;
  Matrix<const T> o;
  const T *lse; ///< [T]
  T *inner;     ///< [T]: the sums of shares times their gradients.
  Matrix<T> dq, dk, dv;
};

/// From a block of queries and a block of keys: adds to dq, or to dk and dv, or to all.
template <typename E, typename T>
void addGradients(const AttentionProblem &p, const Head<E, T> &x, const Queries &block, int64_t j,
                  GradientBuffers<E, T> &buffers, bool toQueries, bool toKeys) {
  const int64_t n = block.keys(j), width = p.sizes.width, at = j * kKeyBlock;
  multiply(false, true, block.rows, n, width, T(1), x.q.below(block.begin), x.k.below(at), T(0),
           Matrix<T>{buffers.scores, n});
  multiply(false, true, block.rows, n, width, T(1), x.dO.below(block.begin), x.v.below(at), T(0),
           Matrix<T>{buffers.dshares, n});
  for (int64_t i = 0; i < block.rows; ++i) {
    T inner = x.inner[block.begin + i];
    if (p.softcap > 0) {
      // The slope of the cap, times what shares' gradients are beyond their mean.
      capGradient(buffers.scores + i * n, buffers.dshares + i * n, n, T(p.capFactor()), inner);
      inner = 0;
    }
    softmaxGradient(buffers.scores + i * n, buffers.dshares + i * n, buffers.shares + i * n, buffers.dscores + i * n,
                    block.first(i, j), block.last(i, j), n, x.lse[block.begin + i], inner, T(p.factor()));
  }
  const Matrix<const E> ds{buffers.dscores, n}, share{buffers.shares, n};
  if (toQueries)
    multiply(false, false, block.rows, width, n, T(1), ds, x.k.below(at), T(1), x.dq.below(block.begin));
  if (toKeys) {
    multiply(true, false, n, width, block.rows, T(1), ds, x.q.below(block.begin), T(1), x.dk.below(at));
    multiply(true, false, n, width, block.rows, T(1), share, x.dO.below(block.begin), T(1), x.dv.below(at));
  }
}

/// All of a block of queries: dq, and what it adds to dk and dv where `toKeys`. Leaves `inner` of its rows.
template <typename E, typename T>
void backwardBlock(const AttentionProblem &p, const Head<E, T> &x, const Queries &block, GradientBuffers<E, T> &buffers,
                   bool toKeys) {
  // A row of o may lie where that of dq will.
  for (int64_t row = block.begin; row < block.begin + block.rows; ++row)
    x.inner[row] = innerProduct(x.dO.row(row), x.o.row(row), p.sizes.width);
  fillRows(x.dq.below(block.begin), block.rows, p.sizes.width);
  for (int64_t j = block.firstBlock(); j < block.lastBlock(); ++j)
    addGradients(p, x, block, j, buffers, true, toKeys);
}

/// One call of attentionBackward.
template <typename E, typename T> class Backward {
public:
  Backward(const AttentionProblem &p, const E *dO, const E *q, const E *k, const E *v, const T *o, const T *lse, T *dq,
           T *dk, T *dv, int threads, ScratchAllocator scratch)
      : p_(p), s_(p.sizes), dO_(dO), q_(q), k_(k), v_(v), o_(o), lse_(lse), dq_(dq), dk_(dk), dv_(dv),
        threads_(threads), group_(s_.heads / s_.groups), blocks_(blocksOf(s_.queries, kQueryBlock)), scratch_(scratch) {
    inner_ = scratch_.take<T>(s_.batch * s_.heads * s_.queries);
    for (int thread = 0; thread < threads; ++thread)
      buffers_.emplace_back(scratch_, s_);
  }

  void run() {
    switch (plan::attentionGradTasks(s_, threads_, sizeof(T))) {
    case AttentionGradTasks::Groups:
      return runGroups();
    case AttentionGradTasks::Heads:
      return runHeads();
    case AttentionGradTasks::Blocks:
      return runBlocks();
    }
  }

private:
  /// Sums of one head for keys and values.
  struct KeySums {
    Matrix<T> dk, dv;
    KeySums below(int64_t rows) const { return {dk.below(rows), dv.below(rows)}; }
  };
  KeySums take(int64_t keys) {
    T *const dk = scratch_.take<T>(keys * s_.width);
    return {{dk, s_.width}, {scratch_.take<T>(keys * s_.width), s_.width}};
  }
  /// Where the sums of a group are wanted.
  KeySums resultsOf(int64_t b, int64_t g) const {
    return {headOf(dk_, b, g, s_.keys, s_.groups, s_.width), headOf(dv_, b, g, s_.keys, s_.groups, s_.width)};
  }
  void clear(const KeySums &sums, int64_t keys) const {
    fillRows(sums.dk, keys, s_.width);
    fillRows(sums.dv, keys, s_.width);
  }
  void add(const KeySums &from, const KeySums &to, int64_t keys) const {
    for (int64_t i = 0; i < keys; ++i) {
      addScaledRow(from.dk.row(i), to.dk.row(i), s_.width, T(1));
      addScaledRow(from.dv.row(i), to.dv.row(i), s_.width, T(1));
    }
  }

  Head<E, T> headAt(int64_t b, int64_t h, const KeySums &sums) const {
    const int64_t firstRow = (b * s_.heads + h) * s_.queries;
    return {headOf(dO_, b, h, s_.queries, s_.heads, s_.width),
            headOf(q_, b, h, s_.queries, s_.heads, s_.width),
            headOf(k_, b, h / group_, s_.keys, s_.groups, s_.width),
            headOf(v_, b, h / group_, s_.keys, s_.groups, s_.width),
            headOf(o_, b, h, s_.queries, s_.heads, s_.width),
            lse_ + firstRow,
            inner_ + firstRow,
            headOf(dq_, b, h, s_.queries, s_.heads, s_.width),
            sums.dk,
            sums.dv};
  }
  void runHead(int64_t b, int64_t h, const KeySums &sums, int thread) {
    clear(sums, s_.keys);
    const Head<E, T> head = headAt(b, h, sums);
    for (int64_t i = 0; i < blocks_; ++i) {
      const Queries block(p_, b, i);
      backwardBlock(p_, head, block, buffers_[static_cast<size_t>(thread)], true);
    }
  }

  void runGroups() {
    std::vector<KeySums> own;
    for (int thread = 0; group_ > 1 && thread < threads_; ++thread)
      own.push_back(take(s_.keys));
    parallelTasks(threads_, s_.batch * s_.groups, [&](int64_t task, int thread) {
      const int64_t b = task / s_.groups, g = task % s_.groups;
      const KeySums results = resultsOf(b, g);
      runHead(b, g * group_, results, thread);
      for (int64_t h = g * group_ + 1; h < (g + 1) * group_; ++h) {
        const KeySums &sums = own[static_cast<size_t>(thread)];
        runHead(b, h, sums, thread);
        add(sums, results, s_.keys);
      }
    });
  }

  void runHeads() {
    std::vector<KeySums> sums;
    for (int64_t row = 0; row < s_.batch * s_.heads; ++row)
      sums.push_back(row % group_ == 0 ? resultsOf(row / s_.heads, row % s_.heads / group_) : take(s_.keys));
    parallelTasks(threads_, s_.batch * s_.heads, [&](int64_t row, int thread) {
      runHead(row / s_.heads, row % s_.heads, sums[static_cast<size_t>(row)], thread);
    });
    const int64_t keyBlocks = blocksOf(s_.keys, kKeyBlock);
    parallelTasks(threads_, s_.batch * s_.groups * keyBlocks, [&](int64_t task, int) {
      const int64_t row = task / keyBlocks * group_, at = task % keyBlocks * kKeyBlock,
                    keys = std::min(kKeyBlock, s_.keys - at);
      for (int64_t h = row + 1; h < row + group_; ++h)
        add(sums[static_cast<size_t>(h)].below(at), sums[static_cast<size_t>(row)].below(at), keys);
    });
  }

  void runBlocks() {
    parallelTasks(threads_, s_.batch * s_.heads * blocks_, [&](int64_t task, int thread) {
      const int64_t b = task / (s_.heads * blocks_), h = task / blocks_ % s_.heads;
      const Queries block(p_, b, longestFirst(task % blocks_, blocks_));
      backwardBlock(p_, headAt(b, h, {}), block, buffers_[static_cast<size_t>(thread)], false);
    });
    const int64_t keyBlocks = blocksOf(s_.keys, kKeyBlock);
    std::vector<KeySums> own;
    for (int thread = 0; group_ > 1 && thread < threads_; ++thread)
      own.push_back(take(std::min(kKeyBlock, s_.keys)));
    parallelTasks(threads_, s_.batch * s_.groups * keyBlocks, [&](int64_t task, int thread) {
      // The first keys are seen by the most queries.
      const int64_t j = task % keyBlocks, g = task / keyBlocks % s_.groups, b = task / keyBlocks / s_.groups;
      const int64_t at = j * kKeyBlock, keys = std::min(kKeyBlock, s_.keys - at);
      const KeySums results = resultsOf(b, g).below(at);
      for (int64_t h = g * group_; h < (g + 1) * group_; ++h) {
        const bool isFirst = h == g * group_;
        const KeySums sums = isFirst ? results : own[static_cast<size_t>(thread)];
        clear(sums, keys);
        runKeys(b, h, j, sums, buffers_[static_cast<size_t>(thread)]);
        if (!isFirst)
          add(sums, results, keys);
      }
    });
  }

  /// What all queries of a head add to a block of keys.
  void runKeys(int64_t b, int64_t h, int64_t j, const KeySums &sums, GradientBuffers<E, T> &buffers) {
    Head<E, T> head = headAt(b, h, sums);
    // addGradients counts keys from the first.
    head.dk.data -= j * kKeyBlock * head.dk.stride;
    head.dv.data -= j * kKeyBlock * head.dv.stride;
    for (int64_t i = 0; i < blocks_; ++i) {
      const Queries block(p_, b, i);
      if (j < block.firstBlock() || j >= block.lastBlock())
        continue;
      addGradients(p_, head, block, j, buffers, false, true);
    }
  }

  const AttentionProblem &p_;
  const AttentionSizes &s_;
  const E *dO_, *q_, *k_, *v_;
  const T *o_, *lse_;
  T *dq_, *dk_, *dv_;
  int threads_;
  int64_t group_, blocks_;
  ScratchAllocator scratch_;
  T *inner_ = nullptr;
  std::vector<GradientBuffers<E, T>> buffers_;
};

} // namespace

template <typename E, typename T, typename C>
void attentionForward(const AttentionProblem &p, const C *q, const C *k, const C *v, T *o, T *lse, int threads,
                      ScratchAllocator scratch) {
  const AttentionSizes &s = p.sizes;
  if (insideTasks())
    threads = 1;
  if constexpr (std::is_same_v<E, T>)
    if (s.queries == 1) {
      decode(p, q, k, v, o, lse, threads, scratch);
      return;
    }
  std::vector<ForwardBuffers<E, T, C>> buffers;
  for (int thread = 0; thread < threads; ++thread)
    buffers.emplace_back(scratch, s);
  const int64_t blocks = blocksOf(s.queries, kQueryBlock);
  parallelTasks(threads, s.batch * s.heads * blocks, [&](int64_t task, int thread) {
    const int64_t b = task / (s.heads * blocks), h = task / blocks % s.heads, group = s.heads / s.groups;
    const Queries block(p, b, longestFirst(task % blocks, blocks));
    forwardBlock<E, T, C>(
        p, block, headOf(q, b, h, s.queries, s.heads, s.width).below(block.begin),
        headOf(k, b, h / group, s.keys, s.groups, s.width), headOf(v, b, h / group, s.keys, s.groups, s.width),
        headOf(o, b, h, s.queries, s.heads, s.width).below(block.begin),
        lse ? lse + (b * s.heads + h) * s.queries + block.begin : nullptr, buffers[static_cast<size_t>(thread)]);
  });
}

template <typename E, typename T>
void attentionBackward(const AttentionProblem &p, const E *dO, const E *q, const E *k, const E *v, const T *o,
                       const T *lse, T *dq, T *dk, T *dv, int threads, ScratchAllocator scratch) {
  Backward<E, T>{p, dO, q, k, v, o, lse, dq, dk, dv, threads, scratch}.run();
}

template void attentionForward<float, float, Bf16>(const AttentionProblem &, const Bf16 *, const Bf16 *, const Bf16 *,
                                                   float *, float *, int, ScratchAllocator);
#define MORPH_INSTANTIATE(E, T)                                                                                        \
  template void attentionForward<E, T, E>(const AttentionProblem &, const E *, const E *, const E *, T *, T *, int,    \
                                          ScratchAllocator);                                                           \
  template void attentionBackward<E, T>(const AttentionProblem &, const E *, const E *, const E *, const E *,          \
                                        const T *, const T *, T *, T *, T *, int, ScratchAllocator);
MORPH_INSTANTIATE(float, float)
MORPH_INSTANTIATE(Bf16, float)
MORPH_INSTANTIATE(double, double)
#undef MORPH_INSTANTIATE

} // namespace morph
