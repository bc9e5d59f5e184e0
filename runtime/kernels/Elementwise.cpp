// SPDX-License-Identifier: Apache-2.0
// Elementwise ops and their gradients in ATen functions: the reference. Programs launch kernels that the compiler made
// of them; these run where an op stands alone (scalars, gates) or no compiled code is at hand.

#include "runtime/kernels/Kernel.h"

namespace morph {

namespace {

using Tensors = std::vector<at::Tensor>;

Tensors add(const KernelCall &call) { return {at::add(call.operands[0], call.operands[1])}; }
Tensors mul(const KernelCall &call) { return {at::mul(call.operands[0], call.operands[1])}; }
Tensors scale(const KernelCall &call) { return {at::mul(call.operands[0], call.number("factor"))}; }
Tensors exponential(const KernelCall &call) { return {at::exp(call.operands[0])}; }
Tensors sigmoid(const KernelCall &call) { return {at::sigmoid(call.operands[0])}; }
Tensors silu(const KernelCall &call) { return {at::silu(call.operands[0])}; }
Tensors swiglu(const KernelCall &call) { return {at::silu(call.operands[0]) * call.operands[1]}; }

void ones(const KernelCall &call) { call.results[0].fill_(1); }
Tensors onesReference(const KernelCall &) { return {at::ones({})}; }

void cast(const KernelCall &call) { call.results[0].copy_(call.operands[0]); }
Tensors castReference(const KernelCall &call) {
  // In a run in double nothing is rounded.
  const at::Tensor &x = call.operands[0];
  if (x.scalar_type() == at::kDouble)
    return {x};
  return {x.to(call.text("dtype") == "bf16" ? at::kBFloat16 : at::kFloat)};
}

Tensors softplus(const KernelCall &call) {
  // Above the threshold ATen returns x: at 40 that is exact in fp64.
  return {at::softplus(call.operands[0], /*beta=*/1, /*threshold=*/40)};
}

Tensors siluGrad(const KernelCall &call) {
  const at::Tensor &dy = call.operands[0], &x = call.operands[1], s = at::sigmoid(x);
  return {dy * s * (1 + x * (1 - s))};
}

Tensors sigmoidGrad(const KernelCall &call) {
  const at::Tensor &dy = call.operands[0], &y = call.operands[1];
  return {dy * y * (1 - y)};
}

Tensors swigluGrad(const KernelCall &call) {
  const at::Tensor &dy = call.operands[0], &gate = call.operands[1], &x = call.operands[2], s = at::sigmoid(gate);
  return {dy * x * s * (1 + gate * (1 - s)), dy * gate * s};
}

const KernelRegistration onesRegistration("ones", {ones, onesReference});
const KernelRegistration castRegistration("cast", {cast, castReference});
const KernelRegistration addRegistration("add", {runByCopy<add>, add});
const KernelRegistration mulRegistration("mul", {runByCopy<mul>, mul});
const KernelRegistration scaleRegistration("scale", {runByCopy<scale>, scale});
const KernelRegistration expRegistration("exp", {runByCopy<exponential>, exponential});
const KernelRegistration softplusRegistration("softplus", {runByCopy<softplus>, softplus});
const KernelRegistration sigmoidRegistration("sigmoid", {runByCopy<sigmoid>, sigmoid});
const KernelRegistration siluRegistration("silu", {runByCopy<silu>, silu});
const KernelRegistration swigluRegistration("swiglu", {runByCopy<swiglu>, swiglu});
const KernelRegistration siluGradRegistration("silu_grad", {runByCopy<siluGrad>});
const KernelRegistration sigmoidGradRegistration("sigmoid_grad", {runByCopy<sigmoidGrad>});
const KernelRegistration swigluGradRegistration("swiglu_grad", {runByCopy<swigluGrad>});

} // namespace

} // namespace morph
