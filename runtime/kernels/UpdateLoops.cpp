// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/UpdateLoops.h"

#include "runtime/kernels/Vectorize.h"

namespace morph {

namespace {

template <typename T> MORPH_INLINE void accumulateRowOf(const T *x, T share, T *sum, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i)
    sum[i] += share * x[i];
}

template <typename T> MORPH_INLINE void scaleRowOf(T *x, T factor, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i)
    x[i] *= factor;
}

template <typename T> MORPH_INLINE void adamwRowOf(const AdamwStep &step, const T *g, T *p, T *m, T *v, int64_t count) {
  const T keep = static_cast<T>(step.keep), first = static_cast<T>(step.first), second = static_cast<T>(step.second);
  const T rate = static_cast<T>(step.rate), root = static_cast<T>(step.root), epsilon = static_cast<T>(step.epsilon);
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    m[i] += first * (g[i] - m[i]);
    v[i] += second * (g[i] * g[i] - v[i]);
    p[i] = keep * p[i] - rate * m[i] / (std::sqrt(v[i]) * root + epsilon);
  }
}

} // namespace

MORPH_VECTORIZE void accumulateRow(const float *x, float share, float *sum, int64_t count) {
  accumulateRowOf<float>(x, share, sum, count);
}
void accumulateRow(const double *x, double share, double *sum, int64_t count) {
  accumulateRowOf<double>(x, share, sum, count);
}
MORPH_VECTORIZE void scaleRow(float *x, float factor, int64_t count) { scaleRowOf<float>(x, factor, count); }
void scaleRow(double *x, double factor, int64_t count) { scaleRowOf<double>(x, factor, count); }
MORPH_VECTORIZE void adamwRow(const AdamwStep &step, const float *gradient, float *parameter, float *first,
                              float *second, int64_t count) {
  adamwRowOf<float>(step, gradient, parameter, first, second, count);
}
void adamwRow(const AdamwStep &step, const double *gradient, double *parameter, double *first, double *second,
              int64_t count) {
  adamwRowOf<double>(step, gradient, parameter, first, second, count);
}

} // namespace morph
