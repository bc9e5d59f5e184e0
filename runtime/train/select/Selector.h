// SPDX-License-Identifier: Apache-2.0
// Selectors: how the layers that keep full attention are chosen. A selector is a line of runtime/choice/Selectors.def
// and a file in this folder that registers its function; specs name it in `select.method` and `evaluate.baselines`.

#ifndef MORPH_RUNTIME_TRAIN_SELECT_SELECTOR_H
#define MORPH_RUNTIME_TRAIN_SELECT_SELECTOR_H

#include "runtime/choice/Selectors.h"
#include "runtime/choice/Solve.h"
#include "runtime/train/select/ChoiceScorer.h"

#include <functional>
#include <limits>

namespace morph {

/// What was chosen and what it cost.
struct Selection {
  Choice choice;
  CandidateTable values; ///< What the choice is the best sum of in the space (solve).
  /// `+refine` takes no choice whose values add up to more than so much less: gates say what they leave open. Others'
  /// values have no such unit.
  double reach = std::numeric_limits<double>::infinity();
  std::vector<double> scores;         ///< One a layer; the larger, the more it should keep full attention.
  std::vector<double> standardErrors; ///< Of the scores over independent samples, one a layer; empty: not known.
  /// One a layer: how far the score still moved over the last part of the one run that gave it; empty: not a run. Small
  /// drift says that the run was long enough, nothing about what other data would have given.
  std::vector<double> drift;
  MeasureCost cost;                                                  ///< Without what the context's scorers took.
  nlohmann::ordered_json details = nlohmann::ordered_json::object(); ///< Of the method, for people.
};

/// What a selector scores choices on: samples of `select.tasks`, or windows of text.
enum class ScoredData { Tasks, Text };

/// What a selector chooses in and measures with.
class SelectorContext {
public:
  SelectorContext(const StageContext &stage, const ChoiceSpace &space, std::string option = "")
      : stage(stage), space(space), option(std::move(option)) {}

  const StageContext &stage;
  const ChoiceSpace &space; ///< In which something is possible.
  const std::string option; ///< What the spec has after the colon; empty: nothing.

  /// Measures choices; made at the first call. Errors: no samples, a plan that was not given.
  StatusOr<ChoiceScorer *> scorer(ScoredData data = ScoredData::Tasks);
  /// Writes what they measured, for the selectors after this one.
  Status flush() const;
  /// What the scorers' measurements took.
  MeasureCost scorersCost() const;

private:
  std::map<ScoredData, std::unique_ptr<ChoiceScorer>> scorers_;
};

/// Chooses. A signal ends it with Status::interrupted; what was measured is kept.
using Selector = std::function<StatusOr<Selection>(SelectorContext &)>;

/// What of a space a selector cannot do, found without measuring anything.
using SpaceCheck = std::function<Status(const ChoiceSpace &)>;

/// Makes the function of a selector of Selectors.def known, and its check, if it has one.
struct SelectorRegistration {
  SelectorRegistration(const std::string &name, Selector selector, SpaceCheck check = nullptr);
};

/// The selector's function.
const Selector &findSelector(const SelectorInfo &info);

/// The checks of the spec's selectors.
Status checkSelectors(const ResolvedSpec &spec);

/// Values of full attention alone, the other candidates being alike: 0.
CandidateTable valuesOfFull(const ChoiceSpace &space, const std::vector<double> &scores);

/// The choice that values of full attention make, with scores as they are.
StatusOr<Selection> selectionOfScores(const ChoiceSpace &space, std::vector<double> scores);

/// The selection of a choice that was found as a whole: its candidates are worth 1, all others nothing.
Selection selectionOfChoice(const ChoiceSpace &space, Choice choice);

/// The number of layers that keep full attention: what the space asks for, or else the most that it admits.
StatusOr<int64_t> fullLayerCount(const ChoiceSpace &space);

/// Runs the selector, and the exchanges that end it where its name asks for them; the cost is all of it.
StatusOr<Selection> choose(SelectorContext &context, const SelectorName &name);

/// What selection.json holds: `choice` (a candidate's name a layer), `kept`, `scores`, `values` and the `space`, by
/// which morph-discretize can choose again; `standard_errors` and `drift` only where the method has them. Without both
/// are scores that say what was chosen and not what it is worth: the rounds of greedy and beam, and the 1 and 0 of
/// random_search, evolution and fixed; what uniform and random give is measured on nothing.
nlohmann::ordered_json selectionJson(const Selection &selection, const ChoiceSpace &space, const std::string &method,
                                     uint64_t seed);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_SELECT_SELECTOR_H
