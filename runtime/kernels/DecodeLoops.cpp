// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/DecodeLoops.h"

#include "runtime/kernels/Lanes.h"
#include "runtime/kernels/SmallProducts.h"

#include <type_traits>

namespace morph {
namespace {

/// Keys, or vectors of values, that heads share while they are in registers, and the most heads at once: their sums
/// fill twelve of AVX2's sixteen registers.
constexpr int kTogether = 4, kHeads = 3;

/// Rows that are asked for ahead of the one that is read: rows of other heads lie between, so that the processor does
/// not see them coming.
constexpr int64_t kAhead = 16;

/// Asks for the memory of a row, which may lie beyond the last one: asking reads nothing.
template <typename C> MORPH_INLINE void prefetchRow(const C *row, int64_t width) {
  for (int64_t d = 0; d < width; d += 64 / static_cast<int64_t>(sizeof(C)))
    __builtin_prefetch(row + d);
}

/// y[i] = the sum of x[i], each in the order of the others.
MORPH_INLINE void storeSums(const Lanes x[kTogether], float *y, int64_t count) {
  auto pairs = [](Lanes a, Lanes b) MORPH_INLINE_LAMBDA {
    return __builtin_shufflevector(a, b, 0, 8, 2, 10, 4, 12, 6, 14) +
           __builtin_shufflevector(a, b, 1, 9, 3, 11, 5, 13, 7, 15);
  };
  const Lanes a = pairs(x[0], x[1]), b = pairs(x[2], x[3]);
  const Lanes halves = __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13) +
                       __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
#pragma GCC unroll 4
  for (int64_t i = 0; i < count; ++i)
    y[i] = halves[i] + halves[i + 4];
}

/// `heads` rows of x at `count` keys.
template <int heads, int count, typename C>
MORPH_INLINE void scoresOf(Matrix<const float> q, Matrix<const C> keys, Matrix<float> x, int64_t width) {
  Lanes sums[heads][kTogether] = {};
  int64_t d = 0;
  for (; d + kLanes <= width; d += kLanes)
#pragma GCC unroll 4
    for (int j = 0; j < count; ++j) {
      const Lanes key = loadLanes(keys.row(j) + d);
#pragma GCC unroll 4
      for (int r = 0; r < heads; ++r)
        sums[r][j] += loadLanes(q.row(r) + d) * key;
    }
#pragma GCC unroll 4
  for (int r = 0; r < heads; ++r)
    storeSums(sums[r], x.row(r), count);
  for (; d < width; ++d)
    for (int r = 0; r < heads; ++r)
      for (int j = 0; j < count; ++j)
        x.row(r)[j] += q.row(r)[d] * widen(keys.row(j)[d]);
}

template <int heads, typename C>
MORPH_INLINE void scoreHeads(Matrix<const float> q, Matrix<const C> keys, Matrix<float> x, int64_t n, int64_t width) {
  int64_t j = 0;
  for (; j + kTogether <= n; j += kTogether) {
    for (int64_t i = 0; i < kTogether; ++i)
      prefetchRow(keys.row(j + kAhead + i), width);
    scoresOf<heads, kTogether>(q, keys.below(j), x.right(j), width);
  }
  for (; j < n; ++j)
    scoresOf<heads, 1>(q, keys.below(j), x.right(j), width);
}

/// `heads` rows of o at `count` vectors of columns.
template <int heads, int count, typename C>
MORPH_INLINE void valuesOf(Matrix<const float> shares, Matrix<const C> values, Matrix<float> o, int64_t n) {
  Lanes sums[heads][count] = {};
  for (int64_t j = 0; j < n; ++j) {
    prefetchRow(values.row(j + kAhead), count * kLanes);
#pragma GCC unroll 4
    for (int c = 0; c < count; ++c) {
      const Lanes value = loadLanes(values.row(j) + c * kLanes);
#pragma GCC unroll 4
      for (int r = 0; r < heads; ++r)
        sums[r][c] += shares.row(r)[j] * value;
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < heads; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < count; ++c) {
      float *const out = o.row(r) + c * kLanes;
      storeLanes(out, loadLanes(out) + sums[r][c]);
    }
}

template <int heads, typename C>
MORPH_INLINE void addHeads(Matrix<const float> shares, Matrix<const C> values, Matrix<float> o, int64_t n,
                           int64_t width) {
  int64_t d = 0;
  for (; d + kTogether * kLanes <= width; d += kTogether * kLanes)
    valuesOf<heads, kTogether>(shares, values.right(d), o.right(d), n);
  for (; d + kLanes <= width; d += kLanes)
    valuesOf<heads, 1>(shares, values.right(d), o.right(d), n);
  for (int r = 0; r < heads; ++r)
    for (int64_t rest = d; rest < width; ++rest) {
      float sum = 0;
      for (int64_t j = 0; j < n; ++j)
        sum += shares.row(r)[j] * widen(values.row(j)[rest]);
      o.row(r)[rest] += sum;
    }
}

/// Calls body(count, first) for as many heads at once as there are registers for, then for the rest.
template <typename Body> MORPH_INLINE void inHeads(int64_t heads, const Body &body) {
  int64_t r = 0;
  for (; r + kHeads <= heads; r += kHeads)
    body(std::integral_constant<int, kHeads>(), r);
  if (heads - r == 2)
    body(std::integral_constant<int, 2>(), r);
  else if (heads - r == 1)
    body(std::integral_constant<int, 1>(), r);
}

template <typename C>
MORPH_INLINE void scoreAll(Matrix<const float> q, Matrix<const C> keys, Matrix<float> x, int64_t heads, int64_t n,
                           int64_t width) {
  inHeads(heads, [&](auto count, int64_t r) MORPH_INLINE_LAMBDA {
    scoreHeads<decltype(count)::value>(q.below(r), keys, x.below(r), n, width);
  });
}

template <typename C>
MORPH_INLINE void addAll(Matrix<const float> shares, Matrix<const C> values, Matrix<float> o, int64_t heads, int64_t n,
                         int64_t width) {
  inHeads(heads, [&](auto count, int64_t r) MORPH_INLINE_LAMBDA {
    addHeads<decltype(count)::value>(shares.below(r), values, o.below(r), n, width);
  });
}

} // namespace

MORPH_VECTORIZE void scoreKeys(Matrix<const float> q, Matrix<const float> keys, Matrix<float> x, int64_t heads,
                               int64_t n, int64_t width) {
  scoreAll(q, keys, x, heads, n, width);
}
MORPH_VECTORIZE void scoreKeys(Matrix<const float> q, Matrix<const Bf16> keys, Matrix<float> x, int64_t heads,
                               int64_t n, int64_t width) {
  scoreAll(q, keys, x, heads, n, width);
}
void scoreKeys(Matrix<const double> q, Matrix<const double> keys, Matrix<double> x, int64_t heads, int64_t n,
               int64_t width) {
  multiply(false, true, heads, n, width, 1.0, q, keys, 0.0, x);
}

MORPH_VECTORIZE void addValues(Matrix<const float> shares, Matrix<const float> values, Matrix<float> o, int64_t heads,
                               int64_t n, int64_t width) {
  addAll(shares, values, o, heads, n, width);
}
MORPH_VECTORIZE void addValues(Matrix<const float> shares, Matrix<const Bf16> values, Matrix<float> o, int64_t heads,
                               int64_t n, int64_t width) {
  addAll(shares, values, o, heads, n, width);
}
void addValues(Matrix<const double> shares, Matrix<const double> values, Matrix<double> o, int64_t heads, int64_t n,
               int64_t width) {
  multiply(false, false, heads, width, n, 1.0, shares, values, 1.0, o);
}

} // namespace morph
