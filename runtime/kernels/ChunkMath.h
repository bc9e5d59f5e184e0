// SPDX-License-Identifier: Apache-2.0
// The products and triangular solves of one chunk of linear attention.

#ifndef MORPH_RUNTIME_KERNELS_CHUNKMATH_H
#define MORPH_RUNTIME_KERNELS_CHUNKMATH_H

#include "runtime/kernels/Matrix.h"
#include "runtime/kernels/SmallProducts.h"

#include <cstdint>
#include <type_traits>

namespace morph::chunk {

/// T, which is not deduced from here.
template <typename T> using Same = std::common_type_t<T>;

/// A product (SmallProducts.h), of factors rounded to bf16 where it `rounds`.
template <typename T>
void product(bool rounds, bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, T alpha,
             Matrix<const Same<T>> a, Matrix<const Same<T>> b, Same<T> beta, Matrix<Same<T>> c) {
  if constexpr (std::is_same_v<T, float>)
    if (rounds)
      return multiplyRounded(transposeA, transposeB, m, n, k, alpha, a, b, beta, c);
  multiply(transposeA, transposeB, m, n, k, alpha, a, b, beta, c);
}

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
