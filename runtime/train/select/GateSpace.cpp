// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/select/GateSpace.h"

#include <ATen/core/grad_mode.h>
#include <algorithm>
#include <cmath>

namespace morph {

StatusOr<GateSpace> GateSpace::create(const plan::Plan &plan, const SelectionRequest &request,
                                      GateParametrization parametrization) {
  GateSpace space;
  space.parametrization_ = parametrization;
  space.names_.resize(static_cast<size_t>(request.layers));
  space.pins_.assign(static_cast<size_t>(request.layers), Pin::Free);
  for (const plan::Weight &weight : plan.weights) {
    if (!weight.gate)
      continue;
    if (weight.layer < 0 || weight.layer >= request.layers)
      return Status::invalid("gates: '" + weight.name + "' belongs to no layer of the model");
    space.names_[static_cast<size_t>(weight.layer)] = weight.name;
  }
  for (int64_t layer = 0; layer < request.layers; ++layer)
    if (space.names_[static_cast<size_t>(layer)].empty())
      return Status::invalid("gates: the plan has no gate for layer " + std::to_string(layer),
                             "build it from the relaxed model (morph-relax-gates)");
  for (int64_t layer : request.keep)
    space.pins_[static_cast<size_t>(layer)] = Pin::Keep;
  for (int64_t layer : request.linear)
    space.pins_[static_cast<size_t>(layer)] = Pin::Linear;
  return space;
}

void GateSpace::applyPins(NamedTensors &masters) const {
  for (size_t layer = 0; layer < names_.size(); ++layer) {
    at::Tensor &gate = masters.at(names_[layer]);
    if (pins_[layer] == Pin::Keep) {
      gate.zero_();
      gate[0].fill_(1);
    } else if (pins_[layer] == Pin::Linear) {
      gate[0].fill_(0);
    }
  }
}

void GateSpace::begin(NamedTensors &masters) {
  at::NoGradGuard noGrad;
  for (size_t layer = 0; layer < names_.size(); ++layer)
    if (pins_[layer] == Pin::Linear)
      // Equal shares of the candidates that are left.
      masters.at(names_[layer]).fill_(1.0 / static_cast<double>(masters.at(names_[layer]).numel()));
  applyPins(masters);
  if (parametrization_ == GateParametrization::Clamp)
    return;
  for (const std::string &name : names_) {
    at::Tensor &gate = masters.at(name);
    const double others = static_cast<double>(gate.numel());
    const at::Tensor inside = gate * (0.95 - 0.05 / others) + 0.05 / others;
    logits_[name] = inside.log() - (1 - inside.sum()).log();
  }
  gatesFromLogits(masters);
}

void GateSpace::beforeUpdate(NamedTensors &masters, NamedTensors &gradients, double pressure) {
  at::NoGradGuard noGrad;
  for (size_t layer = 0; layer < names_.size(); ++layer) {
    const std::string &name = names_[layer];
    auto found = gradients.find(name);
    if (found == gradients.end())
      continue;
    at::Tensor &gradient = found->second;
    if (pins_[layer] == Pin::Keep || (pins_[layer] == Pin::Linear && gradient.numel() == 1)) {
      gradient.zero_();
    } else if (pins_[layer] == Pin::Linear) {
      gradient[0].fill_(0);
    } else {
      gradient[0].add_(pressure);
    }
    if (parametrization_ == GateParametrization::Sigmoid) {
      at::Tensor &gate = masters.at(name);
      gradient.copy_(gate * (gradient - (gate * gradient).sum()));
      gate.copy_(logits_.at(name));
    }
  }
}

/// Euclidean projection onto {g >= 0, sum g <= 1} (Duchi et al. 2008 for the simplex's face).
static void project(at::Tensor &gate) {
  gate.clamp_min_(0);
  if (gate.sum().item<double>() <= 1)
    return;
  if (gate.numel() == 1) {
    gate.fill_(1);
    return;
  }
  const at::Tensor sorted = std::get<0>(gate.sort(0, /*descending=*/true)).to(at::kDouble);
  const double *u = sorted.data_ptr<double>();
  double sum = 0, shift = 0;
  for (int64_t i = 0; i < gate.numel(); ++i) {
    sum += u[i];
    const double candidate = (sum - 1) / static_cast<double>(i + 1);
    if (u[i] - candidate > 0)
      shift = candidate;
  }
  gate.sub_(shift).clamp_min_(0);
}

void GateSpace::gatesFromLogits(NamedTensors &masters) const {
  for (const auto &[name, logits] : logits_) {
    const at::Tensor largest = at::clamp_min(logits.max(), 0);
    const at::Tensor exponentials = (logits - largest).exp();
    masters.at(name).copy_(exponentials / (exponentials.sum() + (-largest).exp()));
  }
  applyPins(masters);
}

void GateSpace::afterUpdate(NamedTensors &masters) {
  at::NoGradGuard noGrad;
  if (parametrization_ == GateParametrization::Sigmoid) {
    for (auto &[name, logits] : logits_)
      logits = masters.at(name).clone();
    gatesFromLogits(masters);
    return;
  }
  for (const std::string &name : names_)
    project(masters.at(name));
  applyPins(masters);
}

std::vector<double> GateSpace::fullShares(const NamedTensors &masters) const {
  std::vector<double> shares;
  for (const std::string &name : names_)
    shares.push_back(masters.at(name)[0].item<double>());
  return shares;
}

std::vector<int64_t> GateSpace::bestCandidates(const NamedTensors &masters) const {
  std::vector<int64_t> best;
  for (const std::string &name : names_) {
    const at::Tensor &gate = masters.at(name);
    if (gate.numel() == 1)
      return {};
    const at::Tensor shares = at::cat({gate.slice(0, 1), (1 - gate.sum()).reshape({1})});
    best.push_back(shares.argmax().item<int64_t>());
  }
  return best;
}

void GateSpace::setSubset(NamedTensors &masters, const std::vector<int64_t> &kept,
                          const std::vector<int64_t> &chosen) const {
  at::NoGradGuard noGrad;
  for (size_t layer = 0; layer < names_.size(); ++layer) {
    at::Tensor &gate = masters.at(names_[layer]);
    gate.zero_();
    const bool full = std::binary_search(kept.begin(), kept.end(), static_cast<int64_t>(layer));
    const int64_t element = full ? 0 : (chosen.empty() ? 0 : chosen[layer]) + 1;
    if (element < gate.numel()) // The last candidate has what the others leave.
      gate[element].fill_(1);
  }
}

double GatePressure::target(int64_t step) const {
  const double span = std::max(1.0, anneal * static_cast<double>(steps));
  const double progress = std::min(1.0, static_cast<double>(step + 1) / span);
  return static_cast<double>(layers) + static_cast<double>(budget - layers) * progress;
}

double GatePressure::next(int64_t step, double sum) {
  if (kind != PressureKind::Budget)
    return kind == PressureKind::Raw ? lambda : lambda * unit;
  // Augmented Lagrangian on sum = target, with the penalty's weight in the objective's own unit a layer. Every step is
  // an inner iteration, so the multiplier moves a tenth of the usual way.
  const double excess = sum - target(step);
  const double pressure = multiplier + unit * excess;
  multiplier += 0.1 * unit * excess;
  return pressure;
}

} // namespace morph
