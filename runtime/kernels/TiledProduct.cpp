// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/TiledProduct.h"

#include "runtime/kernels/PairProduct.h"
#include "runtime/kernels/TransposeEight.h"
#include "runtime/kernels/Vectorize.h"

#include <cstddef>
#include <utility>

namespace morph {
namespace {

/// Vectors of the compiler's: arithmetic is elementwise, a number counts as a vector of it.
template <typename T, int bytes> struct Vector {
  typedef T Type __attribute__((vector_size(bytes), aligned(alignof(T)), may_alias));
  static constexpr int64_t lanes = bytes / sizeof(T);
};

constexpr int64_t kTileRows = 6;
/// With fewer rows than this, a panel of b is read once or twice: packing it would cost more than it saves.
constexpr int64_t kRowsToPack = 12;

/// A tile's product: rows of op(a) lie `rowStride` apart and their elements `stepA`, the two vectors of b of a step
/// `stepB`. What is right of `columns` is computed and dropped.
template <typename V, typename T, typename E, size_t... R>
MORPH_INLINE void tile(std::index_sequence<R...>, int64_t k, T alpha, const E *a, int64_t rowStride, int64_t stepA,
                       const T *b, int64_t stepB, T beta, Matrix<T> c, int64_t columns) {
  using Lanes = typename V::Type;
  constexpr int64_t lanes = V::lanes;
  Lanes left[sizeof...(R)] = {}, right[sizeof...(R)] = {};
  const E *const rows[] = {(a + static_cast<int64_t>(R) * rowStride)...};
  for (int64_t p = 0, at = 0; p < k; ++p, at += stepA, b += stepB) {
    const Lanes b0 = *reinterpret_cast<const Lanes *>(b), b1 = *reinterpret_cast<const Lanes *>(b + lanes);
    ((left[R] = left[R] + widen(rows[R][at]) * b0, right[R] = right[R] + widen(rows[R][at]) * b1), ...);
  }
  ((left[R] = left[R] * alpha, right[R] = right[R] * alpha), ...);
  if (columns == 2 * lanes) {
    auto put = [&](int64_t row, const Lanes &x, const Lanes &y) MORPH_INLINE_LAMBDA {
      Lanes *target = reinterpret_cast<Lanes *>(c.row(row));
      Lanes *next = reinterpret_cast<Lanes *>(c.row(row) + lanes);
      *target = beta == 0 ? x : x + beta * *target;
      *next = beta == 0 ? y : y + beta * *next;
    };
    (put(static_cast<int64_t>(R), left[R], right[R]), ...);
    return;
  }
  for (size_t r = 0; r < sizeof...(R); ++r) {
    T *target = c.row(static_cast<int64_t>(r));
    for (int64_t j = 0; j < columns; ++j) {
      const T value = j < lanes ? left[r][j] : right[r][j - lanes];
      target[j] = beta == 0 ? value : value + beta * target[j];
    }
  }
}

/// `k` rows of `width` columns of op(b), those beyond `columns` zero.
template <int64_t width, typename T, typename E>
MORPH_INLINE void pack(bool transposed, int64_t k, int64_t columns, const E *b, int64_t stride, T *panel) {
  if (!transposed) {
    if (columns == width) {
      for (int64_t p = 0; p < k; ++p, b += stride, panel += width)
#pragma GCC unroll 32
        for (int64_t j = 0; j < width; ++j)
          panel[j] = widen(b[j]);
      return;
    }
    for (int64_t p = 0; p < k; ++p)
      for (int64_t j = 0; j < width; ++j)
        panel[p * width + j] = j < columns ? widen(b[p * stride + j]) : T(0);
    return;
  }
  int64_t done = 0;
  if constexpr (sizeof(T) == 4)
    if (columns == width)
      for (; done + 8 <= k; done += 8)
        for (int64_t j = 0; j < width; j += 8)
          transposeEight(b + j * stride + done, stride, panel + done * width + j, width);
  for (int64_t j = 0; j < width; ++j)
    for (int64_t p = done; p < k; ++p)
      panel[p * width + j] = j < columns ? widen(b[j * stride + p]) : T(0);
}

template <typename V, typename T, typename E>
MORPH_INLINE void product(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, T alpha, Matrix<const E> a,
                          Matrix<const E> b, T beta, Matrix<T> c) {
  constexpr int64_t width = 2 * V::lanes;
  alignas(64) T panel[kTiledDepth * width];
  const int64_t rowStride = transposeA ? 1 : a.stride, stepA = transposeA ? a.stride : 1;
  for (int64_t first = 0; first < k; first += kTiledDepth) {
    const int64_t depth = k - first < kTiledDepth ? k - first : kTiledDepth;
    const T factor = first == 0 ? beta : T(1);
    for (int64_t j = 0; j < n; j += width) {
      const int64_t columns = n - j < width ? n - j : width;
      const E *source = b.data + (transposeB ? j * b.stride + first : first * b.stride + j);
      const T *right = panel;
      int64_t step = width;
      if (std::is_same_v<E, T> && !transposeB && columns == width && m < kRowsToPack) {
        right = reinterpret_cast<const T *>(source);
        step = b.stride;
      } else {
        pack<width>(transposeB, depth, columns, source, b.stride, panel);
      }
      int64_t i = 0;
      auto rows = [&](auto sequence) MORPH_INLINE_LAMBDA {
        tile<V>(sequence, depth, alpha, a.data + i * rowStride + first * stepA, rowStride, stepA, right, step, factor,
                Matrix<T>{c.row(i) + j, c.stride}, columns);
      };
      for (; i + kTileRows <= m; i += kTileRows)
        rows(std::make_index_sequence<kTileRows>());
      switch (m - i) {
      case 5:
        rows(std::make_index_sequence<5>());
        break;
      case 4:
        rows(std::make_index_sequence<4>());
        break;
      case 3:
        rows(std::make_index_sequence<3>());
        break;
      case 2:
        rows(std::make_index_sequence<2>());
        break;
      case 1:
        rows(std::make_index_sequence<1>());
        break;
      }
    }
  }
}

template <typename T, typename E>
using Product = void (*)(bool, bool, int64_t, int64_t, int64_t, T, Matrix<const E>, Matrix<const E>, T, Matrix<T>);

#if defined(__x86_64__)
template <typename T, typename E>
__attribute__((target("arch=x86-64-v4"))) void product64(bool transposeA, bool transposeB, int64_t m, int64_t n,
                                                         int64_t k, T alpha, Matrix<const E> a, Matrix<const E> b,
                                                         T beta, Matrix<T> c) {
  product<Vector<T, 64>>(transposeA, transposeB, m, n, k, alpha, a, b, beta, c);
}
template <typename T, typename E>
__attribute__((target("arch=x86-64-v3"))) void product32(bool transposeA, bool transposeB, int64_t m, int64_t n,
                                                         int64_t k, T alpha, Matrix<const E> a, Matrix<const E> b,
                                                         T beta, Matrix<T> c) {
  product<Vector<T, 32>>(transposeA, transposeB, m, n, k, alpha, a, b, beta, c);
}
#endif
template <typename T, typename E>
void product16(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, T alpha, Matrix<const E> a,
               Matrix<const E> b, T beta, Matrix<T> c) {
  product<Vector<T, 16>>(transposeA, transposeB, m, n, k, alpha, a, b, beta, c);
}

/// The one for this machine's vectors.
template <typename T, typename E> Product<T, E> choose() {
#if defined(__x86_64__)
  if (vectorLanes() == 16)
    return product64<T, E>;
  if (vectorLanes() == 8)
    return product32<T, E>;
#endif
  return product16<T, E>;
}

/// What a product of no terms leaves; its factors may be null.
template <typename T> void scale(int64_t m, int64_t n, T beta, Matrix<T> c) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j)
      c.row(i)[j] = beta == 0 ? T(0) : beta * c.row(i)[j];
}

} // namespace

void tiledProduct(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha, Matrix<const float> a,
                  Matrix<const float> b, float beta, Matrix<float> c) {
  if (k == 0)
    return scale(m, n, beta, c);
  static const Product<float, float> run = choose<float, float>();
  run(transposeA, transposeB, m, n, k, alpha, a, b, beta, c);
}
void tiledProduct(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, double alpha,
                  Matrix<const double> a, Matrix<const double> b, double beta, Matrix<double> c) {
  if (k == 0)
    return scale(m, n, beta, c);
  static const Product<double, double> run = choose<double, double>();
  run(transposeA, transposeB, m, n, k, alpha, a, b, beta, c);
}
void tiledProduct(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha, Matrix<const Bf16> a,
                  Matrix<const Bf16> b, float beta, Matrix<float> c) {
  if (k == 0)
    return scale(m, n, beta, c);
  static const Product<float, Bf16> run = pairProduct<Bf16>() ? pairProduct<Bf16>() : choose<float, Bf16>();
  run(transposeA, transposeB, m, n, k, alpha, a, b, beta, c);
}

} // namespace morph
