// SPDX-License-Identifier: Apache-2.0
// Loops of the losses over one row of logits, which stays in the cache between them.

#ifndef MORPH_RUNTIME_KERNELS_LOSSLOOPS_H
#define MORPH_RUNTIME_KERNELS_LOSSLOOPS_H

#include <cstdint>

namespace morph {

/// log(sum(exp(x))), shifted by the maximum.
float logSumExpRow(const float *x, int64_t width);
double logSumExpRow(const double *x, int64_t width);
/// y = factor * exp(x - shift).
void softmaxRow(const float *x, float *y, int64_t width, float shift, float factor);
void softmaxRow(const double *x, double *y, int64_t width, double shift, double factor);
/// sum(p * (log p - log q)) with log p = teacher - teacherShift, log q = student - studentShift.
float klRow(const float *teacher, const float *student, int64_t width, float teacherShift, float studentShift);
double klRow(const double *teacher, const double *student, int64_t width, double teacherShift, double studentShift);
/// y = factor * q * (log q - log p - kl), with log p and log q as above: the gradient of sum(q * (log q - log p)),
/// which is kl, by the student's logits.
void reverseKlGradRow(const float *teacher, const float *student, float *y, int64_t width, float teacherShift,
                      float studentShift, float kl, float factor);
void reverseKlGradRow(const double *teacher, const double *student, double *y, int64_t width, double teacherShift,
                      double studentShift, double kl, double factor);
/// y = factor * (exp(student - studentShift) - exp(teacher - teacherShift)).
void klGradRow(const float *teacher, const float *student, float *y, int64_t width, float teacherShift,
               float studentShift, float factor);
void klGradRow(const double *teacher, const double *student, double *y, int64_t width, double teacherShift,
               double studentShift, double factor);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_LOSSLOOPS_H
