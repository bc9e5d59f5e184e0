// SPDX-License-Identifier: Apache-2.0
// Loops of mixtures of experts over one row. Sum is float or double, Factor that or Bf16.

#ifndef MORPH_RUNTIME_KERNELS_EXPERTLOOPS_H
#define MORPH_RUNTIME_KERNELS_EXPERTLOOPS_H

#include "runtime/kernels/Bf16.h"

#include <cstdint>

namespace morph {

/// a = factor * silu(g) * u, rounded to the factors of the next product; g and u are the halves of gateUp [2F], a is
/// [F].
void gatedRow(const float *gateUp, float factor, int64_t width, float *a);
void gatedRow(const float *gateUp, float factor, int64_t width, Bf16 *a);
void gatedRow(const double *gateUp, double factor, int64_t width, double *a);

/// The gradients of gatedRow with factor 1: `gradient` [2F] of g and u for factor * da [F]. Returns the sum of
/// silu(g) * u * da, which is the gradient of a factor of the row.
float gatedGradRow(const float *gateUp, const float *da, float factor, int64_t width, float *gradient);
float gatedGradRow(const float *gateUp, const float *da, float factor, int64_t width, Bf16 *gradient);
double gatedGradRow(const double *gateUp, const double *da, double factor, int64_t width, double *gradient);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_EXPERTLOOPS_H
