// SPDX-License-Identifier: Apache-2.0
// Layers that the spec names, or the choice of another run's selection.json.

#include "runtime/base/Json.h"
#include "runtime/train/select/Selector.h"

#include <algorithm>

namespace morph {

/// The choice of a selection.json for the same candidates.
static StatusOr<Choice> readChoice(const ChoiceSpace &space, const std::string &path) {
  MORPH_ASSIGN_OR_RETURN(const Json json, readJson(path));
  MORPH_ASSIGN_OR_RETURN(const auto names, jsonGet<std::vector<std::string>>(json, "choice", path));
  if (names.size() != space.layers.size())
    return Status::invalid("'" + path + "' is of " + std::to_string(names.size()) + " layers, and the model has " +
                           std::to_string(space.layers.size()));
  Choice choice;
  for (size_t layer = 0; layer < names.size(); ++layer) {
    const std::vector<Candidate> &candidates = space.layers[layer];
    const auto found = std::find_if(candidates.begin(), candidates.end(),
                                    [&](const Candidate &candidate) { return candidate.name == names[layer]; });
    if (found == candidates.end())
      return Status::invalid("'" + path + "' has '" + names[layer] + "' in layer " + std::to_string(layer) +
                             ", which is no candidate of this spec's");
    choice.push_back(found - candidates.begin());
  }
  return choice;
}

static StatusOr<Selection> selectFixed(SelectorContext &context) {
  const ChoiceSpace &space = context.space;
  const SelectSpec &section = context.stage.spec.select;
  Choice choice = linearChoice(space);
  if (section.from) {
    MORPH_ASSIGN_OR_RETURN(choice, readChoice(space, *section.from));
  }
  for (int64_t layer : section.layers) {
    if (layer >= space.layerCount())
      return Status::invalid("select.layers: there is no layer " + std::to_string(layer),
                             "the model has layers 0 to " + std::to_string(space.layerCount() - 1));
    choice[static_cast<size_t>(layer)] = 0;
  }
  if (!satisfies(space, choice)) {
    std::string kept;
    for (int64_t layer : fullLayers(choice))
      kept += " " + std::to_string(layer);
    return Status::invalid("select.method: the fixed choice, which keeps layers" + kept +
                               ", is not one that [budget] or the arch allows",
                           "name as many layers as the budget has, the pinned ones among them");
  }
  return selectionOfChoice(space, std::move(choice));
}

static const SelectorRegistration fixedRegistration("fixed", selectFixed);

} // namespace morph
