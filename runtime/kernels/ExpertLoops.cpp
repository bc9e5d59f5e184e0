// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernels/ExpertLoops.h"

#include "runtime/kernels/Vectorize.h"

namespace morph {

namespace {

MORPH_INLINE void store(float *to, float x) { *to = x; }
MORPH_INLINE void store(double *to, double x) { *to = x; }
MORPH_INLINE void store(Bf16 *to, float x) { *to = roundToBf16(x); }

template <typename Sum, typename Factor>
MORPH_INLINE void gatedRowOf(const Sum *gateUp, Sum factor, int64_t width, Factor *a) {
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) {
    const Sum g = gateUp[i];
    store(a + i, factor * (g * fastSigmoid(g)) * gateUp[width + i]);
  }
}

template <typename Sum, typename Factor>
MORPH_INLINE Sum gatedGradRowOf(const Sum *gateUp, const Sum *da, Sum factor, int64_t width, Factor *gradient) {
  Sum sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < width; ++i) {
    const Sum g = gateUp[i], u = gateUp[width + i], s = fastSigmoid(g), scaled = factor * da[i];
    sum += g * s * u * da[i];
    store(gradient + i, scaled * u * s * (1 + g * (1 - s)));
    store(gradient + width + i, scaled * g * s);
  }
  return sum;
}

} // namespace

MORPH_VECTORIZE void gatedRow(const float *gateUp, float factor, int64_t width, float *a) {
  gatedRowOf<float>(gateUp, factor, width, a);
}
MORPH_VECTORIZE void gatedRow(const float *gateUp, float factor, int64_t width, Bf16 *a) {
  gatedRowOf<float>(gateUp, factor, width, a);
}
void gatedRow(const double *gateUp, double factor, int64_t width, double *a) {
  gatedRowOf<double>(gateUp, factor, width, a);
}
MORPH_VECTORIZE float gatedGradRow(const float *gateUp, const float *da, float factor, int64_t width, float *gradient) {
  return gatedGradRowOf<float>(gateUp, da, factor, width, gradient);
}
MORPH_VECTORIZE float gatedGradRow(const float *gateUp, const float *da, float factor, int64_t width, Bf16 *gradient) {
  return gatedGradRowOf<float>(gateUp, da, factor, width, gradient);
}
double gatedGradRow(const double *gateUp, const double *da, double factor, int64_t width, double *gradient) {
  return gatedGradRowOf<double>(gateUp, da, factor, width, gradient);
}

} // namespace morph
