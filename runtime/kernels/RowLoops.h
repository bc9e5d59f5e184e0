// SPDX-License-Identifier: Apache-2.0
// Plain loops of what no compiled kernel does: the rotation, and sums of squares. Arrays are contiguous, rows follow
// each other, an output may be its input, and overlaps none otherwise. fp32 versions are compiled for several vector
// units.

#ifndef MORPH_RUNTIME_KERNELS_ROWLOOPS_H
#define MORPH_RUNTIME_KERNELS_ROWLOOPS_H

#include <cstdint>

namespace morph {

/// Rotates the first 2 * half elements of each of `heads` rows by one position's angles; the others are copied.
void ropeRows(const float *x, const float *cosine, const float *sine, float *y, int64_t heads, int64_t width,
              int64_t half);
void ropeRows(const double *x, const double *cosine, const double *sine, double *y, int64_t heads, int64_t width,
              int64_t half);

/// sum((a - b)^2)
float squaredDistance(const float *a, const float *b, int64_t count);
double squaredDistance(const double *a, const double *b, int64_t count);
/// sum(a^2)
float squaredNorm(const float *a, int64_t count);
double squaredNorm(const double *a, int64_t count);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_ROWLOOPS_H
