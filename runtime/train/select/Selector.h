// SPDX-License-Identifier: Apache-2.0
// Selectors: how the layers that keep full attention are chosen. A selector is one file in this folder that registers
// itself; the spec names it in `select.method`.

#ifndef MORPH_RUNTIME_TRAIN_SELECT_SELECTOR_H
#define MORPH_RUNTIME_TRAIN_SELECT_SELECTOR_H

#include "runtime/train/StageContext.h"

#include <functional>

namespace morph {

/// What is asked.
struct SelectionRequest {
  int64_t layers = 0;
  int64_t budget = 0;          ///< Layers that keep full attention, pinned ones included.
  std::vector<int64_t> keep;   ///< Pinned: always full.
  std::vector<int64_t> linear; ///< Pinned: never full.
};

/// What was chosen and what it cost.
struct Selection {
  std::vector<int64_t> kept;          ///< Sorted.
  std::vector<double> scores;         ///< One a layer; the larger, the more it should keep full attention.
  std::vector<double> standardErrors; ///< Of the scores over independent samples, one a layer; empty: not known.
  /// One a layer: how far the score still moved over the last part of the one run that gave it; empty: not a run. Small
  /// drift says that the run was long enough, nothing about what other data would have given.
  std::vector<double> drift;
  /// With several candidates: which (0: the first) each layer takes if linear; else empty.
  std::vector<int64_t> chosen;
  int64_t tokens = 0;
  double flops = 0;
  double seconds = 0;
  bool interrupted = false;                                          ///< Nothing else is valid then.
  nlohmann::ordered_json details = nlohmann::ordered_json::object(); ///< Of the method, for people.
};

using Selector = std::function<StatusOr<Selection>(const StageContext &, const SelectionRequest &)>;

/// Makes a selector known. `summary` is one line for messages.
struct SelectorRegistration {
  SelectorRegistration(const std::string &name, const std::string &summary, Selector selector);
};

/// The selector of that name, or null.
const Selector *findSelector(const std::string &name);
/// All names, sorted.
std::vector<std::string> selectorNames();

/// Checks the budget: 0 <= keep <= budget <= layers - linear, indices in range, no layer in both lists.
StatusOr<SelectionRequest> readSelectionRequest(const BudgetSpec &budget, int64_t layers);

/// The `budget` layers of largest score, pins respected, sorted. Equal scores: the larger `tieBreak` (may be empty),
/// then the lower layer.
std::vector<int64_t> largestLayers(const std::vector<double> &scores, const std::vector<double> &tieBreak,
                                   const SelectionRequest &request);

/// What selection.json holds; `standard_errors` and `drift` only where the method has them. `kinds` names the linear
/// candidates, for `chosen`: one kind a layer, as morph-discretize reads it.
nlohmann::ordered_json selectionJson(const Selection &selection, const SelectionRequest &request,
                                     const std::string &method, uint64_t seed, const std::vector<std::string> &kinds);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_SELECT_SELECTOR_H
