// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/RowLoops.h"

#include "runtime/kernels/Vectorize.h"

namespace morph {

namespace {

template <typename T> MORPH_INLINE T sumOfSquares(const T *x, int64_t width) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < width; ++i)
    sum += x[i] * x[i];
  return sum;
}

template <typename T>
MORPH_INLINE void ropeRowsOf(const T *x, const T *cosine, const T *sine, T *y, int64_t heads, int64_t width,
                             int64_t half) {
  for (int64_t head = 0; head < heads; ++head, x += width, y += width) {
#pragma omp simd
    for (int64_t i = 0; i < half; ++i) {
      T low = x[i], high = x[half + i];
      y[i] = low * cosine[i] - high * sine[i];
      y[half + i] = high * cosine[i] + low * sine[i];
    }
    for (int64_t i = 2 * half; i < width; ++i)
      y[i] = x[i];
  }
}

template <typename T> MORPH_INLINE T squaredDistanceOf(const T *a, const T *b, int64_t count) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i)
    sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

template <typename T> MORPH_INLINE T squaredNormOf(const T *a, int64_t count) { return sumOfSquares(a, count); }

} // namespace

MORPH_VECTORIZE void ropeRows(const float *x, const float *cosine, const float *sine, float *y, int64_t heads,
                              int64_t width, int64_t half) {
  ropeRowsOf<float>(x, cosine, sine, y, heads, width, half);
}
void ropeRows(const double *x, const double *cosine, const double *sine, double *y, int64_t heads, int64_t width,
              int64_t half) {
  ropeRowsOf<double>(x, cosine, sine, y, heads, width, half);
}

MORPH_VECTORIZE float squaredDistance(const float *a, const float *b, int64_t count) {
  return squaredDistanceOf<float>(a, b, count);
}
double squaredDistance(const double *a, const double *b, int64_t count) {
  return squaredDistanceOf<double>(a, b, count);
}
MORPH_VECTORIZE float squaredNorm(const float *a, int64_t count) { return squaredNormOf<float>(a, count); }
double squaredNorm(const double *a, int64_t count) { return squaredNormOf<double>(a, count); }

} // namespace morph
