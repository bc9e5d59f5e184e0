// SPDX-License-Identifier: Apache-2.0
// A seeded random choice: every layer draws a score.

#include "runtime/train/select/Selector.h"

namespace morph {

static StatusOr<Selection> selectRandom(const StageContext &context, const ChoiceSpace &space) {
  Selection selection;
  Random random(context.seed, "select/random", 0);
  for (int64_t layer = 0; layer < space.layerCount(); ++layer)
    selection.scores.push_back(random.uniform());
  selection.values = valuesOfFull(space, selection.scores);
  // Which of the other candidates a layer takes is drawn, too, where there are several.
  Random others(context.seed, "select/random/candidates", 0);
  for (std::vector<double> &row : selection.values)
    for (size_t c = 1; c < row.size() && row.size() > 2; ++c)
      row[c] = others.uniform();
  MORPH_ASSIGN_OR_RETURN(selection.choice, solve(space, selection.values));
  return selection;
}

static const SelectorRegistration registration("random", "a seeded random choice", selectRandom);

} // namespace morph
