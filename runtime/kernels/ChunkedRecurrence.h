// SPDX-License-Identifier: Apache-2.0
// Linear attention on raw memory, in chunks. A head's state S [K,V], with q scaled by `scale` and D the diagonal matrix
// of a position's decays e^g, one for all K channels or one each:
//
//   S <- D S + a (b^T D S) + k v^T;  o = S^T q             update Free
//   S <- D S + k v^T                                       update Add
//   S <- D S + k beta (v - (D S)^T k)^T                    update Delta: a = -beta k, b = k, and beta v instead of v
//
// A chunk of C positions with the state S at its start, a_i = D_i, e_i = a_0 ... a_i, f_i = a_{i+1} ... a_{C-1}. Of
// rows X and Y, X:Y is the matrix of sum_c x_ic y_jc (e_i / e_j)_c, which is G * (X Y^T) where all channels decay
// alike, G_ij = a_{j+1} ... a_i (* elementwise). Rows that read the state are Q and B, rows that are written A and K:
//
//   A_a = Q:A, A_k = Q:K, j <= i                           M_a = B:A, M_k = B:K, j < i
//   (I - M_a) [F | H] = [M_k V | e B]                      of the chunk alone
//   W = F + H S                                            row i is what position i reads, b^T D S
//   O = (e Q) S + A_a W + A_k V                            S' = e_{C-1} S + (f A)^T W + (f K)^T V
//
// Of the delta rule with E = V - W: (I + M_k diag(beta)) [F | H] = [V | e K], E = F - H S, U = diag(beta) E, O =
// (e Q) S + A_k U, S' = e_{C-1} S + (f K)^T U. Without a, U = V. The backward walks the chunks in reverse with R, the
// gradient of S', and dO:
//
//   (I - M_a)^T [P | Z] = [A_a^T dO | f A]                 of the chunk alone
//   Y = P + Z R                                            the gradient of W
//   R <- e_{C-1} R + (e Q)^T dO + (e B)^T Y                dV = A_k^T dO + M_k^T Y + (f K) R
//
// Of the delta rule: (I + diag(beta) M_k)^T [P | Z] = [A_k^T dO | f K], X = diag(beta) (P + Z R), Y = -X, dV = X,
// dbeta_i = (P + Z R)_i . E_i. With L = [Q; B], dL = [dO; Y], what is written N = [A; K], U = [W; V] and dM = dL U^T on
// and below the diagonals of the four blocks (those of B below alone):
//
//   dL = e dL S^T + dM:N                                   dN = f U R^T + dM^T:L
//
// where dM:N is the sum over j of dM_ij n_j e_i / e_j, and dM^T:L that over i. The key of the delta rule is both B and
// N. With c_i = g_0 + ... + g_i every term of dL carries e^{c_i} and every term of dN e^{-c_i}, so that a channel has
// dc_i = l_i dl_i - n_i dn_i, plus the channel's sum of R * S' for the last i; dg is its reversed running sum, added up
// over channels that decay alike.
//
// What is of the chunk alone runs for all chunks at once, the passes of S and R for all heads and blocks of columns of
// values (the forms [F | H] and Y are those of flash-linear-attention), and the rest again for all chunks. Where there
// are heads enough for all threads, a head goes through the same steps chunk by chunk, in cache. Either way the same
// sums are taken in the same order: results do not depend on the number of threads.
//
// The forward of a single position, as in decoding, is the recurrence above and no chunk, unless a backward follows.

#ifndef MORPH_RUNTIME_KERNELS_CHUNKEDRECURRENCE_H
#define MORPH_RUNTIME_KERNELS_CHUNKEDRECURRENCE_H

#include "runtime/kernels/ScratchAllocator.h"

#include <cstdint>

namespace morph {

/// T is float or double. Shapes: B batch, T positions, H heads, G groups of heads that share q and k, K key and V value
/// dimension. Decays are natural logarithms, not positive; of the three one is there at most, `channelDecay` if
/// sizes.channelDecay.
template <typename T> struct RecurrenceProblem {
  plan::LinearAttentionSizes sizes;
  T scale = 1;
  const T *q = nullptr, *k = nullptr;         ///< [B,T,G,K]
  const T *v = nullptr;                       ///< [B,T,H,V]
  const T *headDecay = nullptr;               ///< [H] or null.
  const T *decay = nullptr;                   ///< [B,T,H] or null.
  const T *channelDecay = nullptr;            ///< [B,T,H,K] or null.
  const T *beta = nullptr;                    ///< [B,T,H], of StateUpdate::Delta.
  const T *write = nullptr, *erase = nullptr; ///< a and b [B,T,H,K], of StateUpdate::Free.
  const T *state = nullptr;                   ///< [B,H,K,V] before the first position; null: zero.
  /// What the forward leaves where they are not null, and the backward finds again where they are: the states
  /// [B,H,chunks,K,V] at the chunks' starts (if sizes.hasStates), and [B,T,H,V] W, E of the delta rule, or v.
  T *states = nullptr, *written = nullptr;
  bool rounds = false; ///< Products round their factors to bf16, as fla's do; sums, solves and states are T.
};

/// Where the gradients go, null for what the problem has not.
template <typename T> struct RecurrenceGradients {
  T *dq = nullptr, *dk = nullptr; ///< [B,T,H,K]: those of each head.
  T *dv = nullptr;                ///< Like v.
  T *dHeadDecay = nullptr, *dDecay = nullptr, *dChannelDecay = nullptr, *dBeta = nullptr, *dWrite = nullptr,
    *dErase = nullptr; ///< Like their operands.
};

/// o [B,T,H,V], and the state after the last position, which may be `state`. `scratch`: plan::recurrenceWorkspace
/// bytes, aligned to 64.
template <typename T>
void recurrenceForward(const RecurrenceProblem<T> &problem, T *o, T *stateAfter, int threads, ScratchAllocator scratch);

/// The gradients for dO [B,T,H,V] and a zero gradient of the state after the last position: the same bits whether the
/// problem has `states` and `written`, which of chunks as long as a head is wide are as large as q each, or not.
/// `scratch`: plan::recurrenceGradWorkspace bytes, aligned to 64.
template <typename T>
void recurrenceBackward(const RecurrenceProblem<T> &problem, const T *dO, const RecurrenceGradients<T> &gradients,
                        int threads, ScratchAllocator scratch);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_CHUNKEDRECURRENCE_H
