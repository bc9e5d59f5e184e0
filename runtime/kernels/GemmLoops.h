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

/// y [rows,n] = a [rows,k] times the transpose of b [n,k]: sums in a fixed order that depends on k alone, so that a
/// row's are the same whatever other rows there are.
void rowsTimesRows(Matrix<const float> a, Matrix<const float> b, Matrix<float> y, int64_t rows, int64_t n, int64_t k);
void rowsTimesRows(Matrix<const double> a, Matrix<const double> b, Matrix<double> y, int64_t rows, int64_t n,
                   int64_t k);
void rowsTimesRows(Matrix<const Bf16> a, Matrix<const Bf16> b, Matrix<float> y, int64_t rows, int64_t n, int64_t k);

/// y [rows,columns] = x in fp32.
void widenRows(Matrix<const Bf16> x, Matrix<float> y, int64_t rows, int64_t columns);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_GEMMLOOPS_H
