// SPDX-License-Identifier: Apache-2.0
// Scores of the choices that differ from one in a single layer, or group of tied layers.

#ifndef MORPH_RUNTIME_TRAIN_SELECT_SINGLECHANGES_H
#define MORPH_RUNTIME_TRAIN_SELECT_SINGLECHANGES_H

#include "runtime/train/select/Selector.h"

namespace morph {

struct SingleChange {
  std::vector<size_t> layers; ///< Those of the group.
  int64_t candidate = 0;      ///< That they take.
  ChoiceScores scores;
};

/// Of all groups the compared candidates (comparedCandidates) other than those of `base`, in the order of layers, then
/// of candidates. `label` opens the progress line.
StatusOr<std::vector<SingleChange>> scoreSingleChanges(const ChoiceSpace &space, ChoiceScorer &scorer,
                                                       const Choice &base, const std::string &label);

/// A layer is worth what the model gains over all layers linear (linearChoice) where that layer alone is full, by the
/// KL on `data`; one that pins keep full in both, what the model loses without.
StatusOr<Selection> selectByAdding(SelectorContext &context, ScoredData data, const std::string &label);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_SELECT_SINGLECHANGES_H
