// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/select/GateSpace.h"

#include "runtime/exec/HostCopies.h"

#include <ATen/core/grad_mode.h>
#include <algorithm>
#include <cmath>
#include <numeric>

namespace morph {

StatusOr<GateSpace> GateSpace::create(const plan::Plan &plan, const ChoiceSpace &space,
                                      GateParametrization parametrization) {
  GateSpace gates;
  gates.parametrization_ = parametrization;
  gates.names_.resize(space.layers.size());
  gates.allowed_ = space.allowedMask();
  for (const plan::Weight &weight : plan.weights) {
    if (!weight.gate)
      continue;
    if (weight.layer < 0 || weight.layer >= space.layerCount())
      return Status::invalid("gates: '" + weight.name + "' belongs to no layer of the model");
    const auto layer = static_cast<size_t>(weight.layer);
    const size_t candidates = space.layers[layer].size();
    if (weight.shape != std::vector<int64_t>{static_cast<int64_t>(candidates) - 1})
      return Status::invalid("gates: '" + weight.name + "' is not of the " + std::to_string(candidates) +
                                 " candidates that layer " + std::to_string(layer) + " has",
                             "the plan is of another spec");
    gates.names_[layer] = weight.name;
  }
  for (size_t layer = 0; layer < space.layers.size(); ++layer)
    if (space.layers[layer].size() > 1 && gates.names_[layer].empty())
      return Status::invalid("gates: the plan has no gate for layer " + std::to_string(layer),
                             "build it from the relaxed model (morph-relax-gates)");
  for (const std::vector<size_t> &group : tiedGroups(space))
    if (group.size() > 1)
      gates.tied_.push_back(group);
  return gates;
}

/// The largest element of the projection of `values` onto the distributions is at a distance `shift` from its value
/// (Duchi et al. 2008, figure 1); only the elements of `allowed` count.
static void projectOntoSimplex(std::vector<double> &values, const std::vector<bool> &allowed) {
  std::vector<double> sorted;
  for (size_t i = 0; i < values.size(); ++i)
    if (allowed[i])
      sorted.push_back(values[i]);
  std::sort(sorted.rbegin(), sorted.rend());
  double sum = 0, shift = 0;
  for (size_t i = 0; i < sorted.size(); ++i) {
    sum += sorted[i];
    const double candidate = (sum - 1) / static_cast<double>(i + 1);
    if (sorted[i] - candidate > 0)
      shift = candidate;
  }
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = allowed[i] ? std::max(values[i] - shift, 0.0) : 0;
}

/// The projection of gates onto {g >= 0, sum g <= 1}: what is left is the last candidate's.
static void projectGates(std::vector<double> &shares, const std::vector<bool> &allowed) {
  double sum = 0;
  for (size_t i = 0; i + 1 < shares.size(); ++i) {
    shares[i] = allowed[i] ? std::max(shares[i], 0.0) : 0;
    sum += shares[i];
  }
  if (sum <= 1 && allowed.back()) {
    shares.back() = 1 - sum;
    return;
  }
  std::vector<bool> others = allowed;
  others.back() = false;
  projectOntoSimplex(shares, others);
}

std::vector<double> GateSpace::sharesOf(size_t layer, const at::Tensor &variables) const {
  const float *data = variables.const_data_ptr<float>();
  const std::vector<bool> &allowed = allowed_[layer];
  std::vector<double> shares(data, data + variables.numel());
  shares.push_back(0);
  switch (parametrization_) {
  case GateParametrization::Clamp:
    projectGates(shares, allowed);
    break;
  case GateParametrization::Softmax: {
    double largest = -HUGE_VAL, sum = 0;
    for (size_t i = 0; i < shares.size(); ++i)
      if (allowed[i])
        largest = std::max(largest, shares[i]);
    for (size_t i = 0; i < shares.size(); ++i)
      sum += shares[i] = allowed[i] ? std::exp(shares[i] - largest) : 0;
    for (double &share : shares)
      share /= sum;
    break;
  }
  case GateParametrization::Sparsemax:
    projectOntoSimplex(shares, allowed);
    break;
  }
  return shares;
}

static void setShares(const at::Tensor &gate, const std::vector<double> &shares) {
  std::transform(shares.begin(), shares.end() - 1, gate.mutable_data_ptr<float>(),
                 [](double share) { return static_cast<float>(share); });
}

CandidateTable GateSpace::shares(const NamedTensors &masters) const {
  CandidateTable table;
  HostCopies onHost;
  for (const std::string &name : names_) {
    std::vector<double> &row = table.emplace_back();
    if (name.empty()) {
      row = {1};
      continue;
    }
    const at::Tensor gate = onHost.of(masters.at(name));
    const float *data = gate.const_data_ptr<float>();
    row.assign(data, data + gate.numel());
    row.push_back(1 - std::accumulate(row.begin(), row.end(), 0.0));
  }
  return table;
}

void GateSpace::begin(NamedTensors &masters) {
  at::NoGradGuard noGrad;
  CandidateTable start = shares(masters);
  HostCopies onHost;
  for (size_t layer = 0; layer < names_.size(); ++layer) {
    if (names_[layer].empty())
      continue;
    std::vector<double> &row = start[layer];
    const std::vector<bool> &allowed = allowed_[layer];
    const auto count = static_cast<double>(std::count(allowed.begin(), allowed.end(), true));
    bool fits = true;
    for (size_t i = 0; i < row.size(); ++i)
      fits &= allowed[i] || row[i] == 0;
    for (size_t i = 0; i < row.size() && !fits; ++i)
      row[i] = allowed[i] ? 1 / count : 0;
    if (parametrization_ != GateParametrization::Clamp && count > 1) {
      for (size_t i = 0; i < row.size(); ++i)
        row[i] = allowed[i] ? row[i] * (0.95 - 0.05 / (count - 1)) + 0.05 / (count - 1) : 0;
      // The last candidate's variable is 0, and what is not allowed has none.
      const double last = allowed.back() ? row.back() : 1;
      at::Tensor variables = at::zeros_like(masters.at(names_[layer]), at::kCPU);
      for (size_t i = 0; i + 1 < row.size(); ++i)
        if (allowed[i])
          variables.data_ptr<float>()[i] = static_cast<float>(
              parametrization_ == GateParametrization::Softmax ? std::log(row[i] / last) : row[i] - last);
      row = sharesOf(layer, variables);
      variables_[names_[layer]] = std::move(variables);
    }
    setShares(onHost.of(masters.at(names_[layer])), row);
  }
  onHost.write();
}

void GateSpace::beforeUpdate(NamedTensors &masters, NamedTensors &gradients, const CandidateTable &pressure) {
  at::NoGradGuard noGrad;
  HostCopies onHost;
  for (size_t layer = 0; layer < names_.size(); ++layer) {
    const auto found = gradients.find(names_[layer]);
    if (names_[layer].empty() || found == gradients.end())
      continue;
    float *gradient = onHost.of(found->second).mutable_data_ptr<float>();
    const std::vector<bool> &allowed = allowed_[layer];
    const size_t others = allowed.size() - 1;
    for (size_t i = 0; i < others; ++i)
      gradient[i] += static_cast<float>(pressure[layer][i] - pressure[layer][others]);
    const auto free = std::count(allowed.begin(), allowed.end(), true);
    for (size_t i = 0; i < others; ++i)
      if (!allowed[i] || free == 1)
        gradient[i] = 0;
  }
  for (const std::vector<size_t> &group : tied_) {
    const auto first = gradients.find(names_[group.front()]);
    if (names_[group.front()].empty() || first == gradients.end())
      continue;
    const at::Tensor sum = onHost.of(first->second);
    for (size_t i = 1; i < group.size(); ++i)
      sum.add_(onHost.of(gradients.at(names_[group[i]])));
    for (size_t i = 1; i < group.size(); ++i)
      onHost.of(gradients.at(names_[group[i]])).copy_(sum);
  }
  if (parametrization_ != GateParametrization::Clamp)
    toVariables(masters, gradients, onHost);
  onHost.write();
}

void GateSpace::toVariables(NamedTensors &masters, NamedTensors &gradients, HostCopies &onHost) const {
  // By the variables: softmax s_i (g_i - sum_j s_j g_j), sparsemax g_i less the mean over the support, on the support.
  const CandidateTable now = shares(masters);
  for (size_t layer = 0; layer < names_.size(); ++layer) {
    const auto found = gradients.find(names_[layer]);
    if (names_[layer].empty() || found == gradients.end() || !variables_.count(names_[layer]))
      continue;
    float *gradient = onHost.of(found->second).mutable_data_ptr<float>();
    const std::vector<double> &row = now[layer];
    const bool isSoftmax = parametrization_ == GateParametrization::Softmax;
    // A share that is what rounding left of a difference is no support.
    const auto weight = [&](size_t i) { return isSoftmax ? row[i] : row[i] > 1e-6 ? 1.0 : 0.0; };
    double sum = 0, weights = 0;
    for (size_t i = 0; i < row.size(); ++i) {
      weights += weight(i);
      sum += i + 1 < row.size() ? weight(i) * gradient[i] : 0;
    }
    for (size_t i = 0; i + 1 < row.size(); ++i)
      gradient[i] = static_cast<float>(weight(i) * (gradient[i] - sum / weights));
    onHost.of(masters.at(names_[layer])).copy_(variables_.at(names_[layer]));
  }
}

void GateSpace::afterUpdate(NamedTensors &masters) {
  at::NoGradGuard noGrad;
  HostCopies onHost;
  for (size_t layer = 0; layer < names_.size(); ++layer) {
    if (names_[layer].empty())
      continue;
    const at::Tensor gate = onHost.of(masters.at(names_[layer]));
    if (const auto variables = variables_.find(names_[layer]); variables != variables_.end())
      variables->second = gate.clone();
    else if (parametrization_ != GateParametrization::Clamp)
      continue; // One candidate is allowed: nothing moved.
    setShares(gate, sharesOf(layer, gate));
  }
  onHost.write();
}

void GateSpace::setChoice(NamedTensors &masters, const Choice &choice) const {
  at::NoGradGuard noGrad;
  HostCopies onHost;
  for (size_t layer = 0; layer < names_.size(); ++layer) {
    if (names_[layer].empty())
      continue;
    const at::Tensor gate = onHost.of(masters.at(names_[layer]));
    gate.zero_();
    if (choice[layer] < gate.numel()) // The last candidate has what the others leave.
      gate[choice[layer]].fill_(1);
  }
  onHost.write();
}

} // namespace morph
