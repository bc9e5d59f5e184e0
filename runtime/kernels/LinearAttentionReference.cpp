// SPDX-License-Identifier: Apache-2.0
// linear_attention position by position, as its definition has it (dialect/MorphComputeOps.td): the tests' oracle.

#include "runtime/kernels/LinearAttention.h"

namespace morph {

std::vector<at::Tensor> linearAttentionReference(const KernelCall &call) {
  const LinearAttentionInputs x(call);
  const at::ScalarType type = x.q_BTGK.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const int64_t heads = x.v_BTHV.size(2), width = x.q_BTGK.size(3), values = x.v_BTHV.size(3);
  auto ofHeads = [&](const at::Tensor &shared) { return shared.to(type).repeat_interleave(heads / shared.size(2), 2); };
  const at::Tensor q_BTHK = ofHeads(x.q_BTGK), k_BTHK = ofHeads(x.k_BTGK);
  at::Tensor v_BTHW = x.v_BTHV.to(type);
  if (x.normaliser)
    v_BTHW = at::cat({v_BTHW, at::ones_like(v_BTHW.slice(3, 0, 1))}, 3);
  const at::Tensor decay_HK1 = x.headDecay_H.defined() ? x.headDecay_H.exp().view({heads, 1, 1}) : at::Tensor();
  at::Tensor state = x.state_BHKW.defined()
                         ? x.state_BHKW.to(type)
                         : at::zeros({x.q_BTGK.size(0), heads, width, v_BTHW.size(3)}, v_BTHW.options());
  std::vector<at::Tensor> outputs, states, written;
  for (int64_t t = 0; t < x.q_BTGK.size(1); ++t) {
    auto column = [&](const at::Tensor &rows_BTHK) { return rows_BTHK.select(1, t).unsqueeze(-1); };
    auto read = [&](const at::Tensor &rows_BTHK) { return (state * column(rows_BTHK)).sum(-2); };
    auto write = [&](const at::Tensor &rows_BTHK, const at::Tensor &values_BHW) {
      return column(rows_BTHK) * values_BHW.unsqueeze(-2);
    };
    if (t % x.chunk == 0)
      states.push_back(state);
    const at::Tensor v = v_BTHW.select(1, t);
    if (decay_HK1.defined())
      state = decay_HK1 * state;
    if (x.decay_BTH.defined())
      state = column(x.decay_BTH.exp()).unsqueeze(-1) * state;
    if (x.channelDecay_BTHK.defined())
      state = column(x.channelDecay_BTHK.exp()) * state;
    written.push_back(x.beta_BTH.defined() ? v - read(k_BTHK) : x.write_BTHK.defined() ? read(x.erase_BTHK) : v);
    if (x.beta_BTH.defined())
      state = state + write(k_BTHK, column(x.beta_BTH) * written.back());
    else if (x.write_BTHK.defined())
      state = state + write(x.write_BTHK, written.back()) + write(k_BTHK, v);
    else
      state = state + write(k_BTHK, v);
    at::Tensor o = read(q_BTHK);
    if (x.bonus_HK.defined())
      o = o + (x.bonus_HK * q_BTHK.select(1, t) * k_BTHK.select(1, t)).sum(-1, true) * v;
    outputs.push_back(o * x.scale);
  }
  // Of no positions there is nothing.
  std::vector<at::Tensor> results(2);
  if (call.flag("keep_states"))
    results.push_back(states.empty() ? state.unsqueeze(2).slice(2, 0, 0) : at::stack(states, 2));
  if (call.flag("keep_written"))
    results.push_back(written.empty() ? at::empty_like(v_BTHW) : at::stack(written, 1));
  at::Tensor o = outputs.empty() ? at::empty_like(v_BTHW) : at::stack(outputs, 1);
  if (x.normaliser)
    o = o.slice(3, 0, values) / (o.slice(3, values) + x.normaliser);
  results[0] = o;
  results[1] = state;
  return results;
}

} // namespace morph
