// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/AttentionLoops.h"
#include "runtime/kernels/Vectorize.h"

namespace morph {
namespace {

MORPH_INLINE void store(float *y, int64_t j, float value) { y[j] = value; }
MORPH_INLINE void store(double *y, int64_t j, double value) { y[j] = value; }
MORPH_INLINE void store(Bf16 *y, int64_t j, float value) { y[j] = roundToBf16(value); }

template <typename T> MORPH_INLINE T greatest(const T *x, int64_t first, int64_t last, T most) {
#pragma omp simd reduction(max : most)
  for (int64_t j = first; j < last; ++j)
    most = x[j] > most ? x[j] : most;
  return most;
}

/// What the sums before are worth when a row's `most` has grown. Before the first key there are none.
template <typename T> MORPH_INLINE T rescale(RowSums<T> *sums, T most, T scale) {
  const T factor = sums->sum == 0 ? T(0) : most > sums->most ? fastExp(scale * (sums->most - most)) : T(1);
  sums->most = most;
  return factor;
}

template <typename T, typename Out>
MORPH_INLINE T addExponentialsOf(const T *x, Out *y, int64_t first, int64_t last, int64_t n, T scale,
                                 RowSums<T> *sums) {
  T factor = 1;
  if (first < last) {
    const T most = greatest(x, first, last, sums->sum == 0 ? x[first] : sums->most);
    factor = rescale(sums, most, scale);
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = first; j < last; ++j) {
      const T value = fastExp(scale * (x[j] - most));
      sum += value;
      store(y, j, value);
    }
    sums->sum = sums->sum * factor + sum;
  }
  for (int64_t j = 0; j < (first < n ? first : n); ++j)
    store(y, j, T(0));
  for (int64_t j = last > first ? last : first; j < n; ++j)
    store(y, j, T(0));
  return factor;
}

template <typename T>
MORPH_INLINE void addInnerOf(const T *x, const T *dp, int64_t first, int64_t last, T scale, RowSums<T> *sums) {
  if (first >= last)
    return;
  const T most = greatest(x, first, last, sums->sum == 0 ? x[first] : sums->most);
  const T factor = rescale(sums, most, scale);
  T sum = 0, inner = 0;
#pragma omp simd reduction(+ : sum, inner)
  for (int64_t j = first; j < last; ++j) {
    const T value = fastExp(scale * (x[j] - most));
    sum += value;
    inner += value * dp[j];
  }
  sums->sum = sums->sum * factor + sum;
  sums->inner = sums->inner * factor + inner;
}

template <typename T, typename Out>
MORPH_INLINE void softmaxGradientOf(const T *x, const T *dp, Out *p, Out *ds, int64_t first, int64_t last, int64_t n,
                                    T most, T reciprocal, T inner, T scale) {
#pragma omp simd
  for (int64_t j = first; j < last; ++j) {
    const T share = fastExp(scale * (x[j] - most)) * reciprocal;
    store(ds, j, scale * share * (dp[j] - inner));
    store(p, j, share);
  }
  for (int64_t j = 0; j < (first < n ? first : n); ++j) {
    store(ds, j, T(0));
    store(p, j, T(0));
  }
  for (int64_t j = last > first ? last : first; j < n; ++j) {
    store(ds, j, T(0));
    store(p, j, T(0));
  }
}

} // namespace

MORPH_VECTORIZE float addExponentials(const float *x, float *y, int64_t first, int64_t last, int64_t n, float scale,
                                      RowSums<float> *sums) {
  return addExponentialsOf<float, float>(x, y, first, last, n, scale, sums);
}
MORPH_VECTORIZE float addExponentials(const float *x, Bf16 *y, int64_t first, int64_t last, int64_t n, float scale,
                                      RowSums<float> *sums) {
  return addExponentialsOf<float, Bf16>(x, y, first, last, n, scale, sums);
}
double addExponentials(const double *x, double *y, int64_t first, int64_t last, int64_t n, double scale,
                       RowSums<double> *sums) {
  return addExponentialsOf<double, double>(x, y, first, last, n, scale, sums);
}
MORPH_VECTORIZE void addInner(const float *x, const float *dp, int64_t first, int64_t last, float scale,
                              RowSums<float> *sums) {
  addInnerOf<float>(x, dp, first, last, scale, sums);
}
void addInner(const double *x, const double *dp, int64_t first, int64_t last, double scale, RowSums<double> *sums) {
  addInnerOf<double>(x, dp, first, last, scale, sums);
}

MORPH_VECTORIZE void softmaxGradient(const float *x, const float *dp, float *p, float *ds, int64_t first, int64_t last,
                                     int64_t n, float most, float reciprocal, float inner, float scale) {
  softmaxGradientOf<float, float>(x, dp, p, ds, first, last, n, most, reciprocal, inner, scale);
}
MORPH_VECTORIZE void softmaxGradient(const float *x, const float *dp, Bf16 *p, Bf16 *ds, int64_t first, int64_t last,
                                     int64_t n, float most, float reciprocal, float inner, float scale) {
  softmaxGradientOf<float, Bf16>(x, dp, p, ds, first, last, n, most, reciprocal, inner, scale);
}
void softmaxGradient(const double *x, const double *dp, double *p, double *ds, int64_t first, int64_t last, int64_t n,
                     double most, double reciprocal, double inner, double scale) {
  softmaxGradientOf<double, double>(x, dp, p, ds, first, last, n, most, reciprocal, inner, scale);
}

MORPH_VECTORIZE void scaleRow(float *x, int64_t n, float factor) {
  for (int64_t j = 0; j < n; ++j)
    x[j] *= factor;
}
void scaleRow(double *x, int64_t n, double factor) {
  for (int64_t j = 0; j < n; ++j)
    x[j] *= factor;
}
MORPH_VECTORIZE void addScaledRow(const float *x, float *y, int64_t n, float factor) {
  for (int64_t j = 0; j < n; ++j)
    y[j] += factor * x[j];
}
void addScaledRow(const double *x, double *y, int64_t n, double factor) {
  for (int64_t j = 0; j < n; ++j)
    y[j] += factor * x[j];
}

} // namespace morph
