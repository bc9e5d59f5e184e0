// SPDX-License-Identifier: Apache-2.0
// Searches that look at whole choices until their tokens are spent.

#ifndef MORPH_RUNTIME_TRAIN_SELECT_CHOICESEARCH_H
#define MORPH_RUNTIME_TRAIN_SELECT_CHOICESEARCH_H

#include "runtime/train/select/Selector.h"

namespace morph {

/// A choice and its KL.
struct ScoredChoice {
  Choice choice;
  double kl = 0;
};

/// Scores the choices that `propose` makes, until `select.search_tokens` are spent or it makes none that is new any
/// more. `propose` knows all that were scored, in their order; `index` is how often it was asked. Returns the best; of
/// equal ones the first. Errors: tokens for less than one choice.
StatusOr<Selection>
searchChoices(SelectorContext &context, const std::string &label,
              const std::function<StatusOr<Choice>(int64_t index, const std::vector<ScoredChoice> &scored)> &propose);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_SELECT_CHOICESEARCH_H
