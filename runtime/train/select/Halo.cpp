// SPDX-License-Identifier: Apache-2.0
// HALO (arXiv 2601.22156): of the models with one layer linear, a layer is worth the recall that its model lost over
// the general ability that it lost: s_i = (max_j R_j - R_i) / (max_j C_j - C_i + 1e-6). R is the share of the answers'
// tokens that are right, C the share of a text's, for its tests of knowledge.

#include "runtime/train/HeldOut.h"
#include "runtime/train/select/SingleChanges.h"

#include <algorithm>

namespace morph {

static StatusOr<Selection> selectHalo(SelectorContext &context) {
  const ChoiceSpace &space = context.space;
  const Choice full = fullChoice(space);
  MORPH_ASSIGN_OR_RETURN(ChoiceScorer *const tasks, context.scorer(ScoredData::Tasks));
  MORPH_ASSIGN_OR_RETURN(ChoiceScorer *const text, context.scorer(ScoredData::Text));
  MORPH_ASSIGN_OR_RETURN(const std::vector<SingleChange> recalls,
                         scoreSingleChanges(space, *tasks, full, "select (halo, tasks)"));
  MORPH_ASSIGN_OR_RETURN(const std::vector<SingleChange> abilities,
                         scoreSingleChanges(space, *text, full, "select (halo, text)"));
  std::vector<double> recall, ability;
  for (size_t i = 0; i < recalls.size(); ++i) {
    recall.push_back(meanAndError(recalls[i].scores.correct).mean);
    ability.push_back(meanAndError(abilities[i].scores.correct).mean);
  }
  Selection selection;
  selection.values = valuesOfFull(space, std::vector<double>(space.layers.size(), 0));
  selection.scores.assign(space.layers.size(), 0);
  for (size_t i = 0; i < recalls.size(); ++i) {
    const double bestRecall = *std::max_element(recall.begin(), recall.end());
    const double bestAbility = *std::max_element(ability.begin(), ability.end());
    const double score = (bestRecall - recall[i]) / (bestAbility - ability[i] + 1e-6);
    for (size_t layer : recalls[i].layers) {
      const auto share = 1 / static_cast<double>(recalls[i].layers.size());
      selection.values[layer][static_cast<size_t>(recalls[i].candidate)] = -share * score;
      selection.scores[layer] =
          recalls[i].candidate == 1 ? share * score : std::min(selection.scores[layer], share * score);
    }
  }
  MORPH_ASSIGN_OR_RETURN(selection.choice, solve(space, selection.values));
  return selection;
}

static const SelectorRegistration registration("halo", selectHalo);

} // namespace morph
