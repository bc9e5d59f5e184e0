// SPDX-License-Identifier: Apache-2.0
// Matrix products on raw row-major buffers, for kernels that work on one head's data in cache: the cost of a tensor a
// product would be larger than the product. And the scratch memory of such kernels.

#ifndef MORPH_RUNTIME_KERNELS_SMALLPRODUCTS_H
#define MORPH_RUNTIME_KERNELS_SMALLPRODUCTS_H

#include "runtime/kernels/Matrix.h"

#include <ATen/ATen.h>

#include <cstdint>

namespace morph {

/// c [m,n] = alpha * op(a) [m,k] times op(b) [k,n] + beta * c, where op transposes when its flag is set. With beta 0, c
/// need not be initialised. Accumulation in c's type. Single-threaded inside at::parallel_for.
void multiply(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha, Matrix<float> a,
              Matrix<float> b, float beta, Matrix<float> c);
void multiply(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, double alpha, Matrix<double> a,
              Matrix<double> b, double beta, Matrix<double> c);
void multiply(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha, Matrix<at::BFloat16> a,
              Matrix<at::BFloat16> b, float beta, Matrix<float> c);

/// Whether the bf16 product exists here: LibTorch's MKL has it.
bool hasBf16Multiply();

/// Scratch memory of one thread, handed out in pieces aligned to 64 bytes so that the products' bits do not depend on
/// where memory was found.
template <typename T> class Scratch {
public:
  explicit Scratch(int64_t elements)
      : storage(at::empty({elements + kAlign}, at::TensorOptions(c10::CppTypeToScalarType<T>::value))) {
    const uintptr_t bytes = reinterpret_cast<uintptr_t>(storage.template data_ptr<T>());
    next = reinterpret_cast<T *>((bytes + 63) / 64 * 64);
  }
  T *take(int64_t elements) {
    T *piece = next;
    next += size(elements);
    return piece;
  }
  Matrix<T> matrix(int64_t rows, int64_t columns) { return {take(rows * columns), columns}; }
  /// What a piece takes, its padding included.
  static int64_t size(int64_t elements) { return (elements + kAlign - 1) / kAlign * kAlign; }

private:
  static constexpr int64_t kAlign = 64 / sizeof(T);
  at::Tensor storage;
  T *next;
};

/// An element of a contiguous tensor. One without elements has no memory to point into.
template <typename T> T *elementAt(const at::Tensor &x, int64_t index) {
  return x.numel() == 0 ? nullptr : x.data_ptr<T>() + index;
}

/// One head of a contiguous [B,T,H,D] tensor as a matrix [T,D].
template <typename T> Matrix<T> headMatrix(const at::Tensor &x_BTHD, int64_t b, int64_t h) {
  const int64_t length = x_BTHD.size(1), heads = x_BTHD.size(2), width = x_BTHD.size(3);
  return {elementAt<T>(x_BTHD, (b * length * heads + h) * width), heads * width};
}

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_SMALLPRODUCTS_H
