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

/// Memory is read as four streams, each a quarter of the rows one after the other: the processor sees every one of them
/// coming and has more on the way than of one, which takes a third longer where b comes from memory (AMD EPYC). Where
/// the rows are no multiple of four the last quarters overlap, so that each row's sum is made in the one way.
template <typename E>
MORPH_INLINE void rowTimesRowsOf(const E *a, const E *b, int64_t stride, float *y, int64_t n, int64_t k) {
  constexpr int streams = 4;
  constexpr int64_t pair = 2 * kLanes;
  const int64_t each = (n + streams - 1) / streams;
  for (int64_t j = 0; j < each; ++j) {
    const E *rows[streams];
    Lanes sums[streams][2];
#pragma GCC unroll 4
    for (int s = 0; s < streams; ++s) {
      rows[s] = b + (std::min(s * each, n - each) + j) * stride;
      sums[s][0] = sums[s][1] = Lanes{};
    }
    int64_t p = 0;
    for (; p + pair <= k; p += pair) {
      const LanePair x = loadPair(a + p);
#pragma GCC unroll 4
      for (int s = 0; s < streams; ++s) {
        const LanePair z = loadPair(rows[s] + p);
        sums[s][0] += x.first * z.first;
        sums[s][1] += x.second * z.second;
      }
    }
    float sum[streams];
#pragma GCC unroll 4
    for (int s = 0; s < streams; ++s)
      sum[s] = sumOf(sums[s][0] + sums[s][1]);
    for (; p < k; ++p)
#pragma GCC unroll 4
      for (int s = 0; s < streams; ++s)
        sum[s] += widen(a[p]) * widen(rows[s][p]);
#pragma GCC unroll 4
    for (int s = 0; s < streams; ++s)
      y[std::min(s * each, n - each) + j] = sum[s];
  }
}

} // namespace

MORPH_VECTORIZE void addRow(const float *bias, float *y, int64_t n) { addRowOf(bias, y, n); }
void addRow(const double *bias, double *y, int64_t n) { addRowOf(bias, y, n); }

MORPH_VECTORIZE void rowTimesRows(const float *a, const float *b, int64_t stride, float *y, int64_t n, int64_t k) {
  rowTimesRowsOf(a, b, stride, y, n, k);
}
void rowTimesRows(const double *a, const double *b, int64_t stride, double *y, int64_t n, int64_t k) {
  for (int64_t j = 0; j < n; ++j) {
    y[j] = 0;
    for (int64_t p = 0; p < k; ++p)
      y[j] += a[p] * b[j * stride + p];
  }
}
MORPH_VECTORIZE void rowTimesRows(const Bf16 *a, const Bf16 *b, int64_t stride, float *y, int64_t n, int64_t k) {
  rowTimesRowsOf(a, b, stride, y, n, k);
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
