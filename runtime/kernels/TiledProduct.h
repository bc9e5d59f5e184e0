// SPDX-License-Identifier: Apache-2.0
// A matrix product of our own on raw memory, for one thread: for products of one head's chunk, too small for a
// library's overhead, and for machines without a library.
//
// A tile of 6 rows and two vectors of columns of c stays in registers while k runs; the columns of b that it needs are
// packed on the stack. An element of c is summed over k in order, in blocks of kTiledDepth, whatever tile it falls
// into: its bits depend on its row of op(a), its column of op(b) and the vector unit's fused multiply-add alone, not on
// m, n, strides or addresses.

#ifndef MORPH_RUNTIME_KERNELS_TILEDPRODUCT_H
#define MORPH_RUNTIME_KERNELS_TILEDPRODUCT_H

#include "runtime/kernels/Bf16.h"
#include "runtime/kernels/Matrix.h"

#include <cstdint>

namespace morph {

/// The most terms that are summed before the sum is added to c.
inline constexpr int64_t kTiledDepth = 256;

/// c [m,n] = alpha * op(a) [m,k] times op(b) [k,n] + beta * c, where op transposes when its flag is set. With beta 0, c
/// need not be initialised. Rows are contiguous, strides count elements. c overlaps neither a nor b.
void tiledProduct(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha, Matrix<const float> a,
                  Matrix<const float> b, float beta, Matrix<float> c);
void tiledProduct(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, double alpha,
                  Matrix<const double> a, Matrix<const double> b, double beta, Matrix<double> c);
/// Sums are fp32. By PairProduct where the machine has it; else the factors are widened, and products are fp32, too.
void tiledProduct(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha, Matrix<const Bf16> a,
                  Matrix<const Bf16> b, float beta, Matrix<float> c);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_TILEDPRODUCT_H
