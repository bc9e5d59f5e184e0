// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/AttentionLoops.h"
#include "runtime/kernels/Vectorize.h"

namespace morph {
namespace {

/// A value as bits of an output element. bf16: to the nearest, ties to even; what is not a number stays so.
MORPH_INLINE void store(float *y, int64_t j, float value) { y[j] = value; }
MORPH_INLINE void store(double *y, int64_t j, double value) { y[j] = value; }
MORPH_INLINE void store(c10::BFloat16 *y, int64_t j, float value) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  y[j].x = static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}

template <typename T, typename Out>
MORPH_INLINE T exponentialsOf(const T *x, Out *y, int64_t first, int64_t last, int64_t n, T scale) {
  for (int64_t j = 0; j < (first < n ? first : n); ++j)
    store(y, j, T(0));
  T sum = 0;
  if (first < last) {
    T most = x[first];
#pragma omp simd reduction(max : most)
    for (int64_t j = first; j < last; ++j)
      most = x[j] > most ? x[j] : most;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = first; j < last; ++j) {
      const T value = fastExp(scale * (x[j] - most));
      sum += value;
      store(y, j, value);
    }
  }
  for (int64_t j = last > first ? last : first; j < n; ++j)
    store(y, j, T(0));
  return sum;
}

template <typename T, typename Out>
MORPH_INLINE void softmaxGradientOf(const T *e, const T *dp, Out *p, Out *ds, int64_t n, T reciprocal, T scale) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < n; ++j)
    sum += e[j] * dp[j];
  sum *= reciprocal;
#pragma omp simd
  for (int64_t j = 0; j < n; ++j) {
    const T share = e[j] * reciprocal;
    store(ds, j, scale * share * (dp[j] - sum));
    store(p, j, share);
  }
}

} // namespace

MORPH_VECTORIZE float exponentials(const float *x, float *y, int64_t first, int64_t last, int64_t n, float scale) {
  return exponentialsOf<float, float>(x, y, first, last, n, scale);
}
MORPH_VECTORIZE float exponentials(const float *x, c10::BFloat16 *y, int64_t first, int64_t last, int64_t n,
                                   float scale) {
  return exponentialsOf<float, c10::BFloat16>(x, y, first, last, n, scale);
}
double exponentials(const double *x, double *y, int64_t first, int64_t last, int64_t n, double scale) {
  return exponentialsOf<double, double>(x, y, first, last, n, scale);
}

MORPH_VECTORIZE void softmaxGradient(const float *e, const float *dp, float *p, float *ds, int64_t n, float reciprocal,
                                     float scale) {
  softmaxGradientOf<float, float>(e, dp, p, ds, n, reciprocal, scale);
}
MORPH_VECTORIZE void softmaxGradient(const float *e, const float *dp, c10::BFloat16 *p, c10::BFloat16 *ds, int64_t n,
                                     float reciprocal, float scale) {
  softmaxGradientOf<float, c10::BFloat16>(e, dp, p, ds, n, reciprocal, scale);
}
void softmaxGradient(const double *e, const double *dp, double *p, double *ds, int64_t n, double reciprocal,
                     double scale) {
  softmaxGradientOf<double, double>(e, dp, p, ds, n, reciprocal, scale);
}

MORPH_VECTORIZE void scaleRow(float *x, int64_t n, float factor) {
  for (int64_t j = 0; j < n; ++j)
    x[j] *= factor;
}
void scaleRow(double *x, int64_t n, double factor) {
  for (int64_t j = 0; j < n; ++j)
    x[j] *= factor;
}

} // namespace morph
