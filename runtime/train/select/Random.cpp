// SPDX-License-Identifier: Apache-2.0
// A seeded random choice: every layer draws a score.

#include "runtime/train/select/Selector.h"

namespace morph {

static StatusOr<Selection> selectRandom(const StageContext &context, const SelectionRequest &request) {
  Selection selection;
  Random random(context.seed, "select/random", 0);
  for (int64_t layer = 0; layer < request.layers; ++layer)
    selection.scores.push_back(random.uniform());
  selection.kept = largestLayers(selection.scores, {}, request);
  return selection;
}

static const SelectorRegistration registration("random", "a seeded random choice", selectRandom);

} // namespace morph
