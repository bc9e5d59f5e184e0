// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/select/SingleChanges.h"

#include "runtime/train/HeldOut.h"

namespace morph {

StatusOr<std::vector<SingleChange>> scoreSingleChanges(const ChoiceSpace &space, ChoiceScorer &scorer,
                                                       const Choice &base, const std::string &label) {
  std::vector<SingleChange> changes;
  const std::vector<std::vector<int64_t>> compared = comparedCandidates(space);
  for (const std::vector<size_t> &group : tiedGroups(space))
    for (int64_t candidate : compared[group.front()])
      if (candidate != base[group.front()])
        changes.push_back({group, candidate, {}});
  scorer.expect(label, static_cast<int64_t>(changes.size()));
  for (SingleChange &change : changes) {
    Choice choice = base;
    for (size_t layer : change.layers)
      choice[layer] = change.candidate;
    MORPH_ASSIGN_OR_RETURN(change.scores, scorer.scores(choice));
  }
  return changes;
}

StatusOr<Selection> selectByAdding(SelectorContext &context, ScoredData data, const std::string &label) {
  const ChoiceSpace &space = context.space;
  MORPH_ASSIGN_OR_RETURN(ChoiceScorer *const scorer, context.scorer(data));
  const Choice linear = linearChoice(space);
  MORPH_ASSIGN_OR_RETURN(const ChoiceScores before, scorer->scores(linear));
  MORPH_ASSIGN_OR_RETURN(const std::vector<SingleChange> changes, scoreSingleChanges(space, *scorer, linear, label));
  Selection selection;
  selection.values = valuesOfFull(space, std::vector<double>(space.layers.size(), 0));
  selection.scores.assign(space.layers.size(), 0);
  selection.standardErrors.assign(space.layers.size(), 0);
  for (const SingleChange &change : changes) {
    const MeanAndError gain = pairedDifference(before.kl, change.scores.kl);
    for (size_t layer : change.layers) {
      // A group's gain is all its layers' together.
      const auto share = 1 / static_cast<double>(change.layers.size());
      selection.values[layer][static_cast<size_t>(change.candidate)] = share * gain.mean;
      const bool loses = linear[layer] == 0; // Pins keep it full: the change takes that away.
      if (change.candidate != 0 && !loses)
        continue;
      selection.scores[layer] = (loses ? -share : share) * gain.mean;
      selection.standardErrors[layer] = share * gain.standardError;
    }
  }
  MORPH_ASSIGN_OR_RETURN(selection.choice, solve(space, selection.values));
  return selection;
}

} // namespace morph
