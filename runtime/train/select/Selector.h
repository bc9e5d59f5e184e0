// SPDX-License-Identifier: Apache-2.0
// Selectors: how the layers that keep full attention are chosen. A selector is one file in this folder that registers
// itself; the spec names it in `select.method`.

#ifndef MORPH_RUNTIME_TRAIN_SELECT_SELECTOR_H
#define MORPH_RUNTIME_TRAIN_SELECT_SELECTOR_H

#include "runtime/choice/Solve.h"
#include "runtime/train/StageContext.h"

#include <functional>

namespace morph {

/// What was chosen and what it cost.
struct Selection {
  Choice choice;
  CandidateTable values;              ///< What the choice is the best sum of in the space (solve).
  std::vector<double> scores;         ///< One a layer; the larger, the more it should keep full attention.
  std::vector<double> standardErrors; ///< Of the scores over independent samples, one a layer; empty: not known.
  /// One a layer: how far the score still moved over the last part of the one run that gave it; empty: not a run. Small
  /// drift says that the run was long enough, nothing about what other data would have given.
  std::vector<double> drift;
  int64_t tokens = 0;
  double flops = 0;
  double seconds = 0;
  bool interrupted = false;                                          ///< Nothing else is valid then.
  nlohmann::ordered_json details = nlohmann::ordered_json::object(); ///< Of the method, for people.
};

/// Chooses in a space, in which something is possible.
using Selector = std::function<StatusOr<Selection>(const StageContext &, const ChoiceSpace &)>;

/// Makes a selector known. `summary` is one line for messages.
struct SelectorRegistration {
  SelectorRegistration(const std::string &name, const std::string &summary, Selector selector);
};

/// The selector of that name, or null.
const Selector *findSelector(const std::string &name);
/// All names, sorted.
std::vector<std::string> selectorNames();

/// Values of full attention alone, the other candidates being alike: 0.
CandidateTable valuesOfFull(const ChoiceSpace &space, const std::vector<double> &scores);

/// The number of layers that keep full attention: what the space asks for, or else the most that it admits.
StatusOr<int64_t> fullLayerCount(const ChoiceSpace &space);

/// What selection.json holds: `choice` (a candidate's name a layer), `kept`, `scores`, `values` and the `space`, by
/// which morph-discretize can choose again; `standard_errors` and `drift` only where the method has them.
nlohmann::ordered_json selectionJson(const Selection &selection, const ChoiceSpace &space, const std::string &method,
                                     uint64_t seed);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_SELECT_SELECTOR_H
