// SPDX-License-Identifier: Apache-2.0
// Single drop: a layer is worth the KL at the answers where that layer alone is linear: s_i = KL(all full but i). The
// ranking of PostNAS by lost recall, R(all full) - R(all full but i) (Jet-Nemotron, arXiv 2508.15884), with the KL in
// the place of the accuracy: that of all full is 0.

#include "runtime/train/HeldOut.h"
#include "runtime/train/select/SingleChanges.h"

namespace morph {

static StatusOr<Selection> selectDrop(SelectorContext &context) {
  const ChoiceSpace &space = context.space;
  MORPH_ASSIGN_OR_RETURN(ChoiceScorer *const scorer, context.scorer());
  MORPH_ASSIGN_OR_RETURN(const std::vector<SingleChange> changes,
                         scoreSingleChanges(space, *scorer, fullChoice(space), "select (drop)"));
  Selection selection;
  selection.values = valuesOfFull(space, std::vector<double>(space.layers.size(), 0));
  selection.scores.assign(space.layers.size(), 0);
  selection.standardErrors.assign(space.layers.size(), 0);
  std::vector<bool> known(space.layers.size(), false);
  for (const SingleChange &change : changes) {
    const MeanAndError kl = meanAndError(change.scores.kl);
    for (size_t layer : change.layers) {
      // A group's loss is all its layers' together; a layer's score is that of its best other candidate.
      const auto share = 1 / static_cast<double>(change.layers.size());
      selection.values[layer][static_cast<size_t>(change.candidate)] = -share * kl.mean;
      if (known[layer] && share * kl.mean >= selection.scores[layer])
        continue;
      known[layer] = true;
      selection.scores[layer] = share * kl.mean;
      selection.standardErrors[layer] = share * kl.standardError;
    }
  }
  MORPH_ASSIGN_OR_RETURN(selection.choice, solve(space, selection.values));
  return selection;
}

static const SelectorRegistration dropRegistration("drop", selectDrop);

} // namespace morph
