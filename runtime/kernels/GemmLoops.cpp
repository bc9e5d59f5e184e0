// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/GemmLoops.h"

namespace morph {
namespace {

MORPH_INLINE void put(float &y, float x) { y = x; }
MORPH_INLINE void put(double &y, double x) { y = x; }
MORPH_INLINE void put(Bf16 &y, float x) { y = roundToBf16(x); }

template <typename T, typename C>
MORPH_INLINE void epilogueRowOf(const T *x, const T *bias, const C *gate, const C *residual, C *y, int64_t n) {
  // Blocks in the cache's first level, so that each term is a loop of its own without a branch.
  constexpr int64_t block = 256;
  T sums[block];
  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t count = n - begin < block ? n - begin : block;
    for (int64_t j = 0; j < count; ++j)
      sums[j] = x[begin + j];
    if (bias)
      for (int64_t j = 0; j < count; ++j)
        sums[j] += bias[begin + j];
    if (gate)
#pragma omp simd
      for (int64_t j = 0; j < count; ++j) {
        const T g = widen(gate[begin + j]);
        sums[j] *= g * fastSigmoid(g);
      }
    if (residual)
#pragma omp simd
      for (int64_t j = 0; j < count; ++j)
        sums[j] += widen(residual[begin + j]);
#pragma omp simd
    for (int64_t j = 0; j < count; ++j)
      put(y[begin + j], sums[j]);
  }
}

template <typename T, typename E>
MORPH_INLINE void rowTimesRowsOf(const E *a, const E *b, int64_t stride, T *y, int64_t n, int64_t k, bool add) {
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
    y[j] = add ? y[j] + s0 : s0;
    y[j + 1] = add ? y[j + 1] + s1 : s1;
    y[j + 2] = add ? y[j + 2] + s2 : s2;
    y[j + 3] = add ? y[j + 3] + s3 : s3;
  }
  for (; j < n; ++j, b += stride) {
    T s = 0;
#pragma omp simd reduction(+ : s)
    for (int64_t p = 0; p < k; ++p)
      s += widen(a[p]) * widen(b[p]);
    y[j] = add ? y[j] + s : s;
  }
}

} // namespace

MORPH_VECTORIZE void epilogueRow(const float *x, const float *bias, const float *gate, const float *residual, float *y,
                                 int64_t n) {
  epilogueRowOf<float, float>(x, bias, gate, residual, y, n);
}
void epilogueRow(const double *x, const double *bias, const double *gate, const double *residual, double *y,
                 int64_t n) {
  epilogueRowOf<double, double>(x, bias, gate, residual, y, n);
}
MORPH_VECTORIZE void epilogueRow(const float *x, const float *bias, const Bf16 *gate, const Bf16 *residual, Bf16 *y,
                                 int64_t n) {
  epilogueRowOf<float, Bf16>(x, bias, gate, residual, y, n);
}
MORPH_VECTORIZE void rowTimesRows(const float *a, const float *b, int64_t stride, float *y, int64_t n, int64_t k,
                                  bool add) {
  rowTimesRowsOf<float, float>(a, b, stride, y, n, k, add);
}
void rowTimesRows(const double *a, const double *b, int64_t stride, double *y, int64_t n, int64_t k, bool add) {
  rowTimesRowsOf<double, double>(a, b, stride, y, n, k, add);
}
MORPH_VECTORIZE void rowTimesRows(const Bf16 *a, const Bf16 *b, int64_t stride, float *y, int64_t n, int64_t k,
                                  bool add) {
  rowTimesRowsOf<float, Bf16>(a, b, stride, y, n, k, add);
}
MORPH_VECTORIZE void widenArray(const Bf16 *x, float *y, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    y[i] = widen(x[i]);
}
MORPH_VECTORIZE void roundArray(const float *x, Bf16 *y, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    y[i] = roundToBf16(x[i]);
}

} // namespace morph
