// SPDX-License-Identifier: Apache-2.0
// attention and attention_grad: causal grouped-query softmax attention with a window, left padding and rings of keys
// and values, by BlockAttention. The gradient takes the result and the logarithms of its rows' sums, or has the forward
// find them again.
//
// bf16 operands are factors of products as they are where that is faster (multipliesBf16), and widened to fp32
// where it is not, or for a single query (decoding), whose products wait for memory. Sums and softmax are fp32.
// Shapes: B batch, T queries, S keys, H query heads, G key-value heads, R = H / G, D head dimension.

#include "runtime/kernels/BlockAttention.h"
#include "runtime/kernels/Kernel.h"
#include "runtime/kernels/ScratchAllocator.h"
#include "runtime/kernels/SmallProducts.h"
#include "runtime/plan/Rings.h"

#include <ATen/Parallel.h>

#include <limits>

namespace morph {
namespace {

/// Operands of attention_grad, which follow dy, q, k, v and start.
constexpr size_t kOut = 5, kLse = 6;

struct Problem {
  at::Tensor q_BTHD, k_BSGD, v_BSGD, start_B;
  at::Tensor offset_B; ///< Position of each first query; then the key of position p lies in slot p mod S. Undefined:
                       ///< the last query stands at the last key.
  double scale = 1;
  int64_t window = 0;               ///< 0: none.
  double softcap = 0;               ///< 0: none.
  at::ScalarType type = at::kFloat; ///< Of the products' operands.

  int64_t queries() const { return q_BTHD.size(1); }
  int64_t keys() const { return k_BSGD.size(1); }
  int64_t group() const { return q_BTHD.size(2) / k_BSGD.size(2); }
  AttentionProblem raw() const {
    return {{q_BTHD.size(0), queries(), keys(), q_BTHD.size(2), k_BSGD.size(2), q_BTHD.size(3)},
            offset_B.defined() ? offset_B.const_data_ptr<int64_t>() : nullptr,
            scale,
            window,
            softcap,
            start_B.defined() ? start_B.const_data_ptr<int64_t>() : nullptr};
  }
};

/// `first`: the place of q among the operands; `hasOffset`: whether the op may have one, after start.
Problem problemOf(const KernelCall &call, size_t first, bool hasOffset) {
  Problem p;
  p.q_BTHD = call.operands[first];
  p.k_BSGD = call.operands[first + 1];
  p.v_BSGD = call.operands[first + 2];
  if (call.operands[first + 3].defined())
    p.start_B = call.operands[first + 3];
  p.scale = call.number("scale");
  if (call.flag("window"))
    p.window = call.integer("window");
  if (call.flag("softcap"))
    p.softcap = call.number("softcap");
  const at::Tensor &q = p.q_BTHD, &k = p.k_BSGD;
  TORCH_CHECK(q.dim() == 4 && k.dim() == 4 && k.sizes() == p.v_BSGD.sizes() && q.size(0) == k.size(0) &&
                  q.size(3) == k.size(3) && k.size(2) > 0 && q.size(2) % k.size(2) == 0,
              call.instruction.op, ": expected q [B,T,H,D] and k, v [B,S,G,D] with H a multiple of G, but got ",
              q.sizes(), ", ", k.sizes(), " and ", p.v_BSGD.sizes());
  if (hasOffset && call.operands[first + 4].defined())
    p.offset_B = call.operands[first + 4];
  for (const at::Tensor &ofRows : {p.start_B, p.offset_B})
    TORCH_CHECK(!ofRows.defined() || (ofRows.dim() == 1 && ofRows.size(0) == q.size(0)), call.instruction.op,
                ": expected start and offset [B] for a batch of ", q.size(0), ", but got ", ofRows.sizes());
  const AttentionProblem raw = p.raw();
  for (int64_t b = 0; b < q.size(0); ++b) {
    // The keys that any of the queries sees, but for padding.
    const int64_t position = raw.position(b), seen = plan::positionsSeen(position, q.size(1), p.window);
    TORCH_CHECK(position >= 0 && seen <= k.size(1), call.instruction.op, ": ", q.size(1), " queries from position ",
                position, " on see ", seen, " keys, but there are ", k.size(1));
  }
  if (q.scalar_type() == at::kDouble)
    p.type = at::kDouble;
  else if (q.scalar_type() == at::kBFloat16 && q.size(1) > 1 && multipliesBf16())
    p.type = at::kBFloat16;
  return p;
}

/// The plain definition in ATen functions, what autograd records: the result, and the logarithms of its rows' sums.
std::vector<at::Tensor> attendByAten(const Problem &p) {
  // Keys in the order of positions: the last S of them up to the last query's, those before position 0 not visible.
  const at::Tensor first_B1 = p.offset_B.defined() ? p.offset_B.view({-1, 1})
                                                   : at::full({p.q_BTHD.size(0), 1}, p.keys() - p.queries(), at::kLong);
  const at::Tensor query_BT1 = (first_B1 + at::arange(p.queries(), at::kLong)).unsqueeze(2);
  const at::Tensor key_BS = first_B1 + p.queries() - p.keys() + at::arange(p.keys(), at::kLong);
  const at::Tensor key_B1S = key_BS.unsqueeze(1);
  at::Tensor visible = (key_B1S <= query_BT1).logical_and(key_B1S >= 0);
  if (p.window > 0)
    visible = visible.logical_and(key_B1S > query_BT1 - p.window);
  if (p.start_B.defined())
    visible = visible.logical_and(key_B1S >= p.start_B.view({-1, 1, 1}));
  visible = visible.unsqueeze(1);
  auto widened = [](const at::Tensor &x) { return x.scalar_type() == at::kBFloat16 ? x.to(at::kFloat) : x; };
  auto forHeads = [&](const at::Tensor &x_BSGD) {
    at::Tensor inOrder = widened(x_BSGD);
    if (p.offset_B.defined()) {
      const at::Tensor slot_BS11 = key_BS.remainder(p.keys()).unsqueeze(2).unsqueeze(3);
      inOrder = inOrder.gather(1, slot_BS11.expand_as(inOrder));
      // What no position has filled may be anything.
      inOrder = inOrder.masked_fill((key_BS < 0).unsqueeze(2).unsqueeze(3), 0);
    }
    return inOrder.repeat_interleave(p.group(), 2).transpose(1, 2);
  };
  const at::Tensor k_BHSD = forHeads(p.k_BSGD), v_BHSD = forHeads(p.v_BSGD);
  at::Tensor scores_BHTS = at::matmul(widened(p.q_BTHD).transpose(1, 2), k_BHSD.transpose(2, 3)) * p.scale;
  if (p.softcap > 0)
    scores_BHTS = at::tanh(scores_BHTS / p.softcap) * p.softcap;
  // A finite floor and a second masking: a row that sees no key gives zero, not the mean of all values.
  const double floor = std::numeric_limits<float>::lowest();
  const at::Tensor shares_BHTS = at::softmax(scores_BHTS.masked_fill(visible.logical_not(), floor), -1) * visible;
  const at::Tensor infinite = at::full({}, std::numeric_limits<double>::infinity(), scores_BHTS.options());
  return {at::matmul(shares_BHTS, v_BHSD).transpose(1, 2),
          at::where(visible.any(-1).expand({-1, scores_BHTS.size(1), -1}),
                    at::logsumexp(scores_BHTS.masked_fill(visible.logical_not(), floor), -1), infinite)};
}

/// A tensor's memory as BlockAttention takes it.
template <typename E> const E *dataOf(const at::Tensor &x) { return static_cast<const E *>(x.const_data_ptr()); }

template <typename T> T *resultOf(const KernelCall &call, size_t index) {
  return call.results[index].mutable_data_ptr<T>();
}

/// A factor of products in their type: itself, or a copy in the scratch.
at::Tensor factor(ScratchAllocator &scratch, const at::Tensor &x, at::ScalarType type) {
  if (x.scalar_type() == type)
    return x;
  const int64_t bytes = x.numel() * static_cast<int64_t>(c10::elementSize(type));
  return at::from_blob(scratch.take<char>(bytes), x.sizes(), x.options().dtype(type)).copy_(x);
}

template <typename E, typename T, typename C = E>
void attendAs(const Problem &p, const at::Tensor &out, const at::Tensor &lse, ScratchAllocator scratch) {
  attentionForward<E, T, C>(p.raw(), dataOf<C>(p.q_BTHD), dataOf<C>(p.k_BSGD), dataOf<C>(p.v_BSGD),
                            out.mutable_data_ptr<T>(), lse.defined() ? lse.mutable_data_ptr<T>() : nullptr,
                            at::get_num_threads(), scratch);
}

/// The forward into `out` and, where it is defined, `lse`.
void attend(const Problem &p, const at::Tensor &out, const at::Tensor &lse, ScratchAllocator scratch) {
  if (p.type == at::kDouble)
    attendAs<double, double>(p, out, lse, scratch);
  else if (p.type == at::kBFloat16)
    attendAs<Bf16, float>(p, out, lse, scratch);
  else if (p.q_BTHD.scalar_type() == at::kBFloat16)
    attendAs<float, float, Bf16>(p, out, lse, scratch);
  else
    attendAs<float, float>(p, out, lse, scratch);
}

template <typename E, typename T> void attendGradient(const KernelCall &call, const Problem &p) {
  ScratchAllocator scratch = call.scratch;
  const T *out, *lse;
  if (call.operands[kLse].defined()) {
    out = dataOf<T>(call.operands[kOut]);
    lse = dataOf<T>(call.operands[kLse]);
  } else {
    // The forward once more, the very same; its result lies where dq will.
    const std::vector<int64_t> shape = {p.q_BTHD.size(0), p.q_BTHD.size(2), p.queries()};
    T *const found = scratch.take<T>(shape[0] * shape[1] * shape[2]);
    attend(p, call.results[0], at::from_blob(found, shape, call.results[0].options()), scratch);
    out = resultOf<T>(call, 0);
    lse = found;
  }
  const at::Tensor q = factor(scratch, p.q_BTHD, p.type), k = factor(scratch, p.k_BSGD, p.type),
                   v = factor(scratch, p.v_BSGD, p.type), dO = factor(scratch, call.operands[0], p.type);
  attentionBackward<E, T>(p.raw(), dataOf<E>(dO), dataOf<E>(q), dataOf<E>(k), dataOf<E>(v), out, lse,
                          resultOf<T>(call, 0), resultOf<T>(call, 1), resultOf<T>(call, 2), at::get_num_threads(),
                          scratch);
}

void attention(const KernelCall &call) {
  const Problem p = problemOf(call, 0, /*hasOffset=*/true);
  if (p.q_BTHD.numel() > 0)
    attend(p, call.results[0], call.flag("keep_lse") ? call.results[1] : at::Tensor(), call.scratch);
}
std::vector<at::Tensor> attentionReference(const KernelCall &call) {
  std::vector<at::Tensor> results = attendByAten(problemOf(call, 0, /*hasOffset=*/true));
  results.resize(call.flag("keep_lse") ? 2 : 1);
  return results;
}

void attentionGrad(const KernelCall &call) {
  const Problem p = problemOf(call, 1, /*hasOffset=*/false);
  if (p.q_BTHD.numel() == 0) {
    for (const at::Tensor &result : call.results)
      result.zero_();
    return;
  }
  if (p.type == at::kDouble)
    attendGradient<double, double>(call, p);
  else if (p.type == at::kBFloat16)
    attendGradient<Bf16, float>(call, p);
  else
    attendGradient<float, float>(call, p);
}

const KernelRegistration forwardRegistration("attention", {attention, attentionReference});
const KernelRegistration backwardRegistration("attention_grad", {attentionGrad});

} // namespace
} // namespace morph
