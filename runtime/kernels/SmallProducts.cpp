// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/SmallProducts.h"

#include "runtime/kernels/TiledProduct.h"

namespace morph {

namespace {

template <typename E> Matrix<const E> readOnly(Matrix<E> x) { return {x.data, x.stride}; }
Matrix<const Bf16> readOnly(Matrix<at::BFloat16> x) { return {reinterpret_cast<const Bf16 *>(x.data), x.stride}; }

} // namespace

void multiply(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha, Matrix<float> a,
              Matrix<float> b, float beta, Matrix<float> c) {
  tiledProduct(transposeA, transposeB, m, n, k, alpha, readOnly(a), readOnly(b), beta, c);
}

void multiply(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, double alpha, Matrix<double> a,
              Matrix<double> b, double beta, Matrix<double> c) {
  tiledProduct(transposeA, transposeB, m, n, k, alpha, readOnly(a), readOnly(b), beta, c);
}

void multiply(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha, Matrix<at::BFloat16> a,
              Matrix<at::BFloat16> b, float beta, Matrix<float> c) {
  tiledProduct(transposeA, transposeB, m, n, k, alpha, readOnly(a), readOnly(b), beta, c);
}

bool hasBf16Multiply() { return true; }

} // namespace morph
