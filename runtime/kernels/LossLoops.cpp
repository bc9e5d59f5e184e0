// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/LossLoops.h"

#include "runtime/kernels/Vectorize.h"

namespace morph {

namespace {

template <typename T> MORPH_INLINE LogSumExp<T> logSumExpRowOf(const T *x, int64_t width) {
  T greatest = x[0];
#pragma omp simd reduction(max : greatest)
  for (int64_t i = 0; i < width; ++i)
    greatest = x[i] > greatest ? x[i] : greatest;
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < width; ++i)
    sum += fastExp(x[i] - greatest);
  return {greatest, std::log(sum)};
}

template <typename T> MORPH_INLINE void softmaxRowOf(const T *x, T *y, int64_t width, LogSumExp<T> row, T factor) {
#pragma omp simd
  for (int64_t i = 0; i < width; ++i)
    y[i] = factor * fastExp(x[i] - row.greatest - row.rest);
}

template <typename T>
MORPH_INLINE T klRowOf(const T *teacher, const T *student, int64_t width, LogSumExp<T> ofTeacher,
                       LogSumExp<T> ofStudent) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < width; ++i) {
    T logP = teacher[i] - ofTeacher.greatest - ofTeacher.rest, logQ = student[i] - ofStudent.greatest - ofStudent.rest;
    sum += fastExp(logP) * (logP - logQ);
  }
  return sum;
}

template <typename T>
MORPH_INLINE void klGradRowOf(const T *teacher, const T *student, T *y, int64_t width, LogSumExp<T> ofTeacher,
                              LogSumExp<T> ofStudent, T factor) {
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) {
    T logP = teacher[i] - ofTeacher.greatest - ofTeacher.rest, logQ = student[i] - ofStudent.greatest - ofStudent.rest;
    y[i] = factor * (fastExp(logQ) - fastExp(logP));
  }
}

template <typename T>
MORPH_INLINE void reverseKlGradRowOf(const T *teacher, const T *student, T *y, int64_t width, LogSumExp<T> ofTeacher,
                                     LogSumExp<T> ofStudent, T kl, T factor) {
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) {
    T logP = teacher[i] - ofTeacher.greatest - ofTeacher.rest, logQ = student[i] - ofStudent.greatest - ofStudent.rest;
    y[i] = factor * fastExp(logQ) * (logQ - logP - kl);
  }
}

} // namespace

MORPH_VECTORIZE LogSumExp<float> logSumExpRow(const float *x, int64_t width) { return logSumExpRowOf<float>(x, width); }
LogSumExp<double> logSumExpRow(const double *x, int64_t width) { return logSumExpRowOf<double>(x, width); }
MORPH_VECTORIZE void softmaxRow(const float *x, float *y, int64_t width, LogSumExp<float> sum, float factor) {
  softmaxRowOf<float>(x, y, width, sum, factor);
}
void softmaxRow(const double *x, double *y, int64_t width, LogSumExp<double> sum, double factor) {
  softmaxRowOf<double>(x, y, width, sum, factor);
}
MORPH_VECTORIZE float klRow(const float *teacher, const float *student, int64_t width, LogSumExp<float> teacherSum,
                            LogSumExp<float> studentSum) {
  return klRowOf<float>(teacher, student, width, teacherSum, studentSum);
}
double klRow(const double *teacher, const double *student, int64_t width, LogSumExp<double> teacherSum,
             LogSumExp<double> studentSum) {
  return klRowOf<double>(teacher, student, width, teacherSum, studentSum);
}
MORPH_VECTORIZE void klGradRow(const float *teacher, const float *student, float *y, int64_t width,
                               LogSumExp<float> teacherSum, LogSumExp<float> studentSum, float factor) {
  klGradRowOf<float>(teacher, student, y, width, teacherSum, studentSum, factor);
}
void klGradRow(const double *teacher, const double *student, double *y, int64_t width, LogSumExp<double> teacherSum,
               LogSumExp<double> studentSum, double factor) {
  klGradRowOf<double>(teacher, student, y, width, teacherSum, studentSum, factor);
}
MORPH_VECTORIZE void reverseKlGradRow(const float *teacher, const float *student, float *y, int64_t width,
                                      LogSumExp<float> teacherSum, LogSumExp<float> studentSum, float kl,
                                      float factor) {
  reverseKlGradRowOf<float>(teacher, student, y, width, teacherSum, studentSum, kl, factor);
}
void reverseKlGradRow(const double *teacher, const double *student, double *y, int64_t width,
                      LogSumExp<double> teacherSum, LogSumExp<double> studentSum, double kl, double factor) {
  reverseKlGradRowOf<double>(teacher, student, y, width, teacherSum, studentSum, kl, factor);
}

} // namespace morph
