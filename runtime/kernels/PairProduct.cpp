// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/PairProduct.h"

#if defined(__x86_64__)

#include "runtime/kernels/TiledProduct.h"
#include "runtime/kernels/TransposeEight.h"

#include <cstring>
#include <immintrin.h>
#include <type_traits>

// GCC 12 takes what its own header leaves undefined on purpose for an error of ours (its bug 105593).
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

/// Functions of this file are for such a processor.
#define MORPH_PAIRS __attribute__((target("arch=x86-64-v4,avx512bf16")))

namespace morph {
namespace {

constexpr int64_t kLanes = 16, kWidth = 2 * kLanes, kTileRows = 8;
constexpr int64_t kPairs = kTiledDepth / 2;
/// Rows of op(a) that are packed at once.
constexpr int64_t kPackedRows = 64;

MORPH_PAIRS MORPH_INLINE __mmask16 lanesBelow(int64_t count) {
  return count >= kLanes ? __mmask16(0xffff) : count <= 0 ? __mmask16(0) : __mmask16((1u << count) - 1);
}

/// The first ones of 16 neighbours as bf16; those beyond are zero.
MORPH_PAIRS MORPH_INLINE __m256i halvesOf(const Bf16 *x, __mmask16 mask) { return _mm256_maskz_loadu_epi16(mask, x); }
MORPH_PAIRS MORPH_INLINE __m256i halvesOf(const float *x, __mmask16 mask) {
  return (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, x));
}

/// Words of neighbours in two rows, the lower halves from the first one. A null row is zero.
template <typename E> MORPH_PAIRS MORPH_INLINE __m512i interleave(const E *lower, const E *upper, __mmask16 mask) {
  const __m512i low = _mm512_cvtepu16_epi32(halvesOf(lower, mask));
  if (!upper)
    return low;
  return _mm512_or_si512(low, _mm512_slli_epi32(_mm512_cvtepu16_epi32(halvesOf(upper, mask)), 16));
}

/// words[p * width + j] = x[2p][j] and x[2p + 1][j], for `depth` rows of x and columns up to `columns`, the rest zero.
template <typename E>
MORPH_PAIRS MORPH_INLINE void packRows(int64_t depth, int64_t columns, Matrix<const E> x, uint32_t *words,
                                       int64_t width) {
  for (int64_t p = 0; p < depth; p += 2, words += width)
    for (int64_t j = 0; j < width; j += kLanes)
      _mm512_store_si512(words + j,
                         interleave(x.row(p) + j, p + 1 < depth ? x.row(p + 1) + j : nullptr, lanesBelow(columns - j)));
}

/// Rows of x as bf16, `stride` apart and as long, zero from `depth` on; `stride` is a multiple of 16.
template <typename E>
MORPH_PAIRS MORPH_INLINE void roundRows(int64_t depth, int64_t rows, Matrix<const E> x, Bf16 *out, int64_t stride) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t p = 0; p < stride; p += kLanes)
      _mm256_storeu_si256(reinterpret_cast<__m256i *>(out + i * stride + p),
                          halvesOf(x.row(i) + p, lanesBelow(depth - p)));
}

MORPH_INLINE uint32_t wordAt(const Bf16 *x) {
  uint32_t word;
  std::memcpy(&word, x, sizeof(word));
  return word;
}

/// Two neighbours in a row, moved as a number of 32 bits; they are aligned for one of them.
struct __attribute__((packed, may_alias)) Word {
  float bits;
};
MORPH_INLINE float widen(const Word &word) { return word.bits; }

/// words[p * width + j] = x[j][2p] and x[j][2p + 1], for `depth` columns of x and rows up to `rows`, the rest zero.
MORPH_PAIRS MORPH_INLINE void packColumns(int64_t depth, int64_t rows, Matrix<const Bf16> x, uint32_t *words,
                                          int64_t width) {
  int64_t done = 0;
  if (rows >= width && x.stride % 2 == 0)
    for (; done + 16 <= depth; done += 16)
      for (int64_t j = 0; j < width; j += 8)
        transposeEight(reinterpret_cast<const Word *>(x.row(j) + done), x.stride / 2,
                       reinterpret_cast<float *>(words + done / 2 * width + j), width);
  for (int64_t j = 0; j < width; ++j)
    for (int64_t p = done; p < depth; p += 2)
      words[p / 2 * width + j] = j >= rows ? 0 : p + 1 < depth ? wordAt(x.row(j) + p) : x.row(j)[p].bits;
}

/// A tile's product: words of a row of op(a) lie `stepA` numbers apart.
template <int rows>
MORPH_PAIRS MORPH_INLINE void tile(int64_t pairs, float alpha, const Bf16 *a, int64_t rowStride, int64_t stepA,
                                   const uint32_t *b, float beta, Matrix<float> c, int64_t columns) {
  __m512 left[rows], right[rows];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
    left[r] = right[r] = _mm512_setzero_ps();
  for (int64_t p = 0; p < pairs; ++p, a += stepA, b += kWidth) {
    const __m512bh b0 = (__m512bh)_mm512_load_si512(b), b1 = (__m512bh)_mm512_load_si512(b + kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const __m512bh x = (__m512bh)_mm512_set1_epi32(static_cast<int>(wordAt(a + r * rowStride)));
      left[r] = _mm512_dpbf16_ps(left[r], x, b0);
      right[r] = _mm512_dpbf16_ps(right[r], x, b1);
    }
  }
  const __mmask16 first = lanesBelow(columns), second = lanesBelow(columns - kLanes);
  const __m512 factor = _mm512_set1_ps(alpha), before = _mm512_set1_ps(beta);
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    float *const target = c.row(r);
    __m512 x = _mm512_mul_ps(left[r], factor), y = _mm512_mul_ps(right[r], factor);
    if (beta != 0) {
      x = _mm512_fmadd_ps(before, _mm512_maskz_loadu_ps(first, target), x);
      y = _mm512_fmadd_ps(before, _mm512_maskz_loadu_ps(second, target + kLanes), y);
    }
    _mm512_mask_storeu_ps(target, first, x);
    _mm512_mask_storeu_ps(target + kLanes, second, y);
  }
}

template <typename E>
MORPH_PAIRS void product(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha,
                         Matrix<const E> a, Matrix<const E> b, float beta, Matrix<float> c) {
  constexpr bool rounds = std::is_same_v<E, float>;
  alignas(64) uint32_t left[kPairs * kPackedRows], panel[kPairs * kWidth];
  alignas(64) Bf16 rounded[rounds ? kTiledDepth * kWidth : 1];
  for (int64_t first = 0; first < k; first += kTiledDepth) {
    const int64_t depth = k - first < kTiledDepth ? k - first : kTiledDepth, pairs = (depth + 1) / 2;
    const int64_t whole = (depth + kLanes - 1) / kLanes * kLanes; // At most kTiledDepth.
    const float factor = first == 0 ? beta : 1;
    // A last number without another is packed, too: nothing beyond it is read.
    const bool packed = transposeA || depth % 2 != 0 || rounds;
    const int64_t block = packed ? kPackedRows : m;
    for (int64_t top = 0; top < m; top += block) {
      const int64_t bottom = m - top < block ? m : top + block;
      const Bf16 *rows = nullptr;
      int64_t rowStride = a.stride, stepA = 2;
      if (transposeA) {
        packRows(depth, bottom - top, Matrix<const E>{a.row(first) + top, a.stride}, left, kPackedRows);
        rows = reinterpret_cast<const Bf16 *>(left);
        rowStride = 2;
        stepA = 2 * kPackedRows;
      } else if (packed) {
        Bf16 *const to = reinterpret_cast<Bf16 *>(left);
        roundRows(depth, bottom - top, Matrix<const E>{a.row(top) + first, a.stride}, to, whole);
        rows = to;
        rowStride = whole;
      } else {
        rows = reinterpret_cast<const Bf16 *>(a.row(top) + first);
      }
      for (int64_t j = 0; j < n; j += kWidth) {
        const int64_t columns = n - j < kWidth ? n - j : kWidth;
        if (!transposeB) {
          packRows(depth, columns, Matrix<const E>{b.row(first) + j, b.stride}, panel, kWidth);
        } else if constexpr (rounds) {
          roundRows(depth, columns, Matrix<const E>{b.row(j) + first, b.stride}, rounded, whole);
          packColumns(depth, columns, {rounded, whole}, panel, kWidth);
        } else {
          packColumns(depth, columns, {b.row(j) + first, b.stride}, panel, kWidth);
        }
        const auto run = [&](auto count, int64_t i) __attribute__((target("arch=x86-64-v4,avx512bf16"))) {
          tile<decltype(count)::value>(pairs, alpha, rows + (i - top) * rowStride, rowStride, stepA, panel, factor,
                                       Matrix<float>{c.row(i) + j, c.stride}, columns);
        };
        int64_t i = top;
        for (; i + kTileRows <= bottom; i += kTileRows)
          run(std::integral_constant<int, kTileRows>(), i);
        if ((bottom - i) & 4) {
          run(std::integral_constant<int, 4>(), i);
          i += 4;
        }
        if ((bottom - i) & 2) {
          run(std::integral_constant<int, 2>(), i);
          i += 2;
        }
        if ((bottom - i) & 1)
          run(std::integral_constant<int, 1>(), i);
      }
    }
  }
}

} // namespace

template <typename E> PairProduct<E> pairProduct() {
  static const PairProduct<E> function =
      vectorLanes() == 16 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_is("amd") ? product<E> : nullptr;
  return function;
}
template PairProduct<Bf16> pairProduct<Bf16>();
template PairProduct<float> pairProduct<float>();

} // namespace morph

#else

namespace morph {
template <> PairProduct<Bf16> pairProduct<Bf16>() { return nullptr; }
template <> PairProduct<float> pairProduct<float>() { return nullptr; }
} // namespace morph

#endif
