// SPDX-License-Identifier: Apache-2.0
// The operands of linear_attention as its two forms take them: by ChunkedRecurrence (LinearAttention.cpp), and position
// by position in ATen functions (LinearAttentionReference.cpp). dialect/MorphComputeOps.td says what they mean.

#ifndef MORPH_RUNTIME_KERNELS_LINEARATTENTION_H
#define MORPH_RUNTIME_KERNELS_LINEARATTENTION_H

#include "runtime/kernels/Kernel.h"

namespace morph {

/// Those that are absent are undefined. Shapes: B batch, T positions, G groups of the H heads, K key and V value
/// dimension, W columns of a state.
struct LinearAttentionInputs {
  /// Of linear_attention, or of its gradient, whose first operands are others.
  explicit LinearAttentionInputs(const KernelCall &call);

  at::Tensor q_BTGK, k_BTGK, v_BTHV;
  at::Tensor headDecay_H, decay_BTH, channelDecay_BTHK; ///< Natural logarithms; one at most.
  at::Tensor beta_BTH, write_BTHK, erase_BTHK, bonus_HK, state_BHKW;
  double scale = 1;
  int64_t chunk = 64;
  double normaliser = 0; ///< 0: none.
};

/// The reference of linear_attention: output and final state.
std::vector<at::Tensor> linearAttentionReference(const KernelCall &call);

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_LINEARATTENTION_H
