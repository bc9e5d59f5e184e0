// SPDX-License-Identifier: Apache-2.0
// Plain loops of a training step's updates. Arrays are contiguous and do not overlap. fp32 versions are compiled for
// several vector units.

#ifndef MORPH_RUNTIME_KERNELS_UPDATELOOPS_H
#define MORPH_RUNTIME_KERNELS_UPDATELOOPS_H

#include <cstdint>

namespace morph {

/// sum += share * x
void accumulateRow(const float *x, float share, float *sum, int64_t count);
void accumulateRow(const double *x, double share, double *sum, int64_t count);

/// x *= factor
void scaleRow(float *x, float factor, int64_t count);
void scaleRow(double *x, double factor, int64_t count);

/// The factors of a step of AdamW: the op `adamw` (dialect/MorphUpdateOps.td) with t, beta and the rate worked out.
struct AdamwStep {
  double keep = 1;                        ///< 1 - r * weight_decay
  double first = 0, second = 0;           ///< 1 - beta1, 1 - beta2
  double rate = 0, root = 1, epsilon = 0; ///< r / (1 - beta1^t), 1 / sqrt(1 - beta2^t)
};
/// One step of `count` parameters and their moments, in place; the gradient overlaps none of them.
void adamwRow(const AdamwStep &step, const float *gradient, float *parameter, float *first, float *second,
              int64_t count);
void adamwRow(const AdamwStep &step, const double *gradient, double *parameter, double *first, double *second,
              int64_t count);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_UPDATELOOPS_H
