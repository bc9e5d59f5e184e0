// SPDX-License-Identifier: Apache-2.0
// Loops of the losses over one row of logits, which stays in the cache between them.

#ifndef MORPH_RUNTIME_KERNELS_LOSSLOOPS_H
#define MORPH_RUNTIME_KERNELS_LOSSLOOPS_H

#include <cstdint>

namespace morph {

/// log(sum(exp(x))) of a row in two parts: as one number it is rounded at the place of the row's largest element, and a
/// divergence is a difference of such logarithms.
template <typename T> struct LogSumExp {
  T greatest = 0, rest = 0;

  /// The logarithm of the softmax of an element.
  T logOf(T x) const { return x - greatest - rest; }
};

LogSumExp<float> logSumExpRow(const float *x, int64_t width);
LogSumExp<double> logSumExpRow(const double *x, int64_t width);
/// y = factor * p, p being the softmax of x.
void softmaxRow(const float *x, float *y, int64_t width, LogSumExp<float> sum, float factor);
void softmaxRow(const double *x, double *y, int64_t width, LogSumExp<double> sum, double factor);
/// sum(p * (log p - log q)), p and q being the softmax of teacher and student.
float klRow(const float *teacher, const float *student, int64_t width, LogSumExp<float> teacherSum,
            LogSumExp<float> studentSum);
double klRow(const double *teacher, const double *student, int64_t width, LogSumExp<double> teacherSum,
             LogSumExp<double> studentSum);
/// y = factor * q * (log q - log p - kl), with p and q as above: the gradient of sum(q * (log q - log p)), which is kl,
/// by the student's logits.
void reverseKlGradRow(const float *teacher, const float *student, float *y, int64_t width, LogSumExp<float> teacherSum,
                      LogSumExp<float> studentSum, float kl, float factor);
void reverseKlGradRow(const double *teacher, const double *student, double *y, int64_t width,
                      LogSumExp<double> teacherSum, LogSumExp<double> studentSum, double kl, double factor);
/// y = factor * (q - p), with p and q as above.
void klGradRow(const float *teacher, const float *student, float *y, int64_t width, LogSumExp<float> teacherSum,
               LogSumExp<float> studentSum, float factor);
void klGradRow(const double *teacher, const double *student, double *y, int64_t width, LogSumExp<double> teacherSum,
               LogSumExp<double> studentSum, double factor);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_LOSSLOOPS_H
