// SPDX-License-Identifier: Apache-2.0
// The row loops of softmax attention. A row holds the products x of one query with a block of `n` keys, of which those
// of [first, last) are visible to it. Compiled for several vector units.

#ifndef MORPH_RUNTIME_KERNELS_ATTENTIONLOOPS_H
#define MORPH_RUNTIME_KERNELS_ATTENTIONLOOPS_H

#include "runtime/kernels/Bf16.h"

#include <cstdint>

namespace morph {

/// A row's softmax so far: the greatest product, the sum of exp(scale * (x - most)), and the sum of these times
/// numbers of the keys.
template <typename T> struct RowSums {
  T most, sum, inner;
};

/// y = exp(scale * (x - most)) for the visible keys and zero for the others, with the row's `most` after this block.
/// `sums` goes on, and the result is what the sums before have been multiplied by. `y` may be `x`.
float addExponentials(const float *x, float *y, int64_t first, int64_t last, int64_t n, float scale,
                      RowSums<float> *sums);
double addExponentials(const double *x, double *y, int64_t first, int64_t last, int64_t n, double scale,
                       RowSums<double> *sums);
/// The same; y rounded to bf16, the sum is of the unrounded values.
float addExponentials(const float *x, Bf16 *y, int64_t first, int64_t last, int64_t n, float scale,
                      RowSums<float> *sums);

/// The same with what shares are summed up with: `sums` goes on with `dp`; nothing is stored.
void addInner(const float *x, const float *dp, int64_t first, int64_t last, int64_t n, float scale,
              RowSums<float> *sums);
void addInner(const double *x, const double *dp, int64_t first, int64_t last, int64_t n, double scale,
              RowSums<double> *sums);

/// The shares p = exp(scale * x - lse) of the visible keys, zero for the others, and the gradient ds = scale * p * (dp
/// - inner) of the products. `lse` is the logarithm of the sum of exp(scale * x) over all that the row sees, `inner`
/// the sum of its shares times their gradients. `p` may be `x`, and `ds` may be `dp`.
void softmaxGradient(const float *x, const float *dp, float *p, float *ds, int64_t first, int64_t last, int64_t n,
                     float lse, float inner, float scale);
void softmaxGradient(const double *x, const double *dp, double *p, double *ds, int64_t first, int64_t last, int64_t n,
                     double lse, double inner, double scale);
/// The same; p and ds rounded to bf16.
void softmaxGradient(const float *x, const float *dp, Bf16 *p, Bf16 *ds, int64_t first, int64_t last, int64_t n,
                     float lse, float inner, float scale);

/// x = tanh(factor * x): a product in the place of which scores are multiples of this.
void capRow(float *x, int64_t n, float factor);
void capRow(double *x, int64_t n, double factor);

/// The same, and dp = factor * (1 - x^2) * (dp - inner) with the new x.
void capGradient(float *x, float *dp, int64_t n, float factor, float inner);
void capGradient(double *x, double *dp, int64_t n, double factor, double inner);

/// The inner product of two rows.
float innerProduct(const float *x, const float *y, int64_t n);
float innerProduct(const Bf16 *x, const float *y, int64_t n);
double innerProduct(const double *x, const double *y, int64_t n);

/// x *= factor
void scaleRow(float *x, int64_t n, float factor);
void scaleRow(double *x, int64_t n, double factor);

/// y += factor * x
void addScaledRow(const float *x, float *y, int64_t n, float factor);
void addScaledRow(const double *x, double *y, int64_t n, double factor);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_ATTENTIONLOOPS_H
