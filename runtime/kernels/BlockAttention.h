// SPDX-License-Identifier: Apache-2.0
// Causal grouped-query softmax attention on raw memory, in blocks of queries and keys: no row of scores is ever whole.
// E is the type of the products' factors (float, Bf16, double), T of their sums and the results (float, double). C is
// that of the forward's operands: E, or Bf16 that is widened a block at a time where factors are float.
//
// Results do not depend on the number of threads: every sum runs over blocks of keys, or of queries and the heads of a
// group, in ascending order, whoever computes them. The backward takes o and what the forward has found of its rows,
// whether kept or found again by the forward itself, so that its bits are the same.

#ifndef MORPH_RUNTIME_KERNELS_BLOCKATTENTION_H
#define MORPH_RUNTIME_KERNELS_BLOCKATTENTION_H

#include "runtime/kernels/Bf16.h"
#include "runtime/kernels/ScratchAllocator.h"

#include <cstdint>

namespace morph {

struct AttentionProblem {
  plan::AttentionSizes sizes;
  const int64_t *offset = nullptr; ///< [B]: positions of the first queries; null: the last query is at the last key.
  double scale = 1;                ///< Of the products of queries and keys; positive.
  int64_t window = 0;              ///< Keys that a query sees, itself included; 0: all before it.
  double softcap = 0;              ///< Scores are softcap * tanh(scale * product / softcap); 0: scale * product.
  const int64_t *start = nullptr;  ///< [B]: the first key that is seen; null: 0.

  /// Of a sequence's first query. The key of position p lies in row p mod S.
  int64_t position(int64_t b) const { return offset ? offset[b] : sizes.keys - sizes.queries; }

  /// What scores are multiples of: products, or tanh(capFactor() * product), which takes a product's place in memory.
  double factor() const { return softcap > 0 ? softcap : scale; }
  double capFactor() const { return scale / softcap; }
};

/// o [B,T,H,D] = softmax(scale q k^T) v for q [B,T,H,D] and k, v [B,S,G,D], of which the keys that any query sees are
/// no more than S. A row that sees no key gives zero. `lse`, unless null: [B,H,T], the logarithms of the rows' sums of
/// exp(scale q k^T), infinity where a row sees no key. `scratch`: plan::attentionWorkspace bytes, aligned to 64.
template <typename E, typename T, typename C>
void attentionForward(const AttentionProblem &problem, const C *q, const C *k, const C *v, T *o, T *lse, int threads,
                      ScratchAllocator scratch);

/// The gradients dq, dk and dv for that of o, all written whole; the last query stands at the last key. With S = scale
/// q k^T and P = exp(S - lse): dS = scale P * (dP - rowsum(do * o)) with dP = do v^T; dq = dS k, dk = dS^T q, dv = P^T
/// do. `o` and `lse` are the forward's; o may lie where dq will. `scratch`: plan::attentionGradWorkspace bytes, aligned
/// to 64.
template <typename E, typename T>
void attentionBackward(const AttentionProblem &problem, const E *dO, const E *q, const E *k, const E *v, const T *o,
                       const T *lse, T *dq, T *dk, T *dv, int threads, ScratchAllocator scratch);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_BLOCKATTENTION_H
