// SPDX-License-Identifier: Apache-2.0
// bf16 as bits: the upper half of an fp32 number. The layout is that of c10::BFloat16, which this header does not need.

#ifndef MORPH_RUNTIME_KERNELS_BF16_H
#define MORPH_RUNTIME_KERNELS_BF16_H

#include "runtime/kernels/Vectorize.h"

#include <cstdint>

namespace morph {

struct Bf16 {
  uint16_t bits;
};

MORPH_INLINE float widen(float x) { return x; }
MORPH_INLINE double widen(double x) { return x; }
MORPH_INLINE float widen(Bf16 x) { return __builtin_bit_cast(float, static_cast<uint32_t>(x.bits) << 16); }

/// To the nearest, ties to even; what is not a number stays so.
MORPH_INLINE Bf16 roundToBf16(float value) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return {static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded)};
}

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_BF16_H
