// SPDX-License-Identifier: Apache-2.0
#ifndef MORPH_RUNTIME_KERNELS_MATRIX_H
#define MORPH_RUNTIME_KERNELS_MATRIX_H

#include <cstdint>
#include <type_traits>

namespace morph {

/// A row-major matrix in memory; `stride` elements lie between the starts of two rows.
template <typename T> struct Matrix {
  T *data = nullptr;
  int64_t stride = 0;

  T *row(int64_t i) const { return data + i * stride; }
  Matrix below(int64_t rows) const { return {data + rows * stride, stride}; }
  Matrix right(int64_t columns) const { return {data + columns, stride}; }
  /// The same to be read alone.
  template <typename U, typename = std::enable_if_t<std::is_same_v<U, const T> && !std::is_const_v<T>>>
  operator Matrix<U>() const {
    return {data, stride};
  }
};

/// Head `h` of x [B,L,H,D] as a matrix [L,D].
template <typename T> Matrix<T> headOf(T *x, int64_t b, int64_t h, int64_t length, int64_t heads, int64_t width) {
  return {x + (b * length * heads + h) * width, heads * width};
}

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_MATRIX_H
