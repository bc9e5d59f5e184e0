// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/Optimizer.h"

#include <ATen/core/grad_mode.h>
#include <cmath>

namespace morph {

Status AdamW::step(NamedTensors &parameters, const NamedTensors &gradients, double rate) {
  at::NoGradGuard noGrad;
  for (const auto &[name, gradient] : gradients) {
    auto found = parameters.find(name);
    if (found == parameters.end())
      return Status::failed("optimizer: the gradient of '" + name + "' belongs to no trainable weight");
    at::Tensor &parameter = found->second;
    if (parameter.sizes() != gradient.sizes())
      return Status::failed("optimizer: the gradient of '" + name + "' has another shape than the weight");

    Moments &moments = moments_[name];
    if (!moments.first.defined()) {
      moments.first = at::zeros_like(parameter);
      moments.second = at::zeros_like(parameter);
    }
    ++moments.steps;

    if (options_.weightDecay != 0 && parameter.dim() >= 2)
      parameter.mul_(1 - rate * options_.weightDecay);
    moments.first.lerp_(gradient, 1 - options_.beta1);
    moments.second.mul_(options_.beta2).addcmul_(gradient, gradient, 1 - options_.beta2);

    const double correction1 = 1 - std::pow(options_.beta1, static_cast<double>(moments.steps));
    const double correction2 = 1 - std::pow(options_.beta2, static_cast<double>(moments.steps));
    at::Tensor denominator = moments.second.sqrt().div_(std::sqrt(correction2)).add_(options_.epsilon);
    parameter.addcdiv_(moments.first, denominator, -rate / correction1);
  }
  return Status();
}

NamedTensors AdamW::state() const {
  NamedTensors state;
  for (const auto &[name, moments] : moments_) {
    state["exp_avg." + name] = moments.first;
    state["exp_avg_sq." + name] = moments.second;
    state["step." + name] = at::full({1}, moments.steps, at::kLong);
  }
  return state;
}

Status AdamW::restore(const NamedTensors &state, const NamedTensors &parameters) {
  moments_.clear();
  const std::string prefix = "step.";
  for (const auto &[key, value] : state) {
    if (key.rfind(prefix, 0) != 0)
      continue;
    const std::string name = key.substr(prefix.size());
    auto parameter = parameters.find(name);
    auto first = state.find("exp_avg." + name);
    auto second = state.find("exp_avg_sq." + name);
    if (parameter == parameters.end())
      return Status::failed("checkpoint: it holds moments of '" + name + "', which this program does not train");
    if (first == state.end() || second == state.end() || first->second.sizes() != parameter->second.sizes() ||
        second->second.sizes() != parameter->second.sizes() || value.numel() != 1)
      return Status::failed("checkpoint: the moments of '" + name + "' are missing or have another shape");
    Moments &moments = moments_[name];
    moments.first = first->second.to(parameter->second.scalar_type()).clone();
    moments.second = second->second.to(parameter->second.scalar_type()).clone();
    moments.steps = value.item<int64_t>();
  }
  return Status();
}

double globalNorm(const NamedTensors &gradients) {
  // In double and in the order of the names: the same gradients give the same bits.
  double sum = 0;
  for (const auto &entry : gradients) {
    const double norm = at::linalg_vector_norm(entry.second).item<double>();
    sum += norm * norm;
  }
  return std::sqrt(sum);
}

double clipByGlobalNorm(NamedTensors &gradients, double limit) {
  const double norm = globalNorm(gradients);
  if (limit > 0) {
    const double factor = limit / (norm + 1e-6);
    if (factor < 1)
      for (auto &entry : gradients)
        entry.second.mul_(factor);
  }
  return norm;
}

} // namespace morph
