// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/select/GatePressure.h"

#include <algorithm>

namespace morph {

static double costOf(const CandidateTable &costs, const CandidateTable &shares) {
  double sum = 0;
  for (size_t layer = 0; layer < costs.size(); ++layer)
    for (size_t c = 0; c < costs[layer].size(); ++c)
      sum += costs[layer][c] * shares[layer][c];
  return sum;
}

GatePressure::GatePressure(const ChoiceSpace &space, PressureKind kind, double lambda, double anneal, int64_t steps)
    : kind_(kind), lambda_(lambda), anneal_(anneal), steps_(steps) {
  for (const CandidateCount &count : space.counts) {
    CandidateTable costs;
    for (const std::vector<Candidate> &candidates : space.layers)
      costs.emplace_back(candidates.size(), 0.0);
    for (int64_t layer : count.layers)
      for (size_t c = 0; c < costs[static_cast<size_t>(layer)].size(); ++c)
        costs[static_cast<size_t>(layer)][c] = space.layers[static_cast<size_t>(layer)][c].name == count.candidate;
    add(std::move(costs), static_cast<double>(count.most), count.least == count.most);
  }
  for (const CostBudget &budget : space.budgets) {
    CandidateTable costs;
    for (const std::vector<int64_t> &row : budget.costs)
      costs.emplace_back(row.begin(), row.end());
    add(std::move(costs), static_cast<double>(budget.limit), /*isExact=*/false);
  }
}

void GatePressure::add(CandidateTable costs, double limit, bool isExact) {
  double cheapest = 0, span = 0;
  int64_t layers = 0;
  for (std::vector<double> &row : costs) {
    const double least = *std::min_element(row.begin(), row.end());
    for (double &cost : row)
      cost -= least;
    const double most = *std::max_element(row.begin(), row.end());
    cheapest += least;
    span += most;
    layers += most > 0;
  }
  if (layers == 0)
    return; // Nothing can be done about it.
  const double unit = span / static_cast<double>(layers);
  for (std::vector<double> &row : costs)
    for (double &cost : row)
      cost /= unit;
  budgets_.push_back({std::move(costs), (limit - cheapest) / unit, isExact, 0, 0, 0, 0});
}

void GatePressure::begin(const CandidateTable &shares) {
  for (PressedBudget &budget : budgets_)
    budget.start = costOf(budget.costs, shares);
}

double GatePressure::target(const PressedBudget &budget, int64_t step) const {
  const double span = std::max(1.0, anneal_ * static_cast<double>(steps_));
  const double progress = std::min(1.0, static_cast<double>(step + 1) / span);
  return budget.start + (budget.limit - budget.start) * progress;
}

CandidateTable GatePressure::next(int64_t step, const CandidateTable &shares) {
  CandidateTable total;
  for (const std::vector<double> &row : shares)
    total.emplace_back(row.size(), 0.0);
  for (PressedBudget &budget : budgets_) {
    budget.used = costOf(budget.costs, shares);
    if (kind_ == PressureKind::Budget) {
      // Augmented Lagrangian on used = target, with the penalty's weight in the objective's own unit a layer. Every
      // step is an inner iteration, so the multiplier moves a tenth of the usual way. A limit that is only kept never
      // pulls.
      const double excess = budget.used - target(budget, step);
      budget.pressure = budget.multiplier + unit_ * excess;
      budget.multiplier += 0.1 * unit_ * excess;
      if (!budget.isExact) {
        budget.pressure = std::max(budget.pressure, 0.0);
        budget.multiplier = std::max(budget.multiplier, 0.0);
      }
    } else {
      budget.pressure = kind_ == PressureKind::Raw ? lambda_ : lambda_ * unit_;
    }
    for (size_t layer = 0; layer < total.size(); ++layer)
      for (size_t c = 0; c < total[layer].size(); ++c)
        total[layer][c] += budget.pressure * budget.costs[layer][c];
  }
  return total;
}

std::vector<double> GatePressure::multipliers() const {
  std::vector<double> list;
  for (const PressedBudget &budget : budgets_)
    list.push_back(budget.multiplier);
  return list;
}

void GatePressure::restoreMultipliers(const std::vector<double> &multipliers) {
  for (size_t i = 0; i < std::min(multipliers.size(), budgets_.size()); ++i)
    budgets_[i].multiplier = multipliers[i];
}

} // namespace morph
