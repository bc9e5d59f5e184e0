// SPDX-License-Identifier: Apache-2.0
// How packing a factor of a product turns rows into columns.

#ifndef MORPH_RUNTIME_KERNELS_TRANSPOSEEIGHT_H
#define MORPH_RUNTIME_KERNELS_TRANSPOSEEIGHT_H

#include "runtime/kernels/Bf16.h"

#include <cstdint>

namespace morph {

/// Eight rows become eight columns: out[p * width + j] = in[j * stride + p] for p, j < 8.
template <typename E> MORPH_INLINE void transposeEight(const E *in, int64_t stride, float *out, int64_t width) {
  typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));
  Eight x[8];
  for (int64_t j = 0; j < 8; ++j)
    for (int64_t p = 0; p < 8; ++p)
      x[j][p] = widen(in[j * stride + p]);
  Eight y[8], z[8];
#pragma GCC unroll 4
  for (int j = 0; j < 8; j += 2) {
    y[j] = __builtin_shufflevector(x[j], x[j + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    y[j + 1] = __builtin_shufflevector(x[j], x[j + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
#pragma GCC unroll 2
  for (int j = 0; j < 8; j += 4) {
    z[j] = __builtin_shufflevector(y[j], y[j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
    z[j + 1] = __builtin_shufflevector(y[j], y[j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    z[j + 2] = __builtin_shufflevector(y[j + 1], y[j + 3], 0, 1, 8, 9, 4, 5, 12, 13);
    z[j + 3] = __builtin_shufflevector(y[j + 1], y[j + 3], 2, 3, 10, 11, 6, 7, 14, 15);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    *reinterpret_cast<Eight *>(out + j * width) = __builtin_shufflevector(z[j], z[j + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    *reinterpret_cast<Eight *>(out + (j + 4) * width) =
        __builtin_shufflevector(z[j], z[j + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_TRANSPOSEEIGHT_H
