// SPDX-License-Identifier: Apache-2.0
// The interface of a linear-attention backend's kernel. One file a backend; a static registration makes it known.
// Shapes: B batch, T positions, H heads, K key and V value dimension.

#ifndef MORPH_RUNTIME_KERNELS_LINEARATTENTION_H
#define MORPH_RUNTIME_KERNELS_LINEARATTENTION_H

#include <ATen/ATen.h>

#include <memory>
#include <string>
#include <vector>

namespace morph {

struct LinearAttentionInputs {
  at::Tensor q_BTHK, k_BTHK, v_BTHV;
  std::vector<at::Tensor> extras; ///< What the backend documents: decay, beta, ...
  at::Tensor state_BHKV;          ///< Before the first position; undefined: zero.
  double scale = 1;               ///< Multiplies q.
  int64_t chunk = 64;
  bool rounds = false; ///< q, k and v were rounded to bf16: products may round their other factors, too.
};

struct LinearAttentionResult {
  at::Tensor o_BTHV;
  at::Tensor state_BHKV; ///< After the last position.
};

struct LinearAttentionGradients {
  at::Tensor dq_BTHK, dk_BTHK, dv_BTHV;
  std::vector<at::Tensor> dextras;
};

/// The recurrence of one backend. Every backend keeps the contracts of test/kernels/LinearAttentionTest.cpp:
/// chunked = recurrent for any chunk and length, a split sequence = the whole, left padding of zeros = none. Inputs are
/// fp32 or fp64, and computed in their type, or q, k and v are bf16 and the rest fp32; the state is never of lower
/// precision than fp32.
class LinearAttentionKernel {
public:
  virtual ~LinearAttentionKernel() = default;
  /// Throws where the extras are not those of the backend.
  virtual void checkExtras(const LinearAttentionInputs &inputs) const = 0;
  /// Position by position in ATen functions, the plain reference, differentiable by autograd.
  virtual LinearAttentionResult recurrent(const LinearAttentionInputs &inputs) const = 0;

  /// By ChunkedRecurrence; where autograd records, `recurrent`.
  LinearAttentionResult forward(const LinearAttentionInputs &inputs) const;
  /// Gradients for a zero gradient of the final state.
  LinearAttentionGradients backward(const LinearAttentionInputs &inputs, const at::Tensor &do_BTHV) const;
};

/// The operands contiguous and of one floating type (that of q, or fp32 where q is bf16: `rounds`), shapes checked.
/// The state becomes a fresh tensor, zero where absent.
LinearAttentionInputs prepareInputs(const LinearAttentionInputs &inputs);

/// The kernel of a backend, or null.
const LinearAttentionKernel *findLinearAttention(const std::string &kind);

/// The names of all backends, sorted.
std::vector<std::string> linearAttentionKinds();

struct LinearAttentionRegistration {
  LinearAttentionRegistration(const std::string &kind, std::unique_ptr<LinearAttentionKernel> kernel);
};

} // namespace morph

#endif // MORPH_RUNTIME_KERNELS_LINEARATTENTION_H
