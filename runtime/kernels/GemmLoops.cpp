// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/GemmLoops.h"

namespace morph {
namespace {

template <typename T> MORPH_INLINE void addRowOf(const T *bias, T *y, int64_t n) {
  for (int64_t j = 0; j < n; ++j)
    y[j] += bias[j];
}

template <typename T, typename E>
MORPH_INLINE void rowTimesRowsOf(const E *a, const E *b, int64_t stride, T *y, int64_t n, int64_t k) {
  // Four rows at once: as many loads under way, and a's are shared.
  int64_t j = 0;
  for (; j + 4 <= n; j += 4, b += 4 * stride) {
    T s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
    for (int64_t p = 0; p < k; ++p) {
      const T x = widen(a[p]);
      s0 += x * widen(b[p]);
      s1 += x * widen(b[p + stride]);
      s2 += x * widen(b[p + 2 * stride]);
      s3 += x * widen(b[p + 3 * stride]);
    }
    y[j] = s0;
    y[j + 1] = s1;
    y[j + 2] = s2;
    y[j + 3] = s3;
  }
  for (; j < n; ++j, b += stride) {
    T s = 0;
#pragma omp simd reduction(+ : s)
    for (int64_t p = 0; p < k; ++p)
      s += widen(a[p]) * widen(b[p]);
    y[j] = s;
  }
}

} // namespace

MORPH_VECTORIZE void addRow(const float *bias, float *y, int64_t n) { addRowOf(bias, y, n); }
void addRow(const double *bias, double *y, int64_t n) { addRowOf(bias, y, n); }

MORPH_VECTORIZE void rowTimesRows(const float *a, const float *b, int64_t stride, float *y, int64_t n, int64_t k) {
  rowTimesRowsOf(a, b, stride, y, n, k);
}
void rowTimesRows(const double *a, const double *b, int64_t stride, double *y, int64_t n, int64_t k) {
  rowTimesRowsOf(a, b, stride, y, n, k);
}
MORPH_VECTORIZE void rowTimesRows(const Bf16 *a, const Bf16 *b, int64_t stride, float *y, int64_t n, int64_t k) {
  rowTimesRowsOf(a, b, stride, y, n, k);
}

MORPH_VECTORIZE void widenArray(const Bf16 *x, float *y, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    y[i] = widen(x[i]);
}

} // namespace morph
