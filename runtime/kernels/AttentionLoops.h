// SPDX-License-Identifier: Apache-2.0
// The row loops of softmax attention. A row holds the products of one query with `n` keys, of which those of
// [first, last) are visible to it. Compiled for several vector units.

#ifndef MORPH_RUNTIME_KERNELS_ATTENTIONLOOPS_H
#define MORPH_RUNTIME_KERNELS_ATTENTIONLOOPS_H

#include <c10/util/BFloat16.h>

#include <cstdint>

namespace morph {

/// y_j = exp(scale * (x_j - max x)) for the visible keys, zero for the others, and returns the sum of y. Where no key
/// is visible the sum is 0. `y` may be `x`.
float exponentials(const float *x, float *y, int64_t first, int64_t last, int64_t n, float scale);
double exponentials(const double *x, double *y, int64_t first, int64_t last, int64_t n, double scale);
/// The same; y rounded to bf16, the sum is of the unrounded values.
float exponentials(const float *x, c10::BFloat16 *y, int64_t first, int64_t last, int64_t n, float scale);

/// From the exponentials e, their reciprocal sum and the gradient dp of the shares p = reciprocal * e: p, and the
/// gradient ds = scale * p * (dp - sum(p * dp)) of the products. `p` may be `e`, and `ds` may be `dp`.
void softmaxGradient(const float *e, const float *dp, float *p, float *ds, int64_t n, float reciprocal, float scale);
void softmaxGradient(const double *e, const double *dp, double *p, double *ds, int64_t n, double reciprocal,
                     double scale);
/// The same; p and ds rounded to bf16.
void softmaxGradient(const float *e, const float *dp, c10::BFloat16 *p, c10::BFloat16 *ds, int64_t n, float reciprocal,
                     float scale);

/// x *= factor
void scaleRow(float *x, int64_t n, float factor);
void scaleRow(double *x, int64_t n, double factor);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_ATTENTIONLOOPS_H
