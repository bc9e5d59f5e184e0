// SPDX-License-Identifier: Apache-2.0
// Eight numbers as the compiler's vector: arithmetic is elementwise, a number counts as a vector of it. For loops whose
// sums the compiler's own vectors would keep in memory. To be inlined into functions that are compiled for the
// machine's vector unit.

#ifndef MORPH_RUNTIME_KERNELS_LANES_H
#define MORPH_RUNTIME_KERNELS_LANES_H

#include "runtime/kernels/Bf16.h"

#include <cstdint>

namespace morph {

typedef float Lanes __attribute__((vector_size(32), aligned(4), may_alias));
typedef uint32_t Words __attribute__((vector_size(32))); ///< Their bits.
constexpr int64_t kLanes = 8;

MORPH_INLINE Lanes loadLanes(const float *x) { return *reinterpret_cast<const Lanes *>(x); }
MORPH_INLINE Lanes loadLanes(const Bf16 *x) {
  typedef uint16_t Halves __attribute__((vector_size(16), aligned(2), may_alias));
  return __builtin_bit_cast(Lanes, __builtin_convertvector(*reinterpret_cast<const Halves *>(x), Words) << 16);
}
/// Sixteen numbers, in an order of the type's own: for sums of products, whose factors may come in any.
struct LanePair {
  Lanes first, second;
};
MORPH_INLINE LanePair loadPair(const float *x) { return {loadLanes(x), loadLanes(x + kLanes)}; }
/// The even and the odd ones: a shift and a mask where their own order takes a shuffle, too.
MORPH_INLINE LanePair loadPair(const Bf16 *x) {
  typedef uint32_t Pairs __attribute__((vector_size(32), aligned(2), may_alias));
  const Words pairs = *reinterpret_cast<const Pairs *>(x);
  return {__builtin_bit_cast(Lanes, pairs << 16), __builtin_bit_cast(Lanes, pairs & 0xffff0000u)};
}
MORPH_INLINE void storeLanes(float *y, Lanes x) { *reinterpret_cast<Lanes *>(y) = x; }
MORPH_INLINE void storeLanes(Bf16 *y, Lanes x) {
  for (int64_t i = 0; i < kLanes; ++i)
    y[i] = roundToBf16(x[i]);
}

MORPH_INLINE float sumOf(Lanes x) { return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7])); }
MORPH_INLINE double sumOf(double x) { return x; }

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_LANES_H
