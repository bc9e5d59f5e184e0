// SPDX-License-Identifier: Apache-2.0
// The names of selectors: what specs may say, and what a selector measures with.

#ifndef MORPH_RUNTIME_CHOICE_SELECTORS_H
#define MORPH_RUNTIME_CHOICE_SELECTORS_H

#include "runtime/base/Status.h"

#include <cstdint>
#include <string>
#include <vector>

namespace morph {

/// What a selector measures with: the programs that it is given, and what its numbers depend on.
enum class SelectorNeeds {
  Nothing,   ///< The space alone.
  Alignment, ///< The errors of aligned branches: `align-forward`.
  Scores,    ///< KL and answers of choices on the tasks: `score` of the relaxed model, `logits` of the base.
  Text,      ///< The same on text.
  TasksAndText,
  Gates, ///< Gradients by the gates: `gates`, `gates-forward`.
};

/// Which choices a selector has scored, by which a plan says how many they are (tools/morph/Costs.cpp).
enum class SelectorVisits {
  NoChoices,        ///< None.
  Changes,          ///< Those that differ from all full in one layer, or group of tied ones (comparedCandidates).
  LinearAndChanges, ///< All linear (linearChoice), and those that differ from it so.
  Growth,           ///< Those that the best so far becomes by one more full layer; with `backward`, linear layer.
  BeamGrowth,       ///< The same of the best `beamWidth` so far.
  EveryChoice,      ///< All of the space.
  SearchTokens,     ///< As many as `select.search_tokens` are for.
};

struct SelectorInfo {
  std::string name, options;
  SelectorNeeds needs;
  SelectorVisits visits;
  std::string summary;
};

/// Whether it scores choices on text.
inline bool scoresText(const SelectorInfo &info) {
  return info.needs == SelectorNeeds::Text || info.needs == SelectorNeeds::TasksAndText;
}

/// All selectors, in the order of Selectors.def.
const std::vector<SelectorInfo> &selectors();

/// A selector as specs name it: "greedy:forward", "gates+refine".
struct SelectorName {
  const SelectorInfo *info;
  std::string option;   ///< Empty: none was given.
  bool refines = false; ///< Exchanges end it.
};

/// Whether it scores choices.
inline bool needsScores(const SelectorName &name) {
  return name.refines || name.info->needs == SelectorNeeds::Scores || name.info->needs == SelectorNeeds::TasksAndText ||
         name.info->needs == SelectorNeeds::Text;
}

/// Whether it distils, for each layer, the model with that layer alone full beside what pins keep full, and reads what
/// the stage wrote.
inline bool distilsAlone(const SelectorName &name) { return name.info->name == "kl" && name.option == "trained"; }

/// How many choices of each size a beam keeps, by the option.
int64_t beamWidth(const std::string &option);

/// The folder of such a model's stage in the run, of the first layer of a tied group.
inline std::string aloneStage(size_t layer) { return "distill/alone-" + std::to_string(layer); }

/// What an audit takes for uniform with every offset that its budget admits, and the middles.
inline constexpr const char *kEveryUniform = "uniform:*";

/// Errors: no such selector, or an option that it does not have; the hint lists what there is.
StatusOr<SelectorName> parseSelectorName(const std::string &text);

} // namespace morph

#endif // MORPH_RUNTIME_CHOICE_SELECTORS_H
