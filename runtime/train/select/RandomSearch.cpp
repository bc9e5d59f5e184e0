// SPDX-License-Identifier: Apache-2.0
// The best of as many random choices as the tokens allow, argmin_t KL(S_t): what any search must beat (Bergstra and
// Bengio, Random Search for Hyper-Parameter Optimization, JMLR 13, 2012). S_t is the best sum of values that are
// uniform in [0, 1) for each candidate, within the space.

#include "runtime/train/select/ChoiceSearch.h"

namespace morph {

static StatusOr<Selection> selectRandomSearch(SelectorContext &context) {
  return searchChoices(context, "select (random_search)", [&](int64_t index, const std::vector<ScoredChoice> &) {
    Random random(context.stage.seed, "select/random_search", static_cast<uint64_t>(index));
    CandidateTable values = valuesOfFull(context.space, std::vector<double>(context.space.layers.size(), 0));
    for (std::vector<double> &row : values)
      for (double &value : row)
        value = random.uniform();
    return solve(context.space, values);
  });
}

static const SelectorRegistration randomSearchRegistration("random_search", selectRandomSearch);

} // namespace morph
