// SPDX-License-Identifier: Apache-2.0
// The gates of a relaxed model as variables of an optimiser: their domain, their pins, and the pressure on their sum.

#ifndef MORPH_RUNTIME_TRAIN_SELECT_GATESPACE_H
#define MORPH_RUNTIME_TRAIN_SELECT_GATESPACE_H

#include "runtime/train/select/Selector.h"

namespace morph {

/// How gates stay in their domain while Adam moves them. Clamp: Adam moves the gates; after each step they are
/// projected onto {g >= 0, sum g <= 1}. Sigmoid: Adam moves logits s; g = softmax over (s, 0), which for two candidates
/// is sigmoid(s).
using GateParametrization = SelectSpec::Parametrization;

/// Gates `gate.<layer>` of N-1 elements for N candidates: element 0 is the share of full attention, the last candidate
/// has what is left (dialect op `blend`).
class GateSpace {
public:
  /// Gates of the program, by layer. Errors: a layer of the request without a gate.
  static StatusOr<GateSpace> create(const plan::Plan &plan, const SelectionRequest &request,
                                    GateParametrization parametrization);

  /// Sets pinned gates and, for logits, starts from the gates as they are (at most .95: a logit at 1 is infinite).
  void begin(NamedTensors &masters);
  /// Adds `pressure` to the gradient of every free full share, drops the gradients of pinned ones and, for logits,
  /// applies the chain rule and puts the logits where Adam updates them.
  void beforeUpdate(NamedTensors &masters, NamedTensors &gradients, double pressure);
  /// Takes the updated variables back into the domain.
  void afterUpdate(NamedTensors &masters);

  /// The share of full attention of each layer.
  std::vector<double> fullShares(const NamedTensors &masters) const;
  /// The linear candidate (0: the first) with the largest share in each layer; empty where there is only one.
  std::vector<int64_t> bestCandidates(const NamedTensors &masters) const;
  /// Sets every gate to full attention in `kept` and to one linear candidate elsewhere: the layer's of `chosen` (as
  /// bestCandidates), or, where that is empty, the first, which is the spec's `linear.backend`.
  void setSubset(NamedTensors &masters, const std::vector<int64_t> &kept, const std::vector<int64_t> &chosen) const;

  /// Logits for a checkpoint; empty under Clamp.
  const NamedTensors &logits() const { return logits_; }
  void restoreLogits(const NamedTensors &logits) { logits_ = logits; }

private:
  enum class Pin { Free, Keep, Linear };
  void applyPins(NamedTensors &masters) const;
  void gatesFromLogits(NamedTensors &masters) const;
  GateParametrization parametrization_ = GateParametrization::Clamp;
  std::vector<std::string> names_; ///< By layer.
  std::vector<Pin> pins_;
  NamedTensors logits_;
};

/// What presses the gates down. Budget: their sum is driven to the budget. Relative: lambda * sum is added to the
/// objective, lambda in units of the objective's own scale. Raw: the same with lambda as it is, FlashMorph's objective.
using PressureKind = SelectSpec::Pressure;

/// The gradient that the budget adds to every free gate.
struct GatePressure {
  PressureKind kind = PressureKind::Budget;
  double lambda = 0.1;
  /// (objective with all layers linear - objective of the teacher) / layers, for Budget and Relative: the same lambda
  /// means something else under every objective, by orders of magnitude.
  double unit = 1;
  int64_t layers = 0, budget = 0, steps = 1;
  double anneal = 0.6;   ///< Share of the steps over which the target sum falls from layers to budget.
  double multiplier = 0; ///< State of the augmented Lagrangian on sum = target.

  double target(int64_t step) const;
  /// The pressure of step `step` at the sum of the full shares; moves the multiplier.
  double next(int64_t step, double sum);
};

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_SELECT_GATESPACE_H
