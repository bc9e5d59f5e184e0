// SPDX-License-Identifier: Apache-2.0
// What presses on the gates: the budgets of the space of choices.

#ifndef MORPH_RUNTIME_TRAIN_SELECT_GATEPRESSURE_H
#define MORPH_RUNTIME_TRAIN_SELECT_GATEPRESSURE_H

#include "runtime/train/select/Selector.h"

namespace morph {

/// How. Budget: what the gates' distributions cost in the mean is driven to every budget. Relative: lambda times their
/// cost is added to the objective, lambda in units of the objective's own scale. Raw: the same with lambda as it is,
/// FlashMorph's objective.
using PressureKind = SelectSpec::Pressure;

/// One budget or count of the space, in units of layers: what a layer's costliest candidate costs above its cheapest,
/// in the mean over the layers, is 1. A budget of layers with full attention is so in its own unit.
struct PressedBudget {
  CandidateTable costs;          ///< By layer and candidate, above the layer's cheapest.
  double limit = 0;              ///< Above the cheapest of all.
  bool isExact = false;          ///< The limit is met, and not only kept.
  double start = 0;              ///< What the first distributions cost.
  double multiplier = 0;         ///< State of the augmented Lagrangian.
  double used = 0, pressure = 0; ///< Of the last step, for the log.
};

/// Drives the gates.
class GatePressure {
public:
  GatePressure() = default;
  /// `anneal` is the share of the `steps` over which the targets move from what the first distributions cost to the
  /// limits.
  GatePressure(const ChoiceSpace &space, PressureKind kind, double lambda, double anneal, int64_t steps);

  /// Tells the first distributions.
  void begin(const CandidateTable &shares);
  /// (objective with all layers linear - objective of the teacher) / layers, for Budget and Relative: the same lambda
  /// means something else under every objective, by orders of magnitude.
  void setUnit(double unit) { unit_ = unit; }

  /// What a budget's cost is driven to at a step.
  double target(const PressedBudget &budget, int64_t step) const;
  /// The derivative of the pressure by every candidate's share; moves the multipliers.
  CandidateTable next(int64_t step, const CandidateTable &shares);

  const std::vector<PressedBudget> &budgets() const { return budgets_; }
  /// The multipliers of a checkpoint.
  std::vector<double> multipliers() const;
  void restoreMultipliers(const std::vector<double> &multipliers);

private:
  void add(CandidateTable costs, double limit, bool isExact);

  PressureKind kind_ = PressureKind::Budget;
  double lambda_ = 0.1, anneal_ = 0.6, unit_ = 1;
  int64_t steps_ = 1;
  std::vector<PressedBudget> budgets_;
};

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_SELECT_GATEPRESSURE_H
