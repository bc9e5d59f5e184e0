// SPDX-License-Identifier: Apache-2.0
// Layers floor(i * L / K) + N, or with `middle` floor((i + 1/2) * L / K). Pinned layers come first; a layer of the
// pattern that is pinned or taken moves to the nearest free one (the lower of two as near). Where more is asked than
// pins and a number of layers, the choice that keeps most of these layers.

#include "runtime/train/select/Selector.h"

#include <algorithm>
#include <cstdlib>

namespace morph {

static StatusOr<Selection> selectUniform(SelectorContext &context) {
  const ChoiceSpace &space = context.space;
  MORPH_ASSIGN_OR_RETURN(const int64_t full, fullLayerCount(space));
  const int64_t layers = space.layerCount();
  const std::vector<std::vector<bool>> allowed = space.allowedMask();
  std::vector<int> state(static_cast<size_t>(layers), 0); // 1 kept, -1 never
  std::vector<int64_t> pinned;
  for (int64_t layer = 0; layer < layers; ++layer) {
    const std::vector<bool> &row = allowed[static_cast<size_t>(layer)];
    if (!row.front())
      state[static_cast<size_t>(layer)] = -1;
    else if (std::count(row.begin(), row.end(), true) == 1)
      pinned.push_back(layer);
  }
  for (int64_t layer : pinned)
    state[static_cast<size_t>(layer)] = 1;
  // A pinned layer stands for the place of the pattern that is nearest to it.
  std::vector<int64_t> places;
  const bool isMiddle = context.option == "middle";
  const int64_t offset = isMiddle || context.option.empty() ? 0 : std::stoll(context.option);
  if (full > 0 && offset >= (layers + full - 1) / full)
    return Status::invalid("select.method: uniform:" + context.option + " is beyond the last offset, as each of " +
                               std::to_string(full) + " kept layers of " + std::to_string(layers) + " stands for " +
                               std::to_string((layers + full - 1) / full) + " at most",
                           "offsets begin at 0");
  for (int64_t i = 0; i < full; ++i)
    places.push_back(isMiddle ? (2 * i + 1) * layers / (2 * full) : i * layers / full + offset);
  const auto nearest = [](const std::vector<int64_t> &list, int64_t layer) {
    return std::min_element(list.begin(), list.end(),
                            [&](int64_t a, int64_t b) { return std::abs(a - layer) < std::abs(b - layer); });
  };
  for (int64_t layer : pinned)
    if (!places.empty())
      places.erase(nearest(places, layer));
  for (int64_t place : places) {
    std::vector<int64_t> free;
    for (int64_t layer = 0; layer < layers; ++layer)
      if (state[static_cast<size_t>(layer)] == 0)
        free.push_back(layer);
    if (!free.empty())
      state[static_cast<size_t>(*nearest(free, place))] = 1;
  }
  std::vector<double> scores;
  for (int value : state)
    scores.push_back(value == 1 ? 1 : 0);
  return selectionOfScores(space, std::move(scores));
}

static const SelectorRegistration uniformRegistration("uniform", selectUniform);

} // namespace morph
