// SPDX-License-Identifier: Apache-2.0
// The gates of a relaxed model as variables of an optimiser: a distribution over each layer's candidates, what of it
// the space of choices leaves free, and the pressure of the budgets.

#ifndef MORPH_RUNTIME_TRAIN_SELECT_GATESPACE_H
#define MORPH_RUNTIME_TRAIN_SELECT_GATESPACE_H

#include "runtime/choice/Solve.h"
#include "runtime/train/StageContext.h"

namespace morph {

class HostCopies;

/// How gates stay distributions while Adam moves them. Clamp: Adam moves the gates; after each step they are projected
/// onto the distributions (Duchi et al. 2008), which for two candidates clamps them to [0, 1]. Softmax: Adam moves s;
/// the gates are the softmax of s, which for two candidates is the sigmoid. Sparsemax: the same with the projection of
/// s onto the distributions (Martins and Astudillo, arXiv 1602.02068).
using GateParametrization = SelectSpec::Parametrization;

/// Gates `gate.<layer>` of N-1 elements for N candidates: element i is the share of candidate i, full attention being
/// 0, the last candidate has what is left (dialect op `blend`). A candidate that the space does not allow has none,
/// tied layers have one distribution. A layer of one candidate has no gate.
class GateSpace {
public:
  /// Gates of the program, by layer. Errors: a layer of several candidates without a gate of their number, a gate of a
  /// layer that has none.
  static StatusOr<GateSpace> create(const plan::Plan &plan, const ChoiceSpace &space,
                                    GateParametrization parametrization);

  /// Sets what is not free: a layer whose first value has a share of what is not allowed gets equal shares. For
  /// Softmax and Sparsemax gates start inside: at most .95 (an infinite s, and one without a gradient, are at 1).
  void begin(NamedTensors &masters);
  /// Adds `pressure` (by layer and candidate; a derivative by the shares) to the gradients, drops what is not free,
  /// sums tied layers and, for Softmax and Sparsemax, applies the chain rule and puts s where Adam updates it.
  void beforeUpdate(NamedTensors &masters, NamedTensors &gradients, const CandidateTable &pressure);
  /// Takes the updated variables back to distributions.
  void afterUpdate(NamedTensors &masters);

  /// The share of every candidate.
  CandidateTable shares(const NamedTensors &masters) const;
  /// Sets every gate to one candidate.
  void setChoice(NamedTensors &masters, const Choice &choice) const;

  /// The variables s for a checkpoint; none under Clamp.
  const NamedTensors &variables() const { return variables_; }
  void restoreVariables(const NamedTensors &variables) { variables_ = variables; }

private:
  /// The shares that a layer's variables give, which are on the CPU.
  std::vector<double> sharesOf(size_t layer, const at::Tensor &variables) const;
  /// Gradients by the shares become gradients by the variables, which take the shares' place in the masters.
  void toVariables(NamedTensors &masters, NamedTensors &gradients, HostCopies &onHost) const;

  GateParametrization parametrization_ = GateParametrization::Clamp;
  std::vector<std::string> names_;         ///< By layer; empty: no gate.
  std::vector<std::vector<bool>> allowed_; ///< By layer and candidate.
  std::vector<std::vector<size_t>> tied_;  ///< Layers with one distribution, of two or more.
  NamedTensors variables_;
};

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_SELECT_GATESPACE_H
