// SPDX-License-Identifier: Apache-2.0
// Layers floor(i * L / K). Pinned layers come first; a layer of the pattern that is pinned or taken moves to the
// nearest free one (the lower of two as near).

#include "runtime/train/select/Selector.h"

#include <algorithm>
#include <cstdlib>

namespace morph {

static StatusOr<Selection> selectUniform(const StageContext &, const SelectionRequest &request) {
  std::vector<int> state(static_cast<size_t>(request.layers), 0); // 1 kept, -1 never
  for (int64_t layer : request.keep)
    state[static_cast<size_t>(layer)] = 1;
  for (int64_t layer : request.linear)
    state[static_cast<size_t>(layer)] = -1;
  // A pinned layer stands for the place of the pattern that is nearest to it.
  std::vector<int64_t> places;
  for (int64_t i = 0; i < request.budget; ++i)
    places.push_back(i * request.layers / request.budget);
  const auto nearest = [](const std::vector<int64_t> &list, int64_t layer) {
    return std::min_element(list.begin(), list.end(),
                            [&](int64_t a, int64_t b) { return std::abs(a - layer) < std::abs(b - layer); });
  };
  for (int64_t layer : request.keep)
    places.erase(nearest(places, layer));
  for (int64_t place : places) {
    std::vector<int64_t> free;
    for (int64_t layer = 0; layer < request.layers; ++layer)
      if (state[static_cast<size_t>(layer)] == 0)
        free.push_back(layer);
    state[static_cast<size_t>(*nearest(free, place))] = 1;
  }
  Selection selection;
  for (int64_t layer = 0; layer < request.layers; ++layer) {
    const bool kept = state[static_cast<size_t>(layer)] == 1;
    if (kept)
      selection.kept.push_back(layer);
    selection.scores.push_back(kept ? 1 : 0);
  }
  return selection;
}

static const SelectorRegistration registration("uniform", "layers floor(i*L/K)", selectUniform);

} // namespace morph
