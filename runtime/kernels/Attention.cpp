// SPDX-License-Identifier: Apache-2.0
// attention and attention_grad: causal grouped-query softmax attention with a window, left padding and a cache, by
// BlockAttention. Nothing is saved for the gradient: it finds the sums of each row again.
//
// Factors of products are bf16 under Precision::BF16 where that is faster (hasFastBf16Multiply), sums and softmax fp32.
// A single query (decoding) stays in fp32, as converting a whole cache would cost more than the products.
// Shapes: B batch, T queries, S keys, H query heads, G key-value heads, R = H / G, D head dimension.

#include "runtime/kernels/BlockAttention.h"
#include "runtime/kernels/Kernel.h"
#include "runtime/kernels/Rows.h"
#include "runtime/kernels/SmallProducts.h"

#include <ATen/Parallel.h>

#include <limits>
#include <type_traits>

namespace morph {
namespace {

struct Problem {
  at::Tensor q_BTHD, k_BSGD, v_BSGD, start_B;
  double scale = 1;
  int64_t window = 0;               ///< 0: none.
  at::ScalarType type = at::kFloat; ///< Of the products' operands.

  int64_t queries() const { return q_BTHD.size(1); }
  int64_t keys() const { return k_BSGD.size(1); }
  int64_t group() const { return q_BTHD.size(2) / k_BSGD.size(2); }
  AttentionProblem raw() const {
    return {{q_BTHD.size(0), queries(), keys(), q_BTHD.size(2), k_BSGD.size(2), q_BTHD.size(3)},
            scale,
            window,
            start_B.defined() ? start_B.const_data_ptr<int64_t>() : nullptr};
  }
};

Problem problemOf(const KernelCall &call, size_t first) {
  Problem p;
  p.q_BTHD = call.operands[first];
  p.k_BSGD = call.operands[first + 1];
  p.v_BSGD = call.operands[first + 2];
  if (call.operands[first + 3].defined())
    p.start_B = call.operands[first + 3].to(at::kLong).contiguous();
  p.scale = call.number("scale");
  if (call.flag("window"))
    p.window = call.integer("window");
  const at::Tensor &q = p.q_BTHD, &k = p.k_BSGD;
  TORCH_CHECK(q.dim() == 4 && k.dim() == 4 && k.sizes() == p.v_BSGD.sizes() && q.size(0) == k.size(0) &&
                  q.size(3) == k.size(3) && q.size(1) <= k.size(1) && k.size(2) > 0 && q.size(2) % k.size(2) == 0,
              call.instruction.op,
              ": expected q [B,T,H,D] and k, v [B,S,G,D] with T <= S and H a multiple of G, but got ", q.sizes(), ", ",
              k.sizes(), " and ", p.v_BSGD.sizes());
  TORCH_CHECK(!p.start_B.defined() || (p.start_B.dim() == 1 && p.start_B.size(0) == q.size(0)), call.instruction.op,
              ": expected start [B] for a batch of ", q.size(0), ", but got ", p.start_B.sizes());
  if (q.scalar_type() == at::kDouble)
    p.type = at::kDouble;
  else if (call.precision == Precision::BF16 && q.size(1) > 1 && hasFastBf16Multiply())
    p.type = at::kBFloat16;
  return p;
}

/// The plain definition in ATen functions: what autograd records.
at::Tensor attendByAten(const Problem &p) {
  const at::Tensor query_T1 = at::arange(p.keys() - p.queries(), p.keys(), at::kLong).unsqueeze(1);
  const at::Tensor key_S = at::arange(p.keys(), at::kLong);
  at::Tensor visible = key_S <= query_T1;
  if (p.window > 0)
    visible = visible.logical_and(key_S > query_T1 - p.window);
  if (p.start_B.defined())
    visible = visible.logical_and(key_S >= p.start_B.view({-1, 1, 1, 1}));
  const at::Tensor k_BHSD = p.k_BSGD.repeat_interleave(p.group(), 2).transpose(1, 2),
                   v_BHSD = p.v_BSGD.repeat_interleave(p.group(), 2).transpose(1, 2);
  const at::Tensor scores_BHTS = at::matmul(p.q_BTHD.transpose(1, 2), k_BHSD.transpose(2, 3)) * p.scale;
  // A finite floor and a second masking: a row that sees no key gives zero, not the mean of all values.
  const double floor = std::numeric_limits<float>::lowest();
  const at::Tensor shares_BHTS = at::softmax(scores_BHTS.masked_fill(visible.logical_not(), floor), -1) * visible;
  return at::matmul(shares_BHTS, v_BHSD).transpose(1, 2);
}

/// A tensor's memory as BlockAttention takes it.
template <typename E> const E *dataOf(const at::Tensor &x) { return static_cast<const E *>(x.const_data_ptr()); }

at::Tensor workspace(int64_t bytes) { return at::empty({bytes}, at::kByte); }

template <typename E, typename T> at::Tensor attend(const Problem &p) {
  const at::Tensor q = p.q_BTHD.to(p.type).contiguous(), k = p.k_BSGD.to(p.type).contiguous(),
                   v = p.v_BSGD.to(p.type).contiguous();
  const at::Tensor o = at::empty(q.sizes(), at::TensorOptions(c10::CppTypeToScalarType<T>::value));
  const AttentionProblem raw = p.raw();
  const int threads = at::get_num_threads();
  const at::Tensor scratch = workspace(plan::attentionWorkspace(raw.sizes, threads, sizeof(E), sizeof(T)));
  attentionForward<E, T>(raw, dataOf<E>(q), dataOf<E>(k), dataOf<E>(v), o.mutable_data_ptr<T>(), nullptr, threads,
                         scratch.mutable_data_ptr());
  return o;
}

template <typename E, typename T> std::vector<at::Tensor> attendGradient(const Problem &p, const at::Tensor &dy_BTHD) {
  const at::Tensor q = p.q_BTHD.to(p.type).contiguous(), k = p.k_BSGD.to(p.type).contiguous(),
                   v = p.v_BSGD.to(p.type).contiguous(), dO = dy_BTHD.to(p.type).contiguous();
  const at::TensorOptions options(c10::CppTypeToScalarType<T>::value);
  const at::Tensor dq = at::empty(q.sizes(), options), dk = at::empty(k.sizes(), options),
                   dv = at::empty(k.sizes(), options);
  const AttentionProblem raw = p.raw();
  const int threads = at::get_num_threads();
  const at::Tensor scratch = workspace(plan::attentionGradWorkspace(raw.sizes, threads, sizeof(E), sizeof(T)));
  attentionBackward<E, T>(raw, dataOf<E>(dO), dataOf<E>(q), dataOf<E>(k), dataOf<E>(v), {}, dq.mutable_data_ptr<T>(),
                          dk.mutable_data_ptr<T>(), dv.mutable_data_ptr<T>(), threads, scratch.mutable_data_ptr());
  return {dq, dk, dv};
}

std::vector<at::Tensor> attention(const KernelCall &call) {
  const Problem p = problemOf(call, 0);
  if (p.q_BTHD.numel() == 0)
    return {at::zeros_like(p.q_BTHD)};
  if (recording() && (p.q_BTHD.requires_grad() || p.k_BSGD.requires_grad() || p.v_BSGD.requires_grad()))
    return {attendByAten(p)};
  if (p.type == at::kDouble)
    return {attend<double, double>(p)};
  return {p.type == at::kBFloat16 ? attend<Bf16, float>(p) : attend<float, float>(p)};
}

std::vector<at::Tensor> attentionGrad(const KernelCall &call) {
  const Problem p = problemOf(call, 1);
  const at::Tensor &dy_BTHD = call.operands[0];
  if (p.q_BTHD.numel() == 0)
    return {at::zeros_like(p.q_BTHD), at::zeros_like(p.k_BSGD), at::zeros_like(p.v_BSGD)};
  if (p.type == at::kDouble)
    return attendGradient<double, double>(p, dy_BTHD);
  return p.type == at::kBFloat16 ? attendGradient<Bf16, float>(p, dy_BTHD) : attendGradient<float, float>(p, dy_BTHD);
}

const KernelRegistration forwardRegistration("attention", attention);
const KernelRegistration backwardRegistration("attention_grad", attentionGrad);

} // namespace
} // namespace morph
