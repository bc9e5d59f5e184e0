// SPDX-License-Identifier: Apache-2.0
// The ops linear_attention and linear_attention_grad: the chunked recurrence and the terms around it.

#include "runtime/kernels/LinearAttention.h"

#include "runtime/kernels/ChunkedRecurrence.h"
#include "runtime/kernels/LinearAttentionTerms.h"
#include "runtime/kernels/ScratchAllocator.h"
#include "runtime/kernels/SmallProducts.h"

#include <ATen/Parallel.h>

#include <algorithm>

namespace morph {

LinearAttentionInputs::LinearAttentionInputs(const KernelCall &call)
    : scale(call.number("scale")), chunk(call.integer("chunk")),
      normaliser(call.flag("normaliser") ? call.number("normaliser") : 0) {
  at::Tensor *const all[] = {&q_BTGK,   &k_BTGK,     &v_BTHV,     &headDecay_H, &decay_BTH, &channelDecay_BTHK,
                             &beta_BTH, &write_BTHK, &erase_BTHK, &bonus_HK,    &state_BHKW};
  // Behind them are the begins of documents, of which a kernel sees one at a time.
  size_t next = call.operands.size() - 1 - std::size(all);
  for (at::Tensor *operand : all)
    *operand = call.operands[next++];
}

namespace {

/// fp32 of bf16: a copy in the scratch.
at::Tensor widened(const at::Tensor &x, ScratchAllocator &scratch) {
  if (x.scalar_type() != at::kBFloat16)
    return x;
  return at::from_blob(scratch.take<float>(x.numel()), x.sizes(), x.options().dtype(at::kFloat)).copy_(x);
}

template <typename T> const T *dataOf(const at::Tensor &x) { return x.defined() ? x.const_data_ptr<T>() : nullptr; }

/// What the forward keeps for the backward, undefined where it is not there.
struct KeptTensors {
  at::Tensor states_BHNKW, written_BTHW;
};

/// The recurrence of operands of one type, without what the normaliser changes of v.
template <typename T> RecurrenceProblem<T> problemOf(const LinearAttentionInputs &x, bool rounds) {
  RecurrenceProblem<T> p;
  const int64_t length = x.q_BTGK.size(1);
  p.sizes.batch = x.q_BTGK.size(0);
  p.sizes.length = length;
  p.sizes.heads = x.v_BTHV.size(2);
  p.sizes.groups = x.q_BTGK.size(2);
  p.sizes.width = x.q_BTGK.size(3);
  p.sizes.valueWidth = x.v_BTHV.size(3) + (x.normaliser ? 1 : 0);
  p.sizes.chunk = std::max<int64_t>(1, std::min(x.chunk, length));
  p.sizes.update = x.beta_BTH.defined()     ? plan::StateUpdate::Delta
                   : x.write_BTHK.defined() ? plan::StateUpdate::Free
                                            : plan::StateUpdate::Add;
  p.sizes.channelDecay = x.channelDecay_BTHK.defined();
  p.sizes.normalised = x.normaliser != 0;
  p.scale = T(x.scale);
  p.q = dataOf<T>(x.q_BTGK);
  p.k = dataOf<T>(x.k_BTGK);
  p.v = dataOf<T>(x.v_BTHV);
  p.headDecay = dataOf<T>(x.headDecay_H);
  p.decay = dataOf<T>(x.decay_BTH);
  p.channelDecay = dataOf<T>(x.channelDecay_BTHK);
  p.beta = dataOf<T>(x.beta_BTH);
  p.write = dataOf<T>(x.write_BTHK);
  p.erase = dataOf<T>(x.erase_BTHK);
  p.state = dataOf<T>(x.state_BHKW);
  p.rounds = rounds;
  return p;
}

int64_t lines(const plan::LinearAttentionSizes &s) { return s.batch * s.length * s.heads; }

/// The outputs before the normaliser divides them; `p` has its values.
template <typename T>
void computeSums(const RecurrenceProblem<T> &p, const T *bonus, T *sums, T *stateAfter, ScratchAllocator scratch) {
  const int threads = at::get_num_threads();
  recurrenceForward<T>(p, sums, stateAfter, threads, scratch);
  if (bonus)
    addBonus<T>(p, bonus, sums, threads);
}

/// What the forward leaves for the backward, which only reads it.
template <typename T> void addKept(const KeptTensors &kept, RecurrenceProblem<T> &p) {
  p.states = const_cast<T *>(dataOf<T>(kept.states_BHNKW));
  p.written = const_cast<T *>(dataOf<T>(kept.written_BTHW));
  p.sizes.hasStates = kept.states_BHNKW.defined();
}

/// v with a column of ones, where there is a normaliser.
template <typename T> void extendValues(RecurrenceProblem<T> &p, ScratchAllocator &scratch) {
  if (!p.sizes.normalised)
    return;
  T *const values = scratch.take<T>(lines(p.sizes) * p.sizes.valueWidth);
  appendOnes<T>(p.sizes, p.v, values, at::get_num_threads());
  p.v = values;
}

template <typename T>
void forwardInto(const LinearAttentionInputs &x, bool rounds, const at::Tensor &o, const at::Tensor &state,
                 const KeptTensors &kept, ScratchAllocator scratch) {
  RecurrenceProblem<T> p = problemOf<T>(x, rounds);
  addKept(kept, p);
  extendValues(p, scratch);
  T *const out = o.mutable_data_ptr<T>();
  T *const sums = x.normaliser ? scratch.take<T>(lines(p.sizes) * p.sizes.valueWidth) : out;
  computeSums(p, dataOf<T>(x.bonus_HK), sums, state.mutable_data_ptr<T>(), scratch);
  if (x.normaliser)
    normalise<T>(p.sizes, x.normaliser, sums, out, at::get_num_threads());
}

/// `results`: gradients of q, k and v, then of the others that are present, in order.
template <typename T>
void backwardInto(const LinearAttentionInputs &x, bool rounds, const at::Tensor &dO, const KeptTensors &kept,
                  const std::vector<at::Tensor> &results, ScratchAllocator scratch) {
  RecurrenceProblem<T> p = problemOf<T>(x, rounds);
  const plan::LinearAttentionSizes &s = p.sizes;
  const int threads = at::get_num_threads();
  size_t next = 0;
  auto take = [&](const at::Tensor &operand) {
    return operand.defined() ? results[next++].mutable_data_ptr<T>() : nullptr;
  };
  T *const dq = take(x.q_BTGK), *const dk = take(x.k_BTGK), *const dv = take(x.v_BTHV);
  RecurrenceGradients<T> to{dq, dk, dv};
  to.dHeadDecay = take(x.headDecay_H);
  to.dDecay = take(x.decay_BTH);
  to.dChannelDecay = take(x.channelDecay_BTHK);
  to.dBeta = take(x.beta_BTH);
  to.dWrite = take(x.write_BTHK);
  to.dErase = take(x.erase_BTHK);
  T *const dBonus = take(x.bonus_HK);

  const T *const bonus = dataOf<T>(x.bonus_HK), *dSums = dO.const_data_ptr<T>();
  extendValues(p, scratch);
  if (x.normaliser) {
    T *const sums = scratch.take<T>(lines(s) * s.valueWidth), *const d = scratch.take<T>(lines(s) * s.valueWidth),
             *const after = scratch.take<T>(s.batch * s.heads * s.width * s.valueWidth);
    to.dv = scratch.take<T>(lines(s) * s.valueWidth);
    computeSums(p, bonus, sums, after, scratch);
    normaliseGradient<T>(s, x.normaliser, sums, dSums, d, threads);
    dSums = d;
  }
  if (s.groups < s.heads) {
    to.dq = scratch.take<T>(lines(s) * s.width);
    to.dk = scratch.take<T>(lines(s) * s.width);
  }
  addKept(kept, p);
  recurrenceBackward<T>(p, dSums, to, threads, scratch);
  if (bonus)
    addBonusGradients<T>(p, bonus, dSums, to, dBonus, threads);
  if (x.normaliser)
    dropOnes<T>(s, to.dv, dv, threads);
  if (s.groups < s.heads) {
    sumGroups<T>(s, to.dq, dq, threads);
    sumGroups<T>(s, to.dk, dk, threads);
  }
}

/// Widens q, k and v to fp32 where they are bf16. Whether products then round their other factors, too.
bool widen(LinearAttentionInputs &x, ScratchAllocator &scratch) {
  const bool rounds = x.q_BTGK.scalar_type() == at::kBFloat16 && roundsFactors();
  for (at::Tensor *factor : {&x.q_BTGK, &x.k_BTGK, &x.v_BTHV})
    *factor = widened(*factor, scratch);
  return rounds;
}

void linearAttention(const KernelCall &call) {
  LinearAttentionInputs x(call);
  KeptTensors kept;
  size_t next = 2;
  if (call.flag("keep_states"))
    kept.states_BHNKW = call.results[next++];
  if (call.flag("keep_written"))
    kept.written_BTHW = call.results[next];
  ScratchAllocator scratch = call.scratch;
  const bool rounds = widen(x, scratch);
  if (x.q_BTGK.scalar_type() == at::kDouble)
    forwardInto<double>(x, rounds, call.results[0], call.results[1], kept, scratch);
  else
    forwardInto<float>(x, rounds, call.results[0], call.results[1], kept, scratch);
}

void linearAttentionGrad(const KernelCall &call) {
  LinearAttentionInputs x(call);
  ScratchAllocator scratch = call.scratch;
  const bool rounds = widen(x, scratch);
  const at::Tensor dO = widened(call.operands[0], scratch);
  const KeptTensors kept{call.operands[1], call.operands[2]};
  if (x.q_BTGK.scalar_type() == at::kDouble)
    backwardInto<double>(x, rounds, dO, kept, call.results, scratch);
  else
    backwardInto<float>(x, rounds, dO, kept, call.results, scratch);
}

const KernelRegistration forwardRegistration("linear_attention", {linearAttention, linearAttentionReference});
const KernelRegistration backwardRegistration("linear_attention_grad", {linearAttentionGrad});

} // namespace
} // namespace morph
