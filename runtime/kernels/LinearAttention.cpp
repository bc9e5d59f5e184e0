// SPDX-License-Identifier: Apache-2.0
// The registry of linear-attention kernels, and the ops linear_attention and linear_attention_grad on top of it.

#include "runtime/kernels/LinearAttention.h"
#include "runtime/kernels/ChunkedRecurrence.h"
#include "runtime/kernels/Kernel.h"

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <map>

namespace morph {
namespace {

using Registry = std::map<std::string, std::unique_ptr<LinearAttentionKernel>>;

/// A function's static: registrations of other files may come before this file's statics.
Registry &registry() {
  static Registry instance;
  return instance;
}

const LinearAttentionKernel &kernelOf(const KernelCall &call) {
  const std::string kind = call.text("kind");
  const LinearAttentionKernel *kernel = findLinearAttention(kind);
  if (!kernel) {
    std::string known;
    for (const std::string &name : linearAttentionKinds())
      known += (known.empty() ? "'" : ", '") + name + "'";
    TORCH_CHECK(false, call.instruction.op, ": no linear-attention kernel '", kind, "'; known are ", known);
  }
  return *kernel;
}

/// The operands from number `first` on: q, k, v, extras ..., state.
LinearAttentionInputs inputsOf(const KernelCall &call, size_t first) {
  TORCH_CHECK(call.operands.size() >= first + 4, call.instruction.op, ": expected at least ", first + 4,
              " operands (q, k, v, extras, state), but got ", call.operands.size());
  LinearAttentionInputs inputs;
  inputs.q_BTHK = call.operands[first];
  inputs.k_BTHK = call.operands[first + 1];
  inputs.v_BTHV = call.operands[first + 2];
  inputs.extras.assign(call.operands.begin() + static_cast<int64_t>(first) + 3, call.operands.end() - 1);
  inputs.state_BHKV = call.operands.back();
  inputs.scale = call.number("scale");
  inputs.chunk = call.integer("chunk");
  return inputs;
}

std::vector<at::Tensor> linearAttention(const KernelCall &call) {
  LinearAttentionResult result = kernelOf(call).forward(inputsOf(call, 0));
  return {result.o_BTHV, result.state_BHKV};
}

std::vector<at::Tensor> linearAttentionGrad(const KernelCall &call) {
  LinearAttentionGradients gradients = kernelOf(call).backward(inputsOf(call, 1), call.operands.front());
  std::vector<at::Tensor> results = {gradients.dq_BTHK, gradients.dk_BTHK, gradients.dv_BTHV};
  results.insert(results.end(), gradients.dextras.begin(), gradients.dextras.end());
  return results;
}

const KernelRegistration forwardRegistration("linear_attention", linearAttention);
const KernelRegistration backwardRegistration("linear_attention_grad", linearAttentionGrad);

} // namespace

const LinearAttentionKernel *findLinearAttention(const std::string &kind) {
  auto found = registry().find(kind);
  return found == registry().end() ? nullptr : found->second.get();
}

std::vector<std::string> linearAttentionKinds() {
  std::vector<std::string> kinds;
  for (const auto &entry : registry())
    kinds.push_back(entry.first);
  return kinds;
}

LinearAttentionInputs prepareInputs(const char *kind, const LinearAttentionInputs &inputs) {
  const at::Tensor &q = inputs.q_BTHK, &k = inputs.k_BTHK, &v = inputs.v_BTHV;
  TORCH_CHECK(q.dim() == 4 && q.sizes() == k.sizes() && v.dim() == 4 && v.sizes().slice(0, 3) == q.sizes().slice(0, 3),
              "linear_attention '", kind, "': expected q, k [B,T,H,K] and v [B,T,H,V], but got ", q.sizes(), ", ",
              k.sizes(), " and ", v.sizes());
  TORCH_CHECK(inputs.chunk > 0, "linear_attention '", kind, "': expected a positive chunk, but got ", inputs.chunk);
  const at::ScalarType type = q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  LinearAttentionInputs result;
  result.q_BTHK = q.to(type).contiguous();
  result.k_BTHK = k.to(type).contiguous();
  result.v_BTHV = v.to(type).contiguous();
  for (const at::Tensor &extra : inputs.extras)
    result.extras.push_back(extra.to(type).contiguous());
  const std::vector<int64_t> shape = {q.size(0), q.size(2), q.size(3), v.size(3)};
  if (inputs.state_BHKV.defined()) {
    TORCH_CHECK(inputs.state_BHKV.sizes() == at::IntArrayRef(shape), "linear_attention '", kind,
                "': expected a state of shape ", at::IntArrayRef(shape), ", but got ", inputs.state_BHKV.sizes());
    result.state_BHKV = at::empty(shape, result.q_BTHK.options()).copy_(inputs.state_BHKV);
  } else {
    result.state_BHKV = at::zeros(shape, result.q_BTHK.options());
  }
  result.scale = inputs.scale;
  result.chunk = std::max<int64_t>(1, std::min(inputs.chunk, q.size(1)));
  return result;
}

bool recorded(const LinearAttentionInputs &inputs) {
  if (!c10::GradMode::is_enabled())
    return false;
  bool any = inputs.q_BTHK.requires_grad() || inputs.k_BTHK.requires_grad() || inputs.v_BTHV.requires_grad() ||
             (inputs.state_BHKV.defined() && inputs.state_BHKV.requires_grad());
  for (const at::Tensor &extra : inputs.extras)
    any = any || extra.requires_grad();
  return any;
}

namespace {

template <typename T> RecurrenceProblem<T> problemOf(const LinearAttentionInputs &x) {
  RecurrenceProblem<T> p;
  p.sizes = {x.q_BTHK.size(0), x.q_BTHK.size(1), x.q_BTHK.size(2), x.q_BTHK.size(3), x.v_BTHV.size(3), x.chunk};
  p.scale = T(x.scale);
  p.q = x.q_BTHK.const_data_ptr<T>();
  p.k = x.k_BTHK.const_data_ptr<T>();
  p.v = x.v_BTHV.const_data_ptr<T>();
  p.g = x.extras[0].const_data_ptr<T>();
  p.beta = x.extras.size() > 1 ? x.extras[1].const_data_ptr<T>() : nullptr;
  p.state = x.state_BHKV.const_data_ptr<T>();
  return p;
}

template <typename T> LinearAttentionResult forwardOf(const LinearAttentionInputs &x) {
  const RecurrenceProblem<T> p = problemOf<T>(x);
  const int threads = at::get_num_threads();
  const at::Tensor scratch = at::empty({plan::linearAttentionWorkspace(p.sizes, threads, sizeof(T))}, at::kByte);
  LinearAttentionResult result{at::empty_like(x.v_BTHV), x.state_BHKV};
  recurrenceForward<T>(p, result.o_BTHV.mutable_data_ptr<T>(), result.state_BHKV.mutable_data_ptr<T>(), nullptr,
                       threads, scratch.mutable_data_ptr());
  return result;
}

template <typename T> LinearAttentionGradients backwardOf(const LinearAttentionInputs &x, const at::Tensor &dO) {
  const RecurrenceProblem<T> p = problemOf<T>(x);
  const int threads = at::get_num_threads();
  const at::Tensor scratch = at::empty({plan::linearAttentionGradWorkspace(p.sizes, threads, sizeof(T))}, at::kByte);
  LinearAttentionGradients result{at::empty_like(x.q_BTHK), at::empty_like(x.k_BTHK), at::empty_like(x.v_BTHV), {}};
  at::Tensor dg = p.beta ? at::empty_like(x.extras[0]) : at::empty({p.sizes.batch, p.sizes.heads}, x.q_BTHK.options());
  at::Tensor dbeta = p.beta ? at::empty_like(x.extras[1]) : at::Tensor();
  recurrenceBackward<T>(p, dO.const_data_ptr<T>(), nullptr,
                        {result.dq_BTHK.mutable_data_ptr<T>(), result.dk_BTHK.mutable_data_ptr<T>(),
                         result.dv_BTHV.mutable_data_ptr<T>(), dg.mutable_data_ptr<T>(),
                         p.beta ? dbeta.mutable_data_ptr<T>() : nullptr},
                        threads, scratch.mutable_data_ptr());
  result.dextras = p.beta ? std::vector<at::Tensor>{dg, dbeta} : std::vector<at::Tensor>{dg.sum(0)};
  return result;
}

} // namespace

LinearAttentionResult chunkedForward(const LinearAttentionInputs &x) {
  if (x.v_BTHV.size(1) == 0)
    return {at::empty_like(x.v_BTHV), x.state_BHKV};
  return x.q_BTHK.scalar_type() == at::kDouble ? forwardOf<double>(x) : forwardOf<float>(x);
}

LinearAttentionGradients chunkedBackward(const LinearAttentionInputs &x, const at::Tensor &do_BTHV) {
  const at::Tensor dO = do_BTHV.to(x.q_BTHK.scalar_type()).contiguous();
  return x.q_BTHK.scalar_type() == at::kDouble ? backwardOf<double>(x, dO) : backwardOf<float>(x, dO);
}

LinearAttentionRegistration::LinearAttentionRegistration(const std::string &kind,
                                                         std::unique_ptr<LinearAttentionKernel> kernel) {
  registry()[kind] = std::move(kernel);
}

LinearAttentionGradients LinearAttentionKernel::backward(const LinearAttentionInputs &inputs,
                                                         const at::Tensor &do_BTHV) const {
  // The executor runs without autograd, perhaps in inference mode, whose tensors autograd refuses: leave it and copy.
  c10::InferenceMode normal(false);
  c10::AutoGradMode enable(true);
  auto leaf = [](const at::Tensor &x) { return x.detach().clone().requires_grad_(true); };
  LinearAttentionInputs leaves = inputs;
  leaves.q_BTHK = leaf(inputs.q_BTHK);
  leaves.k_BTHK = leaf(inputs.k_BTHK);
  leaves.v_BTHV = leaf(inputs.v_BTHV);
  for (at::Tensor &extra : leaves.extras)
    extra = leaf(extra);
  if (inputs.state_BHKV.defined())
    leaves.state_BHKV = inputs.state_BHKV.detach().clone();
  forward(leaves).o_BTHV.backward(do_BTHV.detach().clone());
  // What the output does not depend on has no gradient.
  auto gradient = [](const at::Tensor &x) { return x.grad().defined() ? x.grad() : at::zeros_like(x); };
  LinearAttentionGradients result{gradient(leaves.q_BTHK), gradient(leaves.k_BTHK), gradient(leaves.v_BTHV), {}};
  for (const at::Tensor &extra : leaves.extras)
    result.dextras.push_back(gradient(extra));
  return result;
}

} // namespace morph
