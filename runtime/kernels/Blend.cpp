// SPDX-License-Identifier: Apache-2.0
// Blends of candidates by a gate: sum_i g_i c_i + (1 - sum_i g_i) c_last, and their gradients.

#include "runtime/kernels/Kernel.h"

namespace morph {

namespace {

using Tensors = std::vector<at::Tensor>;

Tensors blend(const KernelCall &call) {
  const at::Tensor &gate = call.operands[0], &last = call.operands.back();
  const size_t gates = call.operands.size() - 2;
  // lerp is exact at both ends, so that a gate of 0 or 1 gives a candidate itself.
  if (gates == 1)
    return {at::lerp(last, call.operands[1], gate[0])};
  at::Tensor sum = last * (1 - gate.sum());
  for (size_t i = 0; i < gates; ++i)
    sum = sum + call.operands[1 + i] * gate[static_cast<int64_t>(i)];
  return {sum};
}

/// dg_i = sum(dy (c_i - c_last)).
Tensors blendGateGrad(const KernelCall &call) {
  const at::Tensor &dy = call.operands[0], &last = call.operands.back();
  Tensors shares;
  for (size_t i = 1; i + 1 < call.operands.size(); ++i)
    shares.push_back((dy * (call.operands[i] - last)).sum());
  return {at::stack(shares)};
}

/// dc_i = g_i dy, and (1 - sum_i g_i) dy for the last candidate.
Tensors blendCandidateGrad(const KernelCall &call) {
  const at::Tensor &dy = call.operands[0], &gate = call.operands[1];
  const int64_t index = call.integer("index");
  return {dy * (index < gate.size(0) ? gate[index] : 1 - gate.sum())};
}

const KernelRegistration blendRegistration("blend", {runByCopy<blend>, blend});
const KernelRegistration blendGateGradRegistration("blend_gate_grad", {runByCopy<blendGateGrad>});
const KernelRegistration blendCandidateGradRegistration("blend_candidate_grad", {runByCopy<blendCandidateGrad>});

} // namespace

} // namespace morph
