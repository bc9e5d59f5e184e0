// SPDX-License-Identifier: Apache-2.0
// Matrix products of bf16 matrices with an fp32 result.

#ifndef MORPH_RUNTIME_KERNELS_BF16GEMM_H
#define MORPH_RUNTIME_KERNELS_BF16GEMM_H

#include <ATen/ATen.h>

namespace morph {

/// a times b as fp32, fp32 accumulation: a [M,K], b [K,N], bf16, each contiguous or the transpose of a contiguous
/// matrix. Where LibTorch carries MKL, its product with an fp32 result; elsewhere ATen's, whose result is rounded to
/// bf16 first.
at::Tensor bf16Product(const at::Tensor &a, const at::Tensor &b);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_BF16GEMM_H
