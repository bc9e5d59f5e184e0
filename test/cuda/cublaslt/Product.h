// SPDX-License-Identifier: Apache-2.0
// The arithmetic of the stand-in for cuBLASLt: d = epilogue(alpha op(a) op(b) + beta c [+ bias]) on the host.

#ifndef MORPH_TEST_CUDA_CUBLASLT_PRODUCT_H
#define MORPH_TEST_CUDA_CUBLASLT_PRODUCT_H

#include <cstdint>

namespace standin {

enum class Type { F32, BF16, F64 };
inline int64_t bytesOf(Type type) { return type == Type::F64 ? 8 : type == Type::BF16 ? 2 : 4; }

/// A matrix whose element (r, c) lies at r * rowStride + c * columnStride.
struct View {
  void *data = nullptr;
  Type type = Type::F32;
  int64_t rowStride = 0, columnStride = 0;
};

enum class Function { None, Relu, Gelu };

struct Product {
  int64_t m = 0, n = 0, k = 0;
  View a, b, c, d;            ///< [m,k], [k,n], [m,n], [m,n]: transposes are in the strides.
  const void *bias = nullptr; ///< [m], of biasType; null for none.
  Type biasType = Type::F32;
  Function function = Function::None;
  double alpha = 1, beta = 0;
  int splits = 1; ///< Of k, whose sums are added in order: other bits.
};

/// Sums are fp32, and fp64 where the factors are.
void multiply(const Product &product);

} // namespace standin

#endif // MORPH_TEST_CUDA_CUBLASLT_PRODUCT_H
