// SPDX-License-Identifier: Apache-2.0
// The plain loops of the chunked linear-attention kernels, compiled for several vector units. All are deterministic:
// sums have a fixed order on one machine.

#ifndef MORPH_RUNTIME_KERNELS_CHUNKLOOPS_H
#define MORPH_RUNTIME_KERNELS_CHUNKLOOPS_H

#include "runtime/kernels/Matrix.h"

#include <cstdint>

namespace morph::chunk {

/// Fills `decay` [c,c] with the products of the factors a_{j+1} ... a_i at (i,j), j <= i, and zeros above the diagonal,
/// and `fromStart` [c] with the products a_0 ... a_i. Products of factors, not exponentials of differences of sums: the
/// error stays relative, and a factor of zero is harmless. Products too small to matter become zero, as subnormal
/// numbers are slow.
void decayProducts(int64_t c, const float *factors, Matrix<float> decay, float *fromStart);
void decayProducts(int64_t c, const double *factors, Matrix<double> decay, double *fromStart);

/// Multiplies x [c,c] by the decays at (i,j) with j <= i, or j < i where `strict`, and sets the others to zero.
void applyDecay(int64_t c, Matrix<const float> decay, Matrix<float> x, bool strict);
void applyDecay(int64_t c, Matrix<const double> decay, Matrix<double> x, bool strict);

/// Row i of `to` [rows,n] = factors_i times row i of `from`, which may be `to`.
void scaleRows(int64_t rows, int64_t n, const float *factors, Matrix<const float> from, Matrix<float> to);
void scaleRows(int64_t rows, int64_t n, const double *factors, Matrix<const double> from, Matrix<double> to);

/// to [rows,n] = factor * from, which may be `to`.
void scaleAll(int64_t rows, int64_t n, float factor, Matrix<const float> from, Matrix<float> to);
void scaleAll(int64_t rows, int64_t n, double factor, Matrix<const double> from, Matrix<double> to);

/// Each of x [rows,n] becomes the nearest number of bf16.
void roundAll(int64_t rows, int64_t n, Matrix<float> x);

/// to [rows,n] = a + b
void addRows(int64_t rows, int64_t n, Matrix<const float> a, Matrix<const float> b, Matrix<float> to);
void addRows(int64_t rows, int64_t n, Matrix<const double> a, Matrix<const double> b, Matrix<double> to);

/// sums_i (+)= sign * (row i of a) . (row i of b), for [rows,n]; each sum in a fixed order.
void addRowDots(int64_t rows, int64_t n, float sign, Matrix<const float> a, Matrix<const float> b, float *sums);
void addRowDots(int64_t rows, int64_t n, double sign, Matrix<const double> a, Matrix<const double> b, double *sums);

/// x = S^T k and y = S^T q for S [rows,n], which is read once; each sum in the order of the rows.
void stateProducts(int64_t rows, int64_t n, Matrix<const float> s, const float *k, const float *q, float *x, float *y);
void stateProducts(int64_t rows, int64_t n, Matrix<const double> s, const double *k, const double *q, double *x,
                   double *y);

/// Row i of S [rows,n] = factor S + k_i u^T; the factors of two rows lie `step` from each other, which is 0 for one
/// factor.
void decayAndAdd(int64_t rows, int64_t n, const float *factors, int64_t step, const float *k, const float *u,
                 Matrix<float> s);
void decayAndAdd(int64_t rows, int64_t n, const double *factors, int64_t step, const double *k, const double *u,
                 Matrix<double> s);
/// The same and a_i w^T, too.
void decayAndAddTwo(int64_t rows, int64_t n, const float *factors, int64_t step, const float *a, const float *w,
                    const float *k, const float *u, Matrix<float> s);
void decayAndAddTwo(int64_t rows, int64_t n, const double *factors, int64_t step, const double *a, const double *w,
                    const double *k, const double *u, Matrix<double> s);

/// Forward substitution of `solveLower` (ChunkMath.h) within the block of rows [begin, end), what the rows before it
/// contribute being subtracted already.
void solveLowerBlock(int64_t begin, int64_t end, int64_t n, Matrix<float> m, const float *beta, Matrix<float> e,
                     Matrix<float> u);
void solveLowerBlock(int64_t begin, int64_t end, int64_t n, Matrix<double> m, const double *beta, Matrix<double> e,
                     Matrix<double> u);
/// Back substitution of `solveUpper` (ChunkMath.h) within the block of rows [begin, end), what the rows after it
/// contribute being subtracted already.
void solveUpperBlock(int64_t begin, int64_t end, int64_t n, Matrix<float> m, const float *beta, Matrix<float> r,
                     Matrix<float> x);
void solveUpperBlock(int64_t begin, int64_t end, int64_t n, Matrix<double> m, const double *beta, Matrix<double> r,
                     Matrix<double> x);

} // namespace morph::chunk

#endif // MORPH_RUNTIME_KERNELS_CHUNKLOOPS_H
