// SPDX-License-Identifier: Apache-2.0
// Helpers of the chunked linear-attention kernels: decays and triangular solves of one chunk, and what every kernel
// does with its operands. A chunk kernel handles one batch element and head at a time, so that its chunk's data stays
// in cache; heads run in parallel.

#ifndef MORPH_RUNTIME_KERNELS_CHUNKMATH_H
#define MORPH_RUNTIME_KERNELS_CHUNKMATH_H

#include "runtime/kernels/ChunkLoops.h"
#include "runtime/kernels/LinearAttention.h"
#include "runtime/kernels/SmallProducts.h"

#include <ATen/ATen.h>

#include <cstdint>

namespace morph {

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

namespace morph::chunk {

/// Solves (I + M diag(beta)) E = X for E and gives U = diag(beta) E, where M [c,c] is zero on and above the diagonal.
/// `e` [c,n] holds X on entry and E on return; `u` [c,n] is written.
void solveLower(int64_t c, int64_t n, Matrix<float> m, const float *beta, Matrix<float> e, Matrix<float> u);
void solveLower(int64_t c, int64_t n, Matrix<double> m, const double *beta, Matrix<double> e, Matrix<double> u);

/// Solves (I + diag(beta) M)^T R = D for R and gives X = diag(beta) R, with M as above. `r` [c,n] holds D on entry and
/// R on return; `x` [c,n] is written.
void solveUpper(int64_t c, int64_t n, Matrix<float> m, const float *beta, Matrix<float> r, Matrix<float> x);
void solveUpper(int64_t c, int64_t n, Matrix<double> m, const double *beta, Matrix<double> r, Matrix<double> x);

/// The operands contiguous and of one floating type (that of q, or fp32 where q is of lower precision), shapes checked.
/// The state becomes a fresh tensor that the kernel may overwrite, zero where absent.
LinearAttentionInputs prepare(const char *kind, const LinearAttentionInputs &inputs);

/// Whether autograd would record what is computed of these inputs.
bool recorded(const LinearAttentionInputs &inputs);

} // namespace morph::chunk

#endif // MORPH_RUNTIME_KERNELS_CHUNKMATH_H
