// SPDX-License-Identifier: Apache-2.0
// Linear attention with a fixed decay for each head (lightning attention, RetNet's retention). Extra: log_decay [H],
// the logarithm of the decay, not positive. A head's state S [K,V], with q scaled by `scale`:
//
//   S <- e^g S + k v^T;  o = S^T q
//
// Computed by ChunkedRecurrence, where the chunk algebra and the gradients stand.

#include "runtime/kernels/LinearAttention.h"

namespace morph {
namespace {

constexpr const char *kKind = "fixed_decay";

class FixedDecay : public LinearAttentionKernel {
public:
  void checkExtras(const LinearAttentionInputs &x) const override {
    TORCH_CHECK(x.extras.size() == 1 && x.extras[0].dim() == 1 && x.extras[0].size(0) == x.q_BTHK.size(2),
                "linear_attention '", kKind, "': expected the extra log_decay [H], for q ", x.q_BTHK.sizes());
  }

  LinearAttentionResult recurrent(const LinearAttentionInputs &inputs) const override {
    const LinearAttentionInputs x = prepareInputs(inputs);
    checkExtras(x);
    const at::Tensor decay = x.extras[0].exp().unsqueeze(-1).unsqueeze(-1);
    at::Tensor state = inputs.state_BHKV.defined() ? inputs.state_BHKV.to(x.q_BTHK.scalar_type()) : x.state_BHKV;
    std::vector<at::Tensor> outputs;
    for (int64_t t = 0; t < x.q_BTHK.size(1); ++t) {
      const at::Tensor q = x.q_BTHK.select(1, t) * x.scale, k = x.k_BTHK.select(1, t), v = x.v_BTHV.select(1, t);
      state = decay * state + k.unsqueeze(-1) * v.unsqueeze(-2);
      outputs.push_back((state * q.unsqueeze(-1)).sum(-2));
    }
    return {outputs.empty() ? at::empty_like(x.v_BTHV) : at::stack(outputs, 1), state};
  }
};

const LinearAttentionRegistration registration(kKind, std::make_unique<FixedDecay>());

} // namespace
} // namespace morph
