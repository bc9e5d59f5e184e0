// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/GemmLoops.h"

#include "runtime/kernels/Lanes.h"

namespace morph {
namespace {

template <typename T> MORPH_INLINE void addRowOf(const T *bias, T *y, int64_t n) {
  for (int64_t j = 0; j < n; ++j)
    y[j] += bias[j];
}

/// Inner products of `a` with R rows of b.
template <int R, typename E>
MORPH_INLINE void innerProducts(const E *a, const E *b, int64_t stride, float *y, int64_t k) {
  // Two sums a row hide the latency of an addition; rows at once share a's numbers.
  Lanes even[R] = {}, odd[R] = {};
  int64_t p = 0;
  for (; p + 2 * kLanes <= k; p += 2 * kLanes) {
    const Lanes x0 = loadLanes(a + p), x1 = loadLanes(a + p + kLanes);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      even[r] += x0 * loadLanes(b + r * stride + p);
      odd[r] += x1 * loadLanes(b + r * stride + p + kLanes);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    float sum = sumOf(even[r] + odd[r]);
    for (int64_t q = p; q < k; ++q)
      sum += widen(a[q]) * widen(b[r * stride + q]);
    y[r] = sum;
  }
}

template <typename E>
MORPH_INLINE void rowTimesRowsOf(const E *a, const E *b, int64_t stride, float *y, int64_t n, int64_t k) {
  int64_t j = 0;
  for (; j + 4 <= n; j += 4)
    innerProducts<4>(a, b + j * stride, stride, y + j, k);
  for (; j < n; ++j)
    innerProducts<1>(a, b + j * stride, stride, y + j, k);
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

MORPH_VECTORIZE void widenArray(const Bf16 *x, float *y, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    y[i] = widen(x[i]);
}

} // namespace morph
