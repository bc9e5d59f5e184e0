// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/SmallProducts.h"

#include <algorithm>

// BLAS of LibTorch's MKL. Weak: a LibTorch that does not export it (other processors) takes ATen's product instead.
extern "C" {
__attribute__((weak)) void sgemm_(const char *transA, const char *transB, const int *m, const int *n, const int *k,
                                  const float *alpha, const float *a, const int *lda, const float *b, const int *ldb,
                                  const float *beta, float *c, const int *ldc);
__attribute__((weak)) void dgemm_(const char *transA, const char *transB, const int *m, const int *n, const int *k,
                                  const double *alpha, const double *a, const int *lda, const double *b, const int *ldb,
                                  const double *beta, double *c, const int *ldc);
__attribute__((weak)) void gemm_bf16bf16f32_(const char *transA, const char *transB, const int *m, const int *n,
                                             const int *k, const float *alpha, const at::BFloat16 *a, const int *lda,
                                             const at::BFloat16 *b, const int *ldb, const float *beta, float *c,
                                             const int *ldc);
}

namespace morph {
namespace {

template <typename T>
void multiplyByAten(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, T alpha, Matrix<T> a,
                    Matrix<T> b, T beta, Matrix<T> c) {
  const at::TensorOptions options(c10::CppTypeToScalarType<T>::value);
  auto view = [&](Matrix<T> x, bool transpose, int64_t rows, int64_t columns) {
    at::Tensor whole = transpose ? at::from_blob(x.data, {columns, rows}, {x.stride, 1}, options).t()
                                 : at::from_blob(x.data, {rows, columns}, {x.stride, 1}, options);
    return whole;
  };
  at::Tensor out = view(c, false, m, n);
  if (beta == 0)
    out.zero_();
  out.addmm_(view(a, transposeA, m, k), view(b, transposeB, k, n), beta, alpha);
}

/// BLAS is column-major: a row-major product is the product of the transposes in the other order.
template <typename E, typename T, typename Blas>
void multiplyByBlas(Blas *blas, bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, T alpha, Matrix<E> a,
                    Matrix<E> b, T beta, Matrix<T> c) {
  if (m == 0 || n == 0)
    return;
  const char flagA = transposeA ? 'T' : 'N', flagB = transposeB ? 'T' : 'N';
  const int rows = static_cast<int>(n), columns = static_cast<int>(m), inner = static_cast<int>(k);
  // A row stride below the width is refused even where only one row exists.
  const int strideA = static_cast<int>(std::max(a.stride, transposeA ? m : k));
  const int strideB = static_cast<int>(std::max(b.stride, transposeB ? k : n));
  const int strideC = static_cast<int>(std::max(c.stride, n));
  blas(&flagB, &flagA, &rows, &columns, &inner, &alpha, b.data, &strideB, a.data, &strideA, &beta, c.data, &strideC);
}

} // namespace

void multiply(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha, Matrix<float> a,
              Matrix<float> b, float beta, Matrix<float> c) {
  if (sgemm_)
    multiplyByBlas(sgemm_, transposeA, transposeB, m, n, k, alpha, a, b, beta, c);
  else
    multiplyByAten(transposeA, transposeB, m, n, k, alpha, a, b, beta, c);
}

void multiply(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, double alpha, Matrix<double> a,
              Matrix<double> b, double beta, Matrix<double> c) {
  if (dgemm_)
    multiplyByBlas(dgemm_, transposeA, transposeB, m, n, k, alpha, a, b, beta, c);
  else
    multiplyByAten(transposeA, transposeB, m, n, k, alpha, a, b, beta, c);
}

void multiply(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha, Matrix<at::BFloat16> a,
              Matrix<at::BFloat16> b, float beta, Matrix<float> c) {
  TORCH_CHECK(hasBf16Multiply(), "this LibTorch has no bf16 product on raw memory");
  multiplyByBlas(gemm_bf16bf16f32_, transposeA, transposeB, m, n, k, alpha, a, b, beta, c);
}

bool hasBf16Multiply() { return gemm_bf16bf16f32_ != nullptr; }

} // namespace morph
