// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/Bf16Gemm.h"

#include <dlfcn.h>

#include <limits>

namespace morph {

namespace {

/// MKL's `cblas_gemm_bf16bf16f32` (32-bit sizes, as LibTorch links it). LibTorch exports it where it carries MKL.
using Gemm = void (*)(int layout, int transposeA, int transposeB, int m, int n, int k, float alpha, const void *a,
                      int lda, const void *b, int ldb, float beta, float *c, int ldc);

Gemm findGemm() {
  static const Gemm gemm = reinterpret_cast<Gemm>(dlsym(RTLD_DEFAULT, "cblas_gemm_bf16bf16f32"));
  return gemm;
}

constexpr int kRowMajor = 101, kPlain = 111, kTransposed = 112;

/// A matrix as BLAS takes it: the pointer, whether it is stored transposed, its leading dimension.
struct Operand {
  at::Tensor tensor;
  int transpose = kPlain;
  int leading = 1;
};

Operand operand(const at::Tensor &matrix) {
  if (matrix.is_contiguous())
    return {matrix, kPlain, static_cast<int>(std::max<int64_t>(1, matrix.size(1)))};
  if (matrix.t().is_contiguous())
    return {matrix, kTransposed, static_cast<int>(std::max<int64_t>(1, matrix.size(0)))};
  return {matrix.contiguous(), kPlain, static_cast<int>(std::max<int64_t>(1, matrix.size(1)))};
}

} // namespace

at::Tensor bf16Product(const at::Tensor &a, const at::Tensor &b) {
  TORCH_CHECK(a.dim() == 2 && b.dim() == 2 && a.size(1) == b.size(0), "product of ", a.sizes(), " and ", b.sizes());
  int64_t m = a.size(0), n = b.size(1), k = a.size(1);
  constexpr int64_t limit = std::numeric_limits<int>::max();
  if (!findGemm() || m > limit || n > limit || k > limit || m * n * k == 0)
    return at::mm(a, b).to(at::kFloat);
  Operand left = operand(a), right = operand(b);
  at::Tensor c = at::empty({m, n}, at::kFloat);
  findGemm()(kRowMajor, left.transpose, right.transpose, static_cast<int>(m), static_cast<int>(n), static_cast<int>(k),
             1.0f, left.tensor.const_data_ptr(), left.leading, right.tensor.const_data_ptr(), right.leading, 0.0f,
             c.mutable_data_ptr<float>(), static_cast<int>(n));
  return c;
}

} // namespace morph
