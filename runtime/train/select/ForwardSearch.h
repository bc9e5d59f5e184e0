// SPDX-License-Identifier: Apache-2.0
// Choices grown one group of tied layers at a time, by their KL.

#ifndef MORPH_RUNTIME_TRAIN_SELECT_FORWARDSEARCH_H
#define MORPH_RUNTIME_TRAIN_SELECT_FORWARDSEARCH_H

#include "runtime/train/select/Selector.h"

namespace morph {

enum class GrowthFrom {
  Linear, ///< Layers become full, one after the other.
  Full,   ///< Layers become linear.
};

/// Of all choices that one more group makes of the `width` best so far, keeps the `width` best. From linear, as long as
/// the space leaves room for one more; from full, until the space has a choice in which all others are full. What is
/// linear has its first allowed candidate. The best of the last round is completed by what the space asks for, which
/// may be other candidates. `label` opens the progress lines. Scores are the rounds in which layers were taken: first
/// ones highest from linear, lowest from full.
StatusOr<Selection> growChoices(SelectorContext &context, GrowthFrom from, int64_t width, const std::string &label);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_SELECT_FORWARDSEARCH_H
