// SPDX-License-Identifier: Apache-2.0
#include "test/cuda/driver/Collectives.h"

#include <cmath>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(MORPH_SANITIZE)
#define MORPH_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MORPH_CLONES
#endif

namespace morph::standin {

namespace {

float asFloat(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
uint32_t asBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}
struct Bf16 {
  static constexpr int kElements = 2; ///< Of a register.
  static float read(uint32_t half) { return asFloat(half << 16); }
};
struct F16 {
  static constexpr int kElements = 2;
  static float read(uint32_t half) {
    uint32_t sign = (half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 0x3ff;
    if (exponent == 31)
      return asFloat(sign | 0x7f800000u | fraction << 13);
    if (exponent)
      return asFloat(sign | (exponent + 112) << 23 | fraction << 13);
    return asFloat(sign | asBits(float(fraction) * 0x1p-24f));
  }
};
struct Tf32 {
  static constexpr int kElements = 1;
  static float read(uint32_t bits) { return asFloat(bits & 0xffffe000u); } ///< Tensor cores read the upper 19 bits.
};

/// d = a (16 x k) * b (k x 8) + c. Products of these types are exact in double.
template <int K>
__attribute__((always_inline)) inline void multiply(const float *a, const float *b, const float *c, float *d) {
  for (int row = 0; row < 16; ++row) {
    double sum[8];
    for (int j = 0; j < 8; ++j)
      sum[j] = c[row * 8 + j];
    for (int i = 0; i < K; ++i) {
      double left = a[row * K + i];
      for (int j = 0; j < 8; ++j)
        sum[j] += left * double(b[i * 8 + j]);
    }
    for (int j = 0; j < 8; ++j) {
      float rounded = float(sum[j]);
      uint32_t bits = asBits(rounded);
      bits -= std::fabs(double(rounded)) > std::fabs(sum[j]) ? 1 : 0;
      d[row * 8 + j] = asFloat(bits);
    }
  }
}
MORPH_CLONES void multiply16(const float *a, const float *b, const float *c, float *d) { multiply<16>(a, b, c, d); }
MORPH_CLONES void multiply8(const float *a, const float *b, const float *c, float *d) { multiply<8>(a, b, c, d); }
MORPH_CLONES void multiply4(const float *a, const float *b, const float *c, float *d) { multiply<4>(a, b, c, d); }

/// Fragments as the PTX manual draws them.
template <typename Format, int K, int ARegisters, int BRegisters> void runMma(MorphThread *lanes) {
  float a[16 * K], b[K * 8], c[16 * 8], d[16 * 8];
  constexpr int n = Format::kElements, bits = 32 / n;
  constexpr uint32_t mask = n == 2 ? 0xffffu : 0xffffffffu;
  for (int lane = 0; lane < 32; ++lane) {
    const MorphThread &thread = lanes[lane];
    const int group = lane >> 2, place = lane & 3;
    for (int i = 0; i < ARegisters; ++i)
      for (int h = 0; h < n; ++h)
        a[(group + 8 * (i & 1)) * K + place * n + h + 4 * n * (i >> 1)] =
            Format::read(thread.in[i] >> (h * bits) & mask);
    for (int i = 0; i < BRegisters; ++i)
      for (int h = 0; h < n; ++h)
        b[(place * n + h + 4 * n * i) * 8 + group] = Format::read(thread.in[4 + i] >> (h * bits) & mask);
    for (int i = 0; i < 4; ++i)
      c[(group + 8 * (i >> 1)) * 8 + place * 2 + (i & 1)] = asFloat(thread.in[6 + i]);
  }
  (K == 16 ? multiply16 : K == 8 ? multiply8 : multiply4)(a, b, c, d);
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i)
      lanes[lane].out[i] = asBits(d[((lane >> 2) + 8 * (i >> 1)) * 8 + (lane & 3) * 2 + (i & 1)]);
}

void runShuffle(uint32_t kind, MorphThread *lanes, uint32_t mask) {
  for (uint32_t lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1))
      continue;
    MorphThread &thread = lanes[lane];
    uint32_t by = thread.in[1] & 31, clamp = thread.in[2] & 31, segments = thread.in[2] >> 8 & 31;
    uint32_t most = (lane & segments) | (clamp & ~segments), least = lane & segments;
    int source = 0;
    bool isInside = false;
    switch (kind) {
    case kShuffleUp:
      source = int(lane) - int(by);
      isInside = source >= int(most);
      break;
    case kShuffleDown:
      source = int(lane + by);
      isInside = source <= int(most);
      break;
    case kShuffleXor:
      source = int(lane ^ by);
      isInside = source <= int(most);
      break;
    default:
      source = int(least | (by & ~segments));
      isInside = source <= int(most);
      break;
    }
    if (!isInside)
      source = int(lane);
    // The value of a lane that takes no part is undefined.
    thread.out[0] = mask >> source & 1 ? lanes[source].in[0] : 0xffffffffu;
    thread.predicate = isInside;
  }
}

} // namespace

void runCollective(uint32_t kind, MorphThread *lanes, uint32_t mask) {
  switch (kind) {
  case kShuffleUp:
  case kShuffleDown:
  case kShuffleXor:
  case kShuffleIndex:
    return runShuffle(kind, lanes, mask);
  case kBallot: {
    uint32_t votes = 0;
    for (uint32_t lane = 0; lane < 32; ++lane)
      if (mask >> lane & 1 && lanes[lane].in[0])
        votes |= 1u << lane;
    for (uint32_t lane = 0; lane < 32; ++lane)
      if (mask >> lane & 1) {
        lanes[lane].out[0] = votes;
        lanes[lane].out[1] = mask;
      }
    return;
  }
  case kMmaM16N8K16Bf16:
    return runMma<Bf16, 16, 4, 2>(lanes);
  case kMmaM16N8K16F16:
    return runMma<F16, 16, 4, 2>(lanes);
  case kMmaM16N8K8Bf16:
    return runMma<Bf16, 8, 2, 1>(lanes);
  case kMmaM16N8K8F16:
    return runMma<F16, 8, 2, 1>(lanes);
  case kMmaM16N8K8Tf32:
    return runMma<Tf32, 8, 4, 2>(lanes);
  case kMmaM16N8K4Tf32:
    return runMma<Tf32, 4, 2, 1>(lanes);
  default:
    return;
  }
}

} // namespace morph::standin
