// SPDX-License-Identifier: Apache-2.0
// What linear_attention adds to its recurrence: the normaliser, the bonus of a position by itself, q and k that heads
// share. T is float or double. Shapes: B batch, T positions, H heads in G groups, K key and V value dimension, W
// columns of values, V + 1 with a normaliser; sizes.valueWidth is W. Every sum has a fixed order.

#ifndef MORPH_RUNTIME_KERNELS_LINEARATTENTIONTERMS_H
#define MORPH_RUNTIME_KERNELS_LINEARATTENTIONTERMS_H

#include "runtime/kernels/ChunkedRecurrence.h"

namespace morph {

/// values [lines,W] = v [lines,W-1] with a last column of ones.
template <typename T> void appendOnes(const plan::LinearAttentionSizes &sizes, const T *v, T *values, int threads);

/// o [lines,W-1] = sums [lines,W] divided by their last column plus eps.
template <typename T>
void normalise(const plan::LinearAttentionSizes &sizes, double eps, const T *sums, T *o, int threads);

/// The gradient of the sums [lines,W] for dO [lines,W-1].
template <typename T>
void normaliseGradient(const plan::LinearAttentionSizes &sizes, double eps, const T *sums, const T *dO, T *dSums,
                       int threads);

/// dv [lines,W-1] is dValues [lines,W] without the last column.
template <typename T> void dropOnes(const plan::LinearAttentionSizes &sizes, const T *dValues, T *dv, int threads);

/// Adds scale (sum_c bonus_c q_c k_c) v to o [B,T,H,W], with bonus [H,K].
template <typename T> void addBonus(const RecurrenceProblem<T> &problem, const T *bonus, T *o, int threads);

/// Adds to the gradients of q, k and v what comes of the bonus, and writes its own, dBonus [H,K].
template <typename T>
void addBonusGradients(const RecurrenceProblem<T> &problem, const T *bonus, const T *dO,
                       const RecurrenceGradients<T> &gradients, T *dBonus, int threads);

/// to [B,T,G,K] is the sum of x [B,T,H,K] over the heads of each group.
template <typename T> void sumGroups(const plan::LinearAttentionSizes &sizes, const T *x, T *to, int threads);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_LINEARATTENTIONTERMS_H
