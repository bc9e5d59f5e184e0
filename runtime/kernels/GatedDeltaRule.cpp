// SPDX-License-Identifier: Apache-2.0
// The gated delta rule (Gated DeltaNet). Extras: g [B,T,H], the logarithm of the decay, and beta [B,T,H]. A head's
// state S [K,V], with q scaled by `scale`:
//
//   S <- e^g S;  u = beta (v - S^T k);  S <- S + k u^T;  o = S^T q
//
// Computed by ChunkedRecurrence, where the chunk algebra and the gradients stand.

#include "runtime/kernels/LinearAttention.h"

namespace morph {
namespace {

constexpr const char *kKind = "gated_delta_rule";

class GatedDeltaRule : public LinearAttentionKernel {
public:
  void checkExtras(const LinearAttentionInputs &x) const override {
    TORCH_CHECK(x.extras.size() == 2 && x.extras[0].sizes() == x.q_BTHK.sizes().slice(0, 3) &&
                    x.extras[1].sizes() == x.q_BTHK.sizes().slice(0, 3),
                "linear_attention '", kKind, "': expected the extras g and beta, both [B,T,H], for q ",
                x.q_BTHK.sizes());
  }

  LinearAttentionResult recurrent(const LinearAttentionInputs &inputs) const override {
    const LinearAttentionInputs x = prepareInputs(inputs);
    checkExtras(x);
    const at::Tensor decays = x.extras[0].exp();
    at::Tensor state = inputs.state_BHKV.defined() ? inputs.state_BHKV.to(x.q_BTHK.scalar_type()) : x.state_BHKV;
    std::vector<at::Tensor> outputs;
    for (int64_t t = 0; t < x.q_BTHK.size(1); ++t) {
      const at::Tensor q = x.q_BTHK.select(1, t) * x.scale, k = x.k_BTHK.select(1, t), v = x.v_BTHV.select(1, t);
      const at::Tensor decay = decays.select(1, t).unsqueeze(-1).unsqueeze(-1);
      const at::Tensor beta = x.extras[1].select(1, t).unsqueeze(-1);
      state = decay * state;
      const at::Tensor u = beta * (v - (state * k.unsqueeze(-1)).sum(-2));
      state = state + k.unsqueeze(-1) * u.unsqueeze(-2);
      outputs.push_back((state * q.unsqueeze(-1)).sum(-2));
    }
    return {outputs.empty() ? at::empty_like(x.v_BTHV) : at::stack(outputs, 1), state};
  }
};

const LinearAttentionRegistration registration(kKind, std::make_unique<GatedDeltaRule>());

} // namespace
} // namespace morph
