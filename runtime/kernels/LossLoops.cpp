// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/LossLoops.h"

#include "runtime/kernels/Vectorize.h"

namespace morph {

namespace {

template <typename T> MORPH_INLINE T logSumExpRowOf(const T *x, int64_t width) {
  T greatest = x[0];
#pragma omp simd reduction(max : greatest)
  for (int64_t i = 0; i < width; ++i)
    greatest = x[i] > greatest ? x[i] : greatest;
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < width; ++i)
    sum += fastExp(x[i] - greatest);
  return greatest + std::log(sum);
}

template <typename T> MORPH_INLINE void softmaxRowOf(const T *x, T *y, int64_t width, T shift, T factor) {
#pragma omp simd
  for (int64_t i = 0; i < width; ++i)
    y[i] = factor * fastExp(x[i] - shift);
}

template <typename T>
MORPH_INLINE T klRowOf(const T *teacher, const T *student, int64_t width, T teacherShift, T studentShift) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < width; ++i) {
    T logP = teacher[i] - teacherShift, logQ = student[i] - studentShift;
    sum += fastExp(logP) * (logP - logQ);
  }
  return sum;
}

template <typename T>
MORPH_INLINE void klGradRowOf(const T *teacher, const T *student, T *y, int64_t width, T teacherShift, T studentShift,
                              T factor) {
#pragma omp simd
  for (int64_t i = 0; i < width; ++i)
    y[i] = factor * (fastExp(student[i] - studentShift) - fastExp(teacher[i] - teacherShift));
}

template <typename T>
MORPH_INLINE void reverseKlGradRowOf(const T *teacher, const T *student, T *y, int64_t width, T teacherShift,
                                     T studentShift, T kl, T factor) {
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) {
    T logP = teacher[i] - teacherShift, logQ = student[i] - studentShift;
    y[i] = factor * fastExp(logQ) * (logQ - logP - kl);
  }
}

} // namespace

MORPH_VECTORIZE float logSumExpRow(const float *x, int64_t width) { return logSumExpRowOf<float>(x, width); }
double logSumExpRow(const double *x, int64_t width) { return logSumExpRowOf<double>(x, width); }
MORPH_VECTORIZE void softmaxRow(const float *x, float *y, int64_t width, float shift, float factor) {
  softmaxRowOf<float>(x, y, width, shift, factor);
}
void softmaxRow(const double *x, double *y, int64_t width, double shift, double factor) {
  softmaxRowOf<double>(x, y, width, shift, factor);
}
MORPH_VECTORIZE float klRow(const float *teacher, const float *student, int64_t width, float teacherShift,
                            float studentShift) {
  return klRowOf<float>(teacher, student, width, teacherShift, studentShift);
}
double klRow(const double *teacher, const double *student, int64_t width, double teacherShift, double studentShift) {
  return klRowOf<double>(teacher, student, width, teacherShift, studentShift);
}
MORPH_VECTORIZE void klGradRow(const float *teacher, const float *student, float *y, int64_t width, float teacherShift,
                               float studentShift, float factor) {
  klGradRowOf<float>(teacher, student, y, width, teacherShift, studentShift, factor);
}
void klGradRow(const double *teacher, const double *student, double *y, int64_t width, double teacherShift,
               double studentShift, double factor) {
  klGradRowOf<double>(teacher, student, y, width, teacherShift, studentShift, factor);
}
MORPH_VECTORIZE void reverseKlGradRow(const float *teacher, const float *student, float *y, int64_t width,
                                      float teacherShift, float studentShift, float kl, float factor) {
  reverseKlGradRowOf<float>(teacher, student, y, width, teacherShift, studentShift, kl, factor);
}
void reverseKlGradRow(const double *teacher, const double *student, double *y, int64_t width, double teacherShift,
                      double studentShift, double kl, double factor) {
  reverseKlGradRowOf<double>(teacher, student, y, width, teacherShift, studentShift, kl, factor);
}

} // namespace morph
