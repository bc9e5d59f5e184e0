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
MORPH_INLINE void rmsNormRowsOf(const T *x, const T *weight, T *y, int64_t rows, int64_t width, T eps) {
  for (int64_t row = 0; row < rows; ++row, x += width, y += width) {
    T r = T(1) / std::sqrt(sumOfSquares(x, width) / static_cast<T>(width) + eps);
#pragma omp simd
    for (int64_t i = 0; i < width; ++i)
      y[i] = weight[i] * (x[i] * r);
  }
}

template <typename T>
MORPH_INLINE void rmsNormInputGradRowsOf(const T *dy, const T *x, const T *weight, T *dx, int64_t rows, int64_t width,
                                         T eps) {
  for (int64_t row = 0; row < rows; ++row, x += width, dy += width, dx += width) {
    T squares = 0, inner = 0;
#pragma omp simd reduction(+ : squares, inner)
    for (int64_t i = 0; i < width; ++i) {
      squares += x[i] * x[i];
      inner += weight[i] * dy[i] * x[i];
    }
    T r = T(1) / std::sqrt(squares / static_cast<T>(width) + eps);
    T shift = r * r * inner / static_cast<T>(width);
#pragma omp simd
    for (int64_t i = 0; i < width; ++i)
      dx[i] = r * (weight[i] * dy[i] - x[i] * shift);
  }
}

template <typename T>
MORPH_INLINE void rmsNormWeightGradRowsOf(const T *dy, const T *x, T *dweight, int64_t rows, int64_t width, T eps) {
  for (int64_t row = 0; row < rows; ++row, x += width, dy += width) {
    T r = T(1) / std::sqrt(sumOfSquares(x, width) / static_cast<T>(width) + eps);
#pragma omp simd
    for (int64_t i = 0; i < width; ++i)
      dweight[i] += dy[i] * (x[i] * r);
  }
}

template <typename T> MORPH_INLINE void l2NormRowsOf(const T *x, T *y, int64_t rows, int64_t width, T eps) {
  for (int64_t row = 0; row < rows; ++row, x += width, y += width) {
    T r = T(1) / std::sqrt(sumOfSquares(x, width) + eps);
#pragma omp simd
    for (int64_t i = 0; i < width; ++i)
      y[i] = x[i] * r;
  }
}

template <typename T>
MORPH_INLINE void l2NormGradRowsOf(const T *dy, const T *x, T *dx, int64_t rows, int64_t width, T eps) {
  for (int64_t row = 0; row < rows; ++row, x += width, dy += width, dx += width) {
    T squares = 0, inner = 0;
#pragma omp simd reduction(+ : squares, inner)
    for (int64_t i = 0; i < width; ++i) {
      squares += x[i] * x[i];
      inner += dy[i] * x[i];
    }
    T r = T(1) / std::sqrt(squares + eps);
    T shift = r * r * inner;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i)
      dx[i] = r * (dy[i] - x[i] * shift);
  }
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

template <typename T> MORPH_INLINE void swigluArrayOf(const T *gate, const T *x, T *y, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i)
    y[i] = gate[i] * fastSigmoid(gate[i]) * x[i];
}

template <typename T>
MORPH_INLINE void swigluGradArrayOf(const T *dy, const T *gate, const T *x, T *dgate, T *dx, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    T d = dy[i], g = gate[i], s = fastSigmoid(g); // All is read before dgate is written, which may lie in dy or gate.
    dx[i] = d * g * s;
    dgate[i] = d * x[i] * s * (T(1) + g * (T(1) - s));
  }
}

template <typename T> MORPH_INLINE void siluArrayOf(const T *x, T *y, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i)
    y[i] = x[i] * fastSigmoid(x[i]);
}

template <typename T> MORPH_INLINE void siluGradArrayOf(const T *dy, const T *x, T *dx, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    T s = fastSigmoid(x[i]);
    dx[i] = dy[i] * s * (T(1) + x[i] * (T(1) - s));
  }
}

template <typename T> MORPH_INLINE void sigmoidArrayOf(const T *x, T *y, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i)
    y[i] = fastSigmoid(x[i]);
}

template <typename T> MORPH_INLINE T differenceDotOf(const T *dy, const T *a, const T *b, int64_t count) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i)
    sum += dy[i] * (a[i] - b[i]);
  return sum;
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

MORPH_VECTORIZE void rmsNormRows(const float *x, const float *weight, float *y, int64_t rows, int64_t width,
                                 float eps) {
  rmsNormRowsOf<float>(x, weight, y, rows, width, eps);
}
void rmsNormRows(const double *x, const double *weight, double *y, int64_t rows, int64_t width, double eps) {
  rmsNormRowsOf<double>(x, weight, y, rows, width, eps);
}
MORPH_VECTORIZE void rmsNormInputGradRows(const float *dy, const float *x, const float *weight, float *dx, int64_t rows,
                                          int64_t width, float eps) {
  rmsNormInputGradRowsOf<float>(dy, x, weight, dx, rows, width, eps);
}
void rmsNormInputGradRows(const double *dy, const double *x, const double *weight, double *dx, int64_t rows,
                          int64_t width, double eps) {
  rmsNormInputGradRowsOf<double>(dy, x, weight, dx, rows, width, eps);
}
MORPH_VECTORIZE void rmsNormWeightGradRows(const float *dy, const float *x, float *dweight, int64_t rows, int64_t width,
                                           float eps) {
  rmsNormWeightGradRowsOf<float>(dy, x, dweight, rows, width, eps);
}
void rmsNormWeightGradRows(const double *dy, const double *x, double *dweight, int64_t rows, int64_t width,
                           double eps) {
  rmsNormWeightGradRowsOf<double>(dy, x, dweight, rows, width, eps);
}
MORPH_VECTORIZE void l2NormRows(const float *x, float *y, int64_t rows, int64_t width, float eps) {
  l2NormRowsOf<float>(x, y, rows, width, eps);
}
void l2NormRows(const double *x, double *y, int64_t rows, int64_t width, double eps) {
  l2NormRowsOf<double>(x, y, rows, width, eps);
}
MORPH_VECTORIZE void l2NormGradRows(const float *dy, const float *x, float *dx, int64_t rows, int64_t width,
                                    float eps) {
  l2NormGradRowsOf<float>(dy, x, dx, rows, width, eps);
}
void l2NormGradRows(const double *dy, const double *x, double *dx, int64_t rows, int64_t width, double eps) {
  l2NormGradRowsOf<double>(dy, x, dx, rows, width, eps);
}
MORPH_VECTORIZE void ropeRows(const float *x, const float *cosine, const float *sine, float *y, int64_t heads,
                              int64_t width, int64_t half) {
  ropeRowsOf<float>(x, cosine, sine, y, heads, width, half);
}
void ropeRows(const double *x, const double *cosine, const double *sine, double *y, int64_t heads, int64_t width,
              int64_t half) {
  ropeRowsOf<double>(x, cosine, sine, y, heads, width, half);
}
MORPH_VECTORIZE void swigluArray(const float *gate, const float *x, float *y, int64_t count) {
  swigluArrayOf<float>(gate, x, y, count);
}
void swigluArray(const double *gate, const double *x, double *y, int64_t count) {
  swigluArrayOf<double>(gate, x, y, count);
}
MORPH_VECTORIZE void swigluGradArray(const float *dy, const float *gate, const float *x, float *dgate, float *dx,
                                     int64_t count) {
  swigluGradArrayOf<float>(dy, gate, x, dgate, dx, count);
}
void swigluGradArray(const double *dy, const double *gate, const double *x, double *dgate, double *dx, int64_t count) {
  swigluGradArrayOf<double>(dy, gate, x, dgate, dx, count);
}
MORPH_VECTORIZE void siluArray(const float *x, float *y, int64_t count) { siluArrayOf<float>(x, y, count); }
void siluArray(const double *x, double *y, int64_t count) { siluArrayOf<double>(x, y, count); }
MORPH_VECTORIZE void siluGradArray(const float *dy, const float *x, float *dx, int64_t count) {
  siluGradArrayOf<float>(dy, x, dx, count);
}
void siluGradArray(const double *dy, const double *x, double *dx, int64_t count) {
  siluGradArrayOf<double>(dy, x, dx, count);
}
MORPH_VECTORIZE void sigmoidArray(const float *x, float *y, int64_t count) { sigmoidArrayOf<float>(x, y, count); }
void sigmoidArray(const double *x, double *y, int64_t count) { sigmoidArrayOf<double>(x, y, count); }

MORPH_VECTORIZE float differenceDot(const float *dy, const float *a, const float *b, int64_t count) {
  return differenceDotOf<float>(dy, a, b, count);
}
double differenceDot(const double *dy, const double *a, const double *b, int64_t count) {
  return differenceDotOf<double>(dy, a, b, count);
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
