// SPDX-License-Identifier: Apache-2.0
// Blends of candidates by a gate: sum_i g_i c_i + (1 - sum_i g_i) c_last, and their gradients.

#include "runtime/kernels/Kernel.h"
#include "runtime/kernels/RowLoops.h"
#include "runtime/kernels/Rows.h"

namespace morph {

namespace {

void blend(const KernelCall &call) {
  const at::Tensor &gate = call.operands[0], &last = call.operands.back();
  const size_t gates = call.operands.size() - 2;
  at::Tensor result = call.results[0];
  // lerp is exact at both ends, so that a gate of 0 or 1 gives a candidate itself.
  if (gates == 1) {
    at::lerp_out(result, last, call.operands[1], gate[0]);
    return;
  }
  at::mul_out(result, last, 1 - gate.sum());
  for (size_t i = 0; i < gates; ++i)
    result.addcmul_(call.operands[1 + i], gate[static_cast<int64_t>(i)]);
}

std::vector<at::Tensor> blendReference(const KernelCall &call) {
  const at::Tensor &gate = call.operands[0], &last = call.operands.back();
  size_t gates = call.operands.size() - 2;
  if (gates == 1)
    return {at::lerp(last, call.operands[1], gate[0])};
  at::Tensor sum = last * (1 - gate.sum());
  for (size_t i = 0; i < gates; ++i)
    sum = sum + call.operands[1 + i] * gate[static_cast<int64_t>(i)];
  return {sum};
}

void blendGateGrad(const KernelCall &call) {
  const at::Tensor &dy = call.operands[0], &last = call.operands.back(), &result = call.results[0];
  withType(dy, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const T *gradient = dy.const_data_ptr<T>(), *other = last.const_data_ptr<T>();
    for (size_t i = 1; i + 1 < call.operands.size(); ++i) {
      const T *candidate = call.operands[i].const_data_ptr<T>();
      result.mutable_data_ptr<T>()[i - 1] = static_cast<T>(sumBlocks(dy.numel(), [&](int64_t begin, int64_t end) {
        return dotDifference(gradient + begin, candidate + begin, other + begin, end - begin);
      }));
    }
  });
}

void blendCandidateGrad(const KernelCall &call) {
  const at::Tensor &dy = call.operands[0], &gate = call.operands[1];
  int64_t index = call.integer("index");
  at::Tensor share = index < gate.size(0) ? gate[index] : 1 - gate.sum();
  at::Tensor result = call.results[0];
  at::mul_out(result, dy, share);
}

const KernelRegistration blendRegistration("blend", {blend, blendReference});
const KernelRegistration blendGateGradRegistration("blend_gate_grad", {blendGateGrad});
const KernelRegistration blendCandidateGradRegistration("blend_candidate_grad", {blendCandidateGrad});

} // namespace

} // namespace morph
