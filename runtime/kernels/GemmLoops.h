// SPDX-License-Identifier: Apache-2.0
// Loops beside matrix products, compiled for several vector units.

#ifndef MORPH_RUNTIME_KERNELS_GEMMLOOPS_H
#define MORPH_RUNTIME_KERNELS_GEMMLOOPS_H

#include "runtime/kernels/Bf16.h"
#include "runtime/kernels/Matrix.h"

#include <cstdint>

namespace morph {

/// y += bias.
void addRow(const float *bias, float *y, int64_t n);
void addRow(const double *bias, double *y, int64_t n);

/// y_j = a . (row j of b) for the `n` rows of b [n,k]: sums in a fixed order that depends on k alone.
void rowTimesRows(const float *a, const float *b, int64_t stride, float *y, int64_t n, int64_t k);
void rowTimesRows(const double *a, const double *b, int64_t stride, double *y, int64_t n, int64_t k);
void rowTimesRows(const Bf16 *a, const Bf16 *b, int64_t stride, float *y, int64_t n, int64_t k);

/// y [rows,columns] = x in fp32.
void widenRows(Matrix<const Bf16> x, Matrix<float> y, int64_t rows, int64_t columns);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_GEMMLOOPS_H
