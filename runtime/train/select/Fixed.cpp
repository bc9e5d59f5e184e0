// SPDX-License-Identifier: Apache-2.0
// Layers that the spec names, the others with what the space admits beside full attention; or the choice of another
// run's selection.json.

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

/// The space with these layers full. Of the others those stay full that can be nothing else: pinned ones, and what is
/// tied to them or to these.
static StatusOr<ChoiceSpace> keepOnly(const ChoiceSpace &space, const std::vector<int64_t> &layers) {
  ChoiceSpace result = space;
  for (int64_t layer : layers) {
    if (layer >= space.layerCount())
      return Status::invalid("select.layers: there is no layer " + std::to_string(layer),
                             "the model has layers 0 to " + std::to_string(space.layerCount() - 1));
    result.allowed.push_back({{"select.layers", ""}, {layer}, {kFullAttention}});
  }
  const Choice choice = linearChoice(result);
  for (size_t layer = 0; layer < choice.size(); ++layer) {
    if (choice[layer] == 0)
      continue;
    AllowedCandidates others{{"select.layers", ""}, {static_cast<int64_t>(layer)}, {}};
    for (size_t c = 1; c < space.layers[layer].size(); ++c)
      others.candidates.push_back(space.layers[layer][c].name);
    result.allowed.push_back(std::move(others));
  }
  return result;
}

static StatusOr<Selection> selectFixed(SelectorContext &context) {
  const ChoiceSpace &space = context.space;
  const SelectSpec &section = context.stage.spec.select;
  Choice choice;
  bool fits = false;
  if (section.from) {
    MORPH_ASSIGN_OR_RETURN(choice, readChoice(space, *section.from));
    fits = satisfies(space, choice);
  } else {
    MORPH_ASSIGN_OR_RETURN(const ChoiceSpace only, keepOnly(space, section.layers));
    MORPH_ASSIGN_OR_RETURN(fits, isPossible(only));
    choice = linearChoice(only);
    if (fits) {
      // As many first candidates as budgets and patterns admit.
      MORPH_ASSIGN_OR_RETURN(choice, solve(only, selectionOfChoice(space, choice).values));
    }
  }
  if (!fits) {
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
