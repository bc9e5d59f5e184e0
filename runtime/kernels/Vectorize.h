// SPDX-License-Identifier: Apache-2.0
// What loops over plain arrays need to be compiled for the vector unit of the machine that runs them. The loops call no
// library function, so that the compiler can vectorise them whole.

#ifndef MORPH_RUNTIME_KERNELS_VECTORIZE_H
#define MORPH_RUNTIME_KERNELS_VECTORIZE_H

#include <cmath>
#include <cstdint>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
/// Compiles a function once for each of these machines; the first call chooses.
#define MORPH_VECTORIZE __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MORPH_VECTORIZE
#endif
/// Defines `result name parameters` as `expression`, which knows how many fp32 `lanes` this machine's vectors have: 16,
/// 8 or 4; it is compiled once for each of these, and the first call chooses. `arguments` are the parameters' names.
#if defined(__x86_64__)
#define MORPH_LANES(result, name, parameters, expression, arguments)                                                   \
  namespace {                                                                                                          \
  __attribute__((target("arch=x86-64-v4"))) result name##On16 parameters {                                             \
    constexpr int lanes = 16;                                                                                          \
    return expression;                                                                                                 \
  }                                                                                                                    \
  __attribute__((target("arch=x86-64-v3"))) result name##On8 parameters {                                              \
    constexpr int lanes = 8;                                                                                           \
    return expression;                                                                                                 \
  }                                                                                                                    \
  result name##On4 parameters {                                                                                        \
    constexpr int lanes = 4;                                                                                           \
    return expression;                                                                                                 \
  }                                                                                                                    \
  }                                                                                                                    \
  result name parameters {                                                                                             \
    using Function = result(*) parameters;                                                                             \
    static const int width = vectorLanes();                                                                            \
    static const Function run = width == 16  ? Function(name##On16)                                                    \
                                : width == 8 ? Function(name##On8)                                                     \
                                             : Function(name##On4);                                                    \
    return run arguments;                                                                                              \
  }
#else
#define MORPH_LANES(result, name, parameters, expression, arguments)                                                   \
  result name parameters {                                                                                             \
    constexpr int lanes = 4;                                                                                           \
    return expression;                                                                                                 \
  }
#endif
#define MORPH_INLINE inline __attribute__((always_inline))
/// The same for a lambda, after its parameters.
#define MORPH_INLINE_LAMBDA __attribute__((always_inline))

// How functions on vectors would be called is no matter: they are inlined.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace morph {

#if defined(__x86_64__)
/// How many fp32 numbers this machine's vectors have, as the levels of x86-64 say it.
inline int vectorLanes() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512cd"))
    return 16;
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") ? 8 : 4;
}
#endif

/// e to the x in fp32 for -87 < x < 88, relative error below 2e-7 (tested): 2^n times a polynomial on [-ln2/2, ln2/2]
/// (Cephes' expf). Not a number stays that. X is float or a vector of it, Bits the unsigned integers of its size.
template <typename Bits, typename X> MORPH_INLINE X expInRange(X x) {
  // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer, which the sum's lowest bits hold.
  const X sum = x * 1.44269504f + 12582912.0f;
  const X n = sum - 12582912.0f;
  const X r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  X p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return p * __builtin_bit_cast(X, (__builtin_bit_cast(Bits, sum) + 127) << 23);
}
MORPH_INLINE float expInRange(float x) { return expInRange<uint32_t>(x); }

/// A number that is not negative, or zero where it is too small to matter: subnormal numbers are slow.
template <typename T> MORPH_INLINE T flushed(T x) { return x < (sizeof(T) == 4 ? T(1e-30) : T(1e-290)) ? T(0) : x; }

/// x held in [-limit, limit]. The limits below keep results in the normal range: the compiler computes the clamped case
/// for every vector, and a number below that range costs more than the whole vector.
MORPH_INLINE float held(float x, float limit) {
  x = x < -limit ? -limit : x;
  return x > limit ? limit : x;
}

/// e to the x, held at e^-80 and e^80.
MORPH_INLINE float fastExp(float x) { return expInRange(held(x, 80.0f)); }
MORPH_INLINE double fastExp(double x) { return std::exp(x); }

/// 1 / (1 + exp(-x)), held at its values of -60 (1e-26) and 60 (1).
MORPH_INLINE float fastSigmoid(float x) { return 1.0f / (1.0f + expInRange(-held(x, 60.0f))); }
MORPH_INLINE double fastSigmoid(double x) { return 1 / (1 + std::exp(-x)); }

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_VECTORIZE_H
