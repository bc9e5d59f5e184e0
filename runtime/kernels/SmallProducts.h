// SPDX-License-Identifier: Apache-2.0
// Matrix products on raw row-major buffers, for kernels that work on one head's data in cache. On one thread.

#ifndef MORPH_RUNTIME_KERNELS_SMALLPRODUCTS_H
#define MORPH_RUNTIME_KERNELS_SMALLPRODUCTS_H

#include "runtime/kernels/Bf16.h"
#include "runtime/kernels/Matrix.h"

#include <cstdint>

namespace morph {

/// c [m,n] = alpha * op(a) [m,k] times op(b) [k,n] + beta * c, where op transposes when its flag is set. With beta 0, c
/// need not be initialised. Accumulation in c's type.
void multiply(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha, Matrix<const float> a,
              Matrix<const float> b, float beta, Matrix<float> c);
void multiply(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, double alpha, Matrix<const double> a,
              Matrix<const double> b, double beta, Matrix<double> c);
void multiply(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha, Matrix<const Bf16> a,
              Matrix<const Bf16> b, float beta, Matrix<float> c);

/// Whether operands of bf16 are factors as they are, not widened: where that is faster (LibTorch's MKL has the product,
/// on Intel with AVX512-BF16 or AMX, or the processor has what PairProduct needs), or roundFactors wants it.
bool multipliesBf16();

/// The same of factors rounded to bf16.
void multiplyRounded(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha,
                     Matrix<const float> a, Matrix<const float> b, float beta, Matrix<float> c);

/// Whether factors that may be rounded are: where such products are faster (PairProduct), or roundFactors wants it.
bool roundsFactors();

/// Whether factors are rounded to bf16 on every processor, faster or not, as tensor cores have them: what programs on a
/// GPU are compared with must not depend on the processor beside it. Not while products run.
void roundFactors(bool everywhere);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_SMALLPRODUCTS_H
