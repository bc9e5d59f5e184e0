// SPDX-License-Identifier: Apache-2.0

#include "runtime/choice/Enumerate.h"

#include "runtime/choice/Solve.h"

namespace morph {

/// Adds the choices that begin with `choice` up to `layer`; more than `most` are not looked for. The space is the one
/// with these pinned, in which something is possible.
static Status addChoices(const ChoiceSpace &space, size_t layer, size_t most, Choice &choice,
                         std::vector<Choice> &list) {
  if (layer == space.layers.size())
    list.push_back(choice);
  for (size_t c = 0; layer < space.layers.size() && c < space.layers[layer].size() && list.size() <= most; ++c) {
    ChoiceSpace pinned = space;
    pinned.allowed.push_back({{"choice", ""}, {static_cast<int64_t>(layer)}, {space.layers[layer][c].name}});
    MORPH_ASSIGN_OR_RETURN(const bool possible, isPossible(pinned));
    if (!possible)
      continue;
    choice[layer] = static_cast<int64_t>(c);
    MORPH_RETURN_IF_ERROR(addChoices(pinned, layer + 1, most, choice, list));
  }
  return Status();
}

StatusOr<std::optional<std::vector<Choice>>> allChoices(const ChoiceSpace &space, size_t most) {
  std::vector<Choice> list;
  MORPH_ASSIGN_OR_RETURN(const bool possible, isPossible(space));
  Choice choice(space.layers.size(), 0);
  if (possible)
    MORPH_RETURN_IF_ERROR(addChoices(space, 0, most, choice, list));
  return list.size() > most ? std::nullopt : std::optional(std::move(list));
}

} // namespace morph
