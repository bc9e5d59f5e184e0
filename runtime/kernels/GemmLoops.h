// SPDX-License-Identifier: Apache-2.0
// Loops beside matrix products, compiled for several vector units.

#ifndef MORPH_RUNTIME_KERNELS_GEMMLOOPS_H
#define MORPH_RUNTIME_KERNELS_GEMMLOOPS_H

#include "runtime/kernels/Bf16.h"

#include <cstdint>

namespace morph {

/// One row of an epilogue (Gemm.h): y = silu(gate) * (x + bias) + residual, without what is null; y may be x or
/// `residual`.
void epilogueRow(const float *x, const float *bias, const float *gate, const float *residual, float *y, int64_t n);
void epilogueRow(const double *x, const double *bias, const double *gate, const double *residual, double *y, int64_t n);
void epilogueRow(const float *x, const float *bias, const Bf16 *gate, const Bf16 *residual, Bf16 *y, int64_t n);

/// y_j (+)= a . (row j of b) for the `n` rows of b [n,k]: sums in a fixed order that depends on k alone.
void rowTimesRows(const float *a, const float *b, int64_t stride, float *y, int64_t n, int64_t k, bool add);
void rowTimesRows(const double *a, const double *b, int64_t stride, double *y, int64_t n, int64_t k, bool add);
void rowTimesRows(const Bf16 *a, const Bf16 *b, int64_t stride, float *y, int64_t n, int64_t k, bool add);

/// y = x in the other precision.
void widenArray(const Bf16 *x, float *y, int64_t count);
void roundArray(const float *x, Bf16 *y, int64_t count);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_GEMMLOOPS_H
