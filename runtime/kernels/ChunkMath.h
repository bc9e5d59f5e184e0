// SPDX-License-Identifier: Apache-2.0
// The triangular solves of one chunk of linear attention.

#ifndef MORPH_RUNTIME_KERNELS_CHUNKMATH_H
#define MORPH_RUNTIME_KERNELS_CHUNKMATH_H

#include "runtime/kernels/Matrix.h"

#include <cstdint>

namespace morph::chunk {

/// Solves (I + M diag(beta)) E = X for E and gives U = diag(beta) E, where M [c,c] is zero on and above the diagonal.
/// `e` [c,n] holds X on entry and E on return; `u` [c,n] is written.
void solveLower(int64_t c, int64_t n, Matrix<float> m, const float *beta, Matrix<float> e, Matrix<float> u);
void solveLower(int64_t c, int64_t n, Matrix<double> m, const double *beta, Matrix<double> e, Matrix<double> u);

/// Solves (I + diag(beta) M)^T R = D for R and gives X = diag(beta) R, with M as above. `r` [c,n] holds D on entry and
/// R on return; `x` [c,n] is written.
void solveUpper(int64_t c, int64_t n, Matrix<float> m, const float *beta, Matrix<float> r, Matrix<float> x);
void solveUpper(int64_t c, int64_t n, Matrix<double> m, const double *beta, Matrix<double> r, Matrix<double> x);

} // namespace morph::chunk

#endif // MORPH_RUNTIME_KERNELS_CHUNKMATH_H
