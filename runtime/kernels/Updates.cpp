// SPDX-License-Identifier: Apache-2.0
// Sums of gradients, clipping and AdamW. The arithmetic is PyTorch's (torch.nn.utils.clip_grad_norm_,
// torch.optim.AdamW).

#include "runtime/kernels/Kernel.h"
#include "runtime/kernels/RowLoops.h"
#include "runtime/kernels/Rows.h"
#include "runtime/kernels/UpdateLoops.h"

#include <algorithm>
#include <cmath>

namespace morph {

namespace {

/// Calls `body` with ranges of the elements of a tensor and its type.
template <typename Body> void forElements(const at::Tensor &tensor, const Body &body) {
  withType(tensor, [&](auto *type) {
    forRows(tensor.numel(), 1, [&](int64_t begin, int64_t end) { body(type, begin, end); });
  });
}

void accumulate(const KernelCall &call) {
  const at::Tensor &x = call.operands[1], &sum = call.results[0];
  const double share = call.operands[2].item<double>();
  forElements(sum, [&](auto *type, int64_t begin, int64_t end) {
    using T = std::remove_pointer_t<decltype(type)>;
    accumulateRow(x.const_data_ptr<T>() + begin, static_cast<T>(share), sum.mutable_data_ptr<T>() + begin, end - begin);
  });
}

std::vector<at::Tensor> accumulateReference(const KernelCall &call) {
  return {call.operands[0] + call.operands[2] * call.operands[1]};
}

void globalNorm(const KernelCall &call) {
  double squares = 0;
  for (const at::Tensor &tensor : call.operands)
    squares += withType(tensor, [&](auto *type) {
      const auto *data = tensor.const_data_ptr<std::remove_pointer_t<decltype(type)>>();
      return sumBlocks(tensor.numel(),
                       [&](int64_t begin, int64_t end) { return squaredNorm(data + begin, end - begin); });
    });
  call.results[0].fill_(std::sqrt(squares));
}

std::vector<at::Tensor> globalNormReference(const KernelCall &call) {
  at::Tensor squares = at::zeros({}, at::kDouble);
  for (const at::Tensor &tensor : call.operands)
    squares = squares + tensor.to(at::kDouble).square().sum();
  return {squares.sqrt().to(call.operands[0].scalar_type())};
}

double clipFactor(const KernelCall &call) {
  return std::min(1.0, call.number("limit") / (call.operands[1].item<double>() + 1e-6));
}

void clip(const KernelCall &call) {
  const at::Tensor &x = call.results[0];
  const double factor = clipFactor(call);
  if (factor == 1)
    return;
  forElements(x, [&](auto *type, int64_t begin, int64_t end) {
    using T = std::remove_pointer_t<decltype(type)>;
    scaleRow(x.mutable_data_ptr<T>() + begin, static_cast<T>(factor), end - begin);
  });
}

std::vector<at::Tensor> clipReference(const KernelCall &call) { return {call.operands[0] * clipFactor(call)}; }

AdamwStep makeAdamwStep(const KernelCall &call) {
  const double rate = call.operands[4].item<double>(), beta1 = call.number("beta1"), beta2 = call.number("beta2");
  const double t = static_cast<double>(call.operands[5].item<int64_t>());
  AdamwStep step;
  step.keep = 1 - rate * call.number("weight_decay");
  step.first = 1 - beta1;
  step.second = 1 - beta2;
  step.rate = rate / (1 - std::pow(beta1, t));
  step.root = 1 / std::sqrt(1 - std::pow(beta2, t));
  step.epsilon = call.number("epsilon");
  return step;
}

void adamw(const KernelCall &call) {
  const AdamwStep step = makeAdamwStep(call);
  const at::Tensor &gradient = call.operands[1];
  const at::Tensor &parameter = call.results[0], &first = call.results[1], &second = call.results[2];
  forElements(parameter, [&](auto *type, int64_t begin, int64_t end) {
    using T = std::remove_pointer_t<decltype(type)>;
    adamwRow(step, gradient.const_data_ptr<T>() + begin, parameter.mutable_data_ptr<T>() + begin,
             first.mutable_data_ptr<T>() + begin, second.mutable_data_ptr<T>() + begin, end - begin);
  });
}

std::vector<at::Tensor> adamwReference(const KernelCall &call) {
  const AdamwStep step = makeAdamwStep(call);
  const at::Tensor &gradient = call.operands[1];
  const at::Tensor first = call.operands[2].lerp(gradient, step.first);
  const at::Tensor second = call.operands[3] * (1 - step.second) + step.second * gradient.square();
  const at::Tensor denominator = second.sqrt() * step.root + step.epsilon;
  return {call.operands[0] * step.keep - step.rate * first / denominator, first, second};
}

const KernelRegistration accumulateRegistration("accumulate", {accumulate, accumulateReference});
const KernelRegistration globalNormRegistration("global_norm", {globalNorm, globalNormReference});
const KernelRegistration clipRegistration("clip", {clip, clipReference});
const KernelRegistration adamwRegistration("adamw", {adamw, adamwReference});

} // namespace

} // namespace morph
