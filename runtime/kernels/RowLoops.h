// SPDX-License-Identifier: Apache-2.0
// Plain loops of the norms, the rotation and the activations, for one range of rows or elements. Arrays are contiguous,
// rows follow each other, outputs do not overlap inputs. fp32 versions are compiled for several vector units.

#ifndef MORPH_RUNTIME_KERNELS_ROWLOOPS_H
#define MORPH_RUNTIME_KERNELS_ROWLOOPS_H

#include <cstdint>

namespace morph {

/// y = weight * x / sqrt(mean(x^2) + eps) a row.
void rmsNormRows(const float *x, const float *weight, float *y, int64_t rows, int64_t width, float eps);
void rmsNormRows(const double *x, const double *weight, double *y, int64_t rows, int64_t width, double eps);
/// dx = r * (weight * dy - x * r^2 * mean(weight * dy * x)) with r = 1 / sqrt(mean(x^2) + eps).
void rmsNormInputGradRows(const float *dy, const float *x, const float *weight, float *dx, int64_t rows, int64_t width,
                          float eps);
void rmsNormInputGradRows(const double *dy, const double *x, const double *weight, double *dx, int64_t rows,
                          int64_t width, double eps);
/// Adds dy * x * r of the rows to dweight.
void rmsNormWeightGradRows(const float *dy, const float *x, float *dweight, int64_t rows, int64_t width, float eps);
void rmsNormWeightGradRows(const double *dy, const double *x, double *dweight, int64_t rows, int64_t width, double eps);
/// y = x / sqrt(sum(x^2) + eps) a row.
void l2NormRows(const float *x, float *y, int64_t rows, int64_t width, float eps);
void l2NormRows(const double *x, double *y, int64_t rows, int64_t width, double eps);
/// dx = r * dy - x * r^3 * sum(dy * x) with r = 1 / sqrt(sum(x^2) + eps).
void l2NormGradRows(const float *dy, const float *x, float *dx, int64_t rows, int64_t width, float eps);
void l2NormGradRows(const double *dy, const double *x, double *dx, int64_t rows, int64_t width, double eps);
/// Rotates the first 2 * half elements of each of `heads` rows by one position's angles; the others are copied.
void ropeRows(const float *x, const float *cosine, const float *sine, float *y, int64_t heads, int64_t width,
              int64_t half);
void ropeRows(const double *x, const double *cosine, const double *sine, double *y, int64_t heads, int64_t width,
              int64_t half);
/// y = silu(gate) * x.
void swigluArray(const float *gate, const float *x, float *y, int64_t count);
void swigluArray(const double *gate, const double *x, double *y, int64_t count);
/// dgate = dy * x * silu'(gate), dx = dy * silu(gate).
void swigluGradArray(const float *dy, const float *gate, const float *x, float *dgate, float *dx, int64_t count);
void swigluGradArray(const double *dy, const double *gate, const double *x, double *dgate, double *dx, int64_t count);
/// y = x * sigmoid(x).
void siluArray(const float *x, float *y, int64_t count);
void siluArray(const double *x, double *y, int64_t count);
/// dx = dy * sigmoid(x) * (1 + x * (1 - sigmoid(x))).
void siluGradArray(const float *dy, const float *x, float *dx, int64_t count);
void siluGradArray(const double *dy, const double *x, double *dx, int64_t count);
/// y = sigmoid(x).
void sigmoidArray(const float *x, float *y, int64_t count);
void sigmoidArray(const double *x, double *y, int64_t count);

/// sum(dy * (a - b))
float differenceDot(const float *dy, const float *a, const float *b, int64_t count);
double differenceDot(const double *dy, const double *a, const double *b, int64_t count);
/// sum((a - b)^2)
float squaredDistance(const float *a, const float *b, int64_t count);
double squaredDistance(const double *a, const double *b, int64_t count);
/// sum(a^2)
float squaredNorm(const float *a, int64_t count);
double squaredNorm(const double *a, int64_t count);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_ROWLOOPS_H
