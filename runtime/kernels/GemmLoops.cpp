// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/GemmLoops.h"

#include "runtime/kernels/Lanes.h"

#include <algorithm>

namespace morph {
namespace {

template <typename T> MORPH_INLINE void addRowOf(const T *bias, T *y, int64_t n) {
  for (int64_t j = 0; j < n; ++j)
    y[j] += bias[j];
}

/// `together` rows of a. Memory is read as four streams, each a quarter of the rows of b one after the other: the
/// processor sees every one of them coming and has more on the way than of one, which takes a third longer where b
/// comes from memory (AMD EPYC). Where the rows are no multiple of four the last quarters overlap, so that each sum is
/// made in the one way.
template <int together, typename E>
MORPH_INLINE void multiplyTogether(Matrix<const E> a, Matrix<const E> b, Matrix<float> y, int64_t n, int64_t k) {
  constexpr int streams = 4;
  constexpr int64_t pair = 2 * kLanes;
  const int64_t each = (n + streams - 1) / streams;
  for (int64_t j = 0; j < each; ++j) {
    const E *rows[streams];
    Lanes sums[together][streams][2];
#pragma GCC unroll 4
    for (int s = 0; s < streams; ++s) {
      rows[s] = b.row(std::min(s * each, n - each) + j);
#pragma GCC unroll 2
      for (int r = 0; r < together; ++r)
        sums[r][s][0] = sums[r][s][1] = Lanes{};
    }
    int64_t p = 0;
    for (; p + pair <= k; p += pair) {
      LanePair x[together];
#pragma GCC unroll 2
      for (int r = 0; r < together; ++r)
        x[r] = loadPair(a.row(r) + p);
#pragma GCC unroll 4
      for (int s = 0; s < streams; ++s) {
        const LanePair z = loadPair(rows[s] + p);
#pragma GCC unroll 2
        for (int r = 0; r < together; ++r) {
          sums[r][s][0] += x[r].first * z.first;
          sums[r][s][1] += x[r].second * z.second;
        }
      }
    }
#pragma GCC unroll 2
    for (int r = 0; r < together; ++r) {
      float sum[streams];
#pragma GCC unroll 4
      for (int s = 0; s < streams; ++s)
        sum[s] = sumOf(sums[r][s][0] + sums[r][s][1]);
      for (int64_t rest = p; rest < k; ++rest)
#pragma GCC unroll 4
        for (int s = 0; s < streams; ++s)
          sum[s] += widen(a.row(r)[rest]) * widen(rows[s][rest]);
#pragma GCC unroll 4
      for (int s = 0; s < streams; ++s)
        y.row(r)[std::min(s * each, n - each) + j] = sum[s];
    }
  }
}

template <typename E>
MORPH_INLINE void rowsTimesRowsOf(Matrix<const E> a, Matrix<const E> b, Matrix<float> y, int64_t rows, int64_t n,
                                  int64_t k) {
  int64_t i = 0;
  for (; i + 2 <= rows; i += 2)
    multiplyTogether<2>(a.below(i), b, y.below(i), n, k);
  if (i < rows)
    multiplyTogether<1>(a.below(i), b, y.below(i), n, k);
}

} // namespace

MORPH_VECTORIZE void addRow(const float *bias, float *y, int64_t n) { addRowOf(bias, y, n); }
void addRow(const double *bias, double *y, int64_t n) { addRowOf(bias, y, n); }

MORPH_VECTORIZE void rowsTimesRows(Matrix<const float> a, Matrix<const float> b, Matrix<float> y, int64_t rows,
                                   int64_t n, int64_t k) {
  rowsTimesRowsOf(a, b, y, rows, n, k);
}
void rowsTimesRows(Matrix<const double> a, Matrix<const double> b, Matrix<double> y, int64_t rows, int64_t n,
                   int64_t k) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t p = 0; p < k; ++p)
        sum += a.row(i)[p] * b.row(j)[p];
      y.row(i)[j] = sum;
    }
}
MORPH_VECTORIZE void rowsTimesRows(Matrix<const Bf16> a, Matrix<const Bf16> b, Matrix<float> y, int64_t rows, int64_t n,
                                   int64_t k) {
  rowsTimesRowsOf(a, b, y, rows, n, k);
}

MORPH_VECTORIZE void widenRows(Matrix<const Bf16> x, Matrix<float> y, int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; ++i) {
    const Bf16 *const from = x.row(i);
    float *const to = y.row(i);
    for (int64_t j = 0; j < columns; ++j)
      to[j] = widen(from[j]);
  }
}

} // namespace morph
