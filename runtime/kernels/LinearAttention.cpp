// SPDX-License-Identifier: Apache-2.0
// The registry of linear-attention kernels, and the ops linear_attention and linear_attention_grad on top of it.

#include "runtime/kernels/LinearAttention.h"
#include "runtime/kernels/ChunkedRecurrence.h"
#include "runtime/kernels/Kernel.h"
#include "runtime/kernels/ScratchAllocator.h"

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

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

/// fp32 of bf16: a copy in the scratch.
at::Tensor widened(const at::Tensor &x, ScratchAllocator &scratch) {
  if (x.scalar_type() != at::kBFloat16)
    return x;
  return at::from_blob(scratch.take<float>(x.numel()), x.sizes(), x.options().dtype(at::kFloat)).copy_(x);
}
void widen(LinearAttentionInputs &x, ScratchAllocator &scratch) {
  x.rounds = x.q_BTHK.scalar_type() == at::kBFloat16;
  for (at::Tensor *factor : {&x.q_BTHK, &x.k_BTHK, &x.v_BTHV})
    *factor = widened(*factor, scratch);
}

/// Whether autograd would record what is computed of these inputs.
bool recorded(const LinearAttentionInputs &inputs) {
  if (!c10::GradMode::is_enabled())
    return false;
  bool any = inputs.q_BTHK.requires_grad() || inputs.k_BTHK.requires_grad() || inputs.v_BTHV.requires_grad() ||
             (inputs.state_BHKV.defined() && inputs.state_BHKV.requires_grad());
  for (const at::Tensor &extra : inputs.extras)
    any = any || extra.requires_grad();
  return any;
}

template <typename T> RecurrenceProblem<T> problemOf(const LinearAttentionInputs &x) {
  RecurrenceProblem<T> p;
  const int64_t length = x.q_BTHK.size(1);
  p.sizes = {x.q_BTHK.size(0), length,           x.q_BTHK.size(2),
             x.q_BTHK.size(3), x.v_BTHV.size(3), std::max<int64_t>(1, std::min(x.chunk, length))};
  p.scale = T(x.scale);
  p.q = x.q_BTHK.const_data_ptr<T>();
  p.k = x.k_BTHK.const_data_ptr<T>();
  p.v = x.v_BTHV.const_data_ptr<T>();
  p.g = x.extras[0].const_data_ptr<T>();
  p.beta = x.extras.size() > 1 ? x.extras[1].const_data_ptr<T>() : nullptr;
  p.state = x.state_BHKV.defined() ? x.state_BHKV.const_data_ptr<T>() : nullptr;
  p.rounds = x.rounds;
  return p;
}

template <typename T>
void forwardInto(const LinearAttentionInputs &x, const at::Tensor &o, const at::Tensor &state, void *scratch) {
  recurrenceForward<T>(problemOf<T>(x), o.mutable_data_ptr<T>(), state.mutable_data_ptr<T>(), at::get_num_threads(),
                       scratch);
}

/// The gradients in the order of the op's results. A decay a head has a gradient for each batch first, which lies
/// before the rest of the scratch.
template <typename T>
void backwardInto(const LinearAttentionInputs &x, const at::Tensor &dO, const std::vector<at::Tensor> &results,
                  void *scratch) {
  const RecurrenceProblem<T> p = problemOf<T>(x);
  T *const parts = static_cast<T *>(scratch);
  T *const dg = results[3].mutable_data_ptr<T>();
  const int64_t batch = p.sizes.batch, heads = p.sizes.heads;
  char *const rest =
      static_cast<char *>(scratch) + (p.beta ? 0 : plan::alignedBytes(batch * heads * static_cast<int64_t>(sizeof(T))));
  recurrenceBackward<T>(p, dO.const_data_ptr<T>(),
                        {results[0].mutable_data_ptr<T>(), results[1].mutable_data_ptr<T>(),
                         results[2].mutable_data_ptr<T>(), p.beta ? dg : parts,
                         p.beta ? results[4].mutable_data_ptr<T>() : nullptr},
                        at::get_num_threads(), rest);
  if (p.beta)
    return;
  std::fill(dg, dg + heads, T(0));
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t h = 0; h < heads; ++h)
      dg[h] += parts[b * heads + h];
}

void forwardInto(const LinearAttentionInputs &x, const at::Tensor &o, const at::Tensor &state, void *scratch) {
  if (o.numel() == 0)
    return;
  if (o.scalar_type() == at::kDouble)
    forwardInto<double>(x, o, state, scratch);
  else
    forwardInto<float>(x, o, state, scratch);
}

void backwardInto(const LinearAttentionInputs &x, const at::Tensor &dO, const std::vector<at::Tensor> &results,
                  void *scratch) {
  if (dO.scalar_type() == at::kDouble)
    backwardInto<double>(x, dO, results, scratch);
  else
    backwardInto<float>(x, dO, results, scratch);
}

void linearAttention(const KernelCall &call) {
  LinearAttentionInputs inputs = inputsOf(call, 0);
  kernelOf(call).checkExtras(inputs);
  ScratchAllocator scratch(call.scratch);
  widen(inputs, scratch);
  forwardInto(inputs, call.results[0], call.results[1], scratch.rest());
}
std::vector<at::Tensor> linearAttentionReference(const KernelCall &call) {
  const LinearAttentionResult result = kernelOf(call).recurrent(inputsOf(call, 0));
  return {result.o_BTHV, result.state_BHKV};
}

void linearAttentionGrad(const KernelCall &call) {
  LinearAttentionInputs inputs = inputsOf(call, 1);
  kernelOf(call).checkExtras(inputs);
  ScratchAllocator scratch(call.scratch);
  widen(inputs, scratch);
  const at::Tensor dO = widened(call.operands[0], scratch);
  backwardInto(inputs, dO, call.results, scratch.rest());
}

const KernelRegistration forwardRegistration("linear_attention", {linearAttention, linearAttentionReference});
const KernelRegistration backwardRegistration("linear_attention_grad", {linearAttentionGrad});

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

LinearAttentionInputs prepareInputs(const LinearAttentionInputs &inputs) {
  const at::Tensor &q = inputs.q_BTHK, &k = inputs.k_BTHK, &v = inputs.v_BTHV;
  TORCH_CHECK(q.dim() == 4 && q.sizes() == k.sizes() && v.dim() == 4 && v.sizes().slice(0, 3) == q.sizes().slice(0, 3),
              "linear_attention: expected q, k [B,T,H,K] and v [B,T,H,V], but got ", q.sizes(), ", ", k.sizes(),
              " and ", v.sizes());
  TORCH_CHECK(inputs.chunk > 0, "linear_attention: expected a positive chunk, but got ", inputs.chunk);
  const at::ScalarType type = q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  LinearAttentionInputs result;
  result.q_BTHK = q.to(type).contiguous();
  result.k_BTHK = k.to(type).contiguous();
  result.v_BTHV = v.to(type).contiguous();
  for (const at::Tensor &extra : inputs.extras)
    result.extras.push_back(extra.to(type).contiguous());
  const std::vector<int64_t> shape = {q.size(0), q.size(2), q.size(3), v.size(3)};
  if (inputs.state_BHKV.defined()) {
    TORCH_CHECK(inputs.state_BHKV.sizes() == at::IntArrayRef(shape), "linear_attention: expected a state of shape ",
                at::IntArrayRef(shape), ", but got ", inputs.state_BHKV.sizes());
    result.state_BHKV = at::empty(shape, result.q_BTHK.options()).copy_(inputs.state_BHKV);
  } else {
    result.state_BHKV = at::zeros(shape, result.q_BTHK.options());
  }
  result.scale = inputs.scale;
  result.chunk = inputs.chunk;
  result.rounds = inputs.rounds || q.scalar_type() == at::kBFloat16;
  return result;
}

namespace {

plan::LinearAttentionSizes sizesOf(const LinearAttentionInputs &x) {
  return x.q_BTHK.scalar_type() == at::kDouble ? problemOf<double>(x).sizes : problemOf<float>(x).sizes;
}

} // namespace

LinearAttentionResult LinearAttentionKernel::forward(const LinearAttentionInputs &inputs) const {
  if (recorded(inputs))
    return recurrent(inputs);
  const LinearAttentionInputs x = prepareInputs(inputs);
  checkExtras(x);
  const LinearAttentionResult result{at::empty_like(x.v_BTHV), x.state_BHKV};
  const at::Tensor scratch = at::empty(
      {plan::linearAttentionWorkspace(sizesOf(x), at::get_num_threads(), x.q_BTHK.element_size())}, at::kByte);
  forwardInto(x, result.o_BTHV, result.state_BHKV, scratch.mutable_data_ptr());
  return result;
}

LinearAttentionGradients LinearAttentionKernel::backward(const LinearAttentionInputs &inputs,
                                                         const at::Tensor &do_BTHV) const {
  const LinearAttentionInputs x = prepareInputs(inputs);
  checkExtras(x);
  std::vector<at::Tensor> results = {at::empty_like(x.q_BTHK), at::empty_like(x.k_BTHK), at::empty_like(x.v_BTHV)};
  for (const at::Tensor &extra : x.extras)
    results.push_back(at::empty_like(extra));
  const at::Tensor scratch = at::empty(
      {plan::linearAttentionGradWorkspace(sizesOf(x), at::get_num_threads(), x.q_BTHK.element_size())}, at::kByte);
  backwardInto(x, do_BTHV.to(x.q_BTHK.scalar_type()).contiguous(), results, scratch.mutable_data_ptr());
  return {results[0], results[1], results[2], {results.begin() + 3, results.end()}};
}

LinearAttentionRegistration::LinearAttentionRegistration(const std::string &kind,
                                                         std::unique_ptr<LinearAttentionKernel> kernel) {
  registry()[kind] = std::move(kernel);
}

} // namespace morph
