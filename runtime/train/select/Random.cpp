// SPDX-License-Identifier: Apache-2.0
// A seeded random choice: every layer draws a score. `random:3` is the choice of another draw.

#include "runtime/train/select/Selector.h"

namespace morph {

static StatusOr<Selection> selectRandom(SelectorContext &context) {
  const ChoiceSpace &space = context.space;
  const uint64_t draw = context.option.empty() ? 0 : std::stoull(context.option);
  Selection selection;
  Random random(context.stage.seed, "select/random", draw);
  for (int64_t layer = 0; layer < space.layerCount(); ++layer)
    selection.scores.push_back(random.uniform());
  selection.values = valuesOfFull(space, selection.scores);
  // Which of the other candidates a layer takes is drawn, too, where there are several.
  Random others(context.stage.seed, "select/random/candidates", draw);
  for (std::vector<double> &row : selection.values)
    for (size_t c = 1; c < row.size() && row.size() > 2; ++c)
      row[c] = others.uniform();
  MORPH_ASSIGN_OR_RETURN(selection.choice, solve(space, selection.values));
  return selection;
}

static const SelectorRegistration randomRegistration("random", selectRandom);

} // namespace morph
