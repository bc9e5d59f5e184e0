// SPDX-License-Identifier: Apache-2.0
// The registry of linear-attention kernels, and the ops linear_attention and linear_attention_grad on top of it.

#include "runtime/kernels/LinearAttention.h"
#include "runtime/kernels/Kernel.h"

#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>

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

const KernelRegistration forwardRegistration("linear_attention", {runByCopy<linearAttention>, linearAttention});
const KernelRegistration backwardRegistration("linear_attention_grad", {runByCopy<linearAttentionGrad>});

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
