// SPDX-License-Identifier: Apache-2.0
// rms_norm and l2_norm over the last dimension, with their gradients, in ATen functions: the reference of what the
// compiler makes kernels of.

#include "runtime/kernels/Kernel.h"

namespace morph {

namespace {

using Tensors = std::vector<at::Tensor>;

Tensors rmsNorm(const KernelCall &call) {
  const at::Tensor &x = call.operands[0];
  return {call.operands[1] * (x * at::rsqrt(x.square().mean(-1, true) + call.number("eps")))};
}

/// dx = r * (weight * dy - x * r^2 * mean(weight * dy * x)) with r = 1 / sqrt(mean(x^2) + eps).
Tensors rmsNormInputGrad(const KernelCall &call) {
  const at::Tensor &x = call.operands[1], weighted = call.operands[2] * call.operands[0];
  const at::Tensor r = at::rsqrt(x.square().mean(-1, true) + call.number("eps"));
  return {r * (weighted - x * r.square() * (weighted * x).mean(-1, true))};
}

/// dweight = sum(dy * x * r) over all rows.
Tensors rmsNormWeightGrad(const KernelCall &call) {
  const at::Tensor &dy = call.operands[0], &x = call.operands[1];
  const at::Tensor r = at::rsqrt(x.square().mean(-1, true) + call.number("eps"));
  return {(dy * (x * r)).reshape({-1, x.size(-1)}).sum(0)};
}

Tensors l2Norm(const KernelCall &call) {
  const at::Tensor &x = call.operands[0];
  return {x * at::rsqrt(x.square().sum(-1, true) + call.number("eps"))};
}

/// dx = r * dy - x * r^3 * sum(dy * x) with r = 1 / sqrt(sum(x^2) + eps).
Tensors l2NormGrad(const KernelCall &call) {
  const at::Tensor &dy = call.operands[0], &x = call.operands[1];
  const at::Tensor r = at::rsqrt(x.square().sum(-1, true) + call.number("eps"));
  return {r * (dy - x * r.square() * (dy * x).sum(-1, true))};
}

const KernelRegistration rmsNormRegistration("rms_norm", {runByCopy<rmsNorm>, rmsNorm});
const KernelRegistration rmsNormInputGradRegistration("rms_norm_input_grad", {runByCopy<rmsNormInputGrad>});
const KernelRegistration rmsNormWeightGradRegistration("rms_norm_weight_grad", {runByCopy<rmsNormWeightGrad>});
const KernelRegistration l2NormRegistration("l2_norm", {runByCopy<l2Norm>, l2Norm});
const KernelRegistration l2NormGradRegistration("l2_norm_grad", {runByCopy<l2NormGrad>});

} // namespace

} // namespace morph
