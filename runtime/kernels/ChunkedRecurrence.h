// SPDX-License-Identifier: Apache-2.0
// Linear attention on raw memory, in chunks: the gated delta rule, and without `beta` plain decayed attention. A head's
// state S [K,V], with q scaled by `scale`:
//
//   S <- e^g S;  u = beta (v - S^T k), or v without beta;  S <- S + k u^T;  o = S^T q
//
// A chunk of C positions with the state S at its start, a_i = e^{g_i}, e_i = a_0...a_i, G_ij = a_{j+1}...a_i (j <= i):
//
//   A = G * (Q K^T), j <= i        M = G * (K K^T), j < i
//   (I + M diag(beta)) [F | H] = [V | diag(e) K]            of the chunk alone
//   E = F - H S,  U = diag(beta) E                          without beta: U = E = V
//   O = diag(e) Q S + A U          S' = e_C S + (diag(G_C) K)^T U
//
// (* elementwise). The backward walks the chunks in reverse with R, the gradient of S', and dO:
//
//   (I + diag(beta) M)^T [P | Z] = [A^T dO | diag(G_C) K]   of the chunk alone
//   W = P + Z R,  X = diag(beta) W                          without beta: X = A^T dO + diag(G_C) K R
//   R <- e_C R + (diag(e) Q)^T dO - (diag(e) K)^T X         without beta: no X
//   dV = X,  dbeta_i = W_i . E_i              dA = dO U^T,  dM = -X U^T
//   dQ  = diag(e) dO S^T + (G * dA) K         dK+ = -diag(e) X S^T + (G * dM) K
//   dK- = diag(G_C) U R^T + (G * dA)^T Q + (G * dM)^T K     dK = dK+ + dK-
//
// With c_i = g_0 + ... + g_i, every term of dQ and dK+ carries e^{c_i} and every term of dK- carries e^{-c_i}, so that
// dc_i = q_i . dq_i + k_i . (dk+_i - dk-_i), plus <R, S'> for the last i; dg is its reversed running sum.
//
// What is of the chunk alone runs for all chunks at once, the passes of S and R for all heads and blocks of columns of
// values (the forms [F | H] and W are those of flash-linear-attention), and the rest again for all chunks. Where there
// are heads enough for all threads, a head goes through the same steps chunk by chunk, in cache. Either way the same
// sums are taken in the same order: results do not depend on the number of threads.
//
// The forward of a single position, as in decoding, is the recurrence above and no chunk.

#ifndef MORPH_RUNTIME_KERNELS_CHUNKEDRECURRENCE_H
#define MORPH_RUNTIME_KERNELS_CHUNKEDRECURRENCE_H

#include "runtime/plan/Workspace.h"

#include <cstdint>

namespace morph {

/// T is float or double. Shapes: B batch, T positions, H heads, K key and V value dimension.
template <typename T> struct RecurrenceProblem {
  plan::LinearAttentionSizes sizes;
  T scale = 1;
  const T *q = nullptr, *k = nullptr; ///< [B,T,H,K]
  const T *v = nullptr;               ///< [B,T,H,V]
  const T *g = nullptr;               ///< [B,T,H], or [H] for all positions where beta is null.
  const T *beta = nullptr;            ///< [B,T,H] or null.
  const T *state = nullptr;           ///< [B,H,K,V] before the first position; null: zero.
  bool rounds = false; ///< Products may round their factors to bf16, as fla's do; sums, solves and states are T.
};

template <typename T> struct RecurrenceGradients {
  T *dq, *dk, *dv; ///< Like q, k and v.
  T *dg;           ///< [B,T,H], or [B,H] where beta is null.
  T *dbeta;        ///< [B,T,H] or null.
};

/// o [B,T,H,V], and the state after the last position, which may be `state`. `workspace`:
/// plan::linearAttentionWorkspace bytes, aligned to 64.
template <typename T>
void recurrenceForward(const RecurrenceProblem<T> &problem, T *o, T *stateAfter, int threads, void *workspace);

/// The gradients for dO [B,T,H,V] and a zero gradient of the state after the last position. The states at the chunks'
/// starts are found again: of chunks as long as a head is wide they are as large as q. `workspace`:
/// plan::linearAttentionGradWorkspace bytes, aligned to 64.
template <typename T>
void recurrenceBackward(const RecurrenceProblem<T> &problem, const T *dO, const RecurrenceGradients<T> &gradients,
                        int threads, void *workspace);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_CHUNKEDRECURRENCE_H
