// SPDX-License-Identifier: Apache-2.0
// KL-guided layer selection (arXiv 2512.20569): from all layers linear, the layers that alone give the lowest KL to the
// teacher on general text; as they are (zero tokens), or each distilled first.

#include "runtime/base/Json.h"
#include "runtime/train/HeldOut.h"
#include "runtime/train/select/SingleChanges.h"

#include <algorithm>

namespace morph {

/// Of what stage distill has left of the models with one layer, or tied group, full. A group is worth how much lower
/// its KL is than the largest of all, and its layers an equal part of that each: where a budget bounds layers from
/// above, others than the lowest KL's are worth something, too.
static StatusOr<Selection> selectTrained(const SelectorContext &context) {
  const ChoiceSpace &space = context.space;
  Selection selection;
  selection.scores.assign(space.layers.size(), 0);
  selection.standardErrors.assign(space.layers.size(), 0);
  std::vector<double> losses; // By group.
  const std::vector<std::vector<size_t>> groups = tiedGroups(space);
  for (const std::vector<size_t> &group : groups) {
    const std::string file = context.stage.runDir + "/" + aloneStage(group.front()) + "/distill.json";
    MORPH_ASSIGN_OR_RETURN(const Json summary, readJson(file));
    MORPH_RETURN_IF_ERROR(readState(file, [&] {
      const Json &text = summary.at("held_out_after").at("text");
      losses.push_back(text.at("kl").get<double>());
      for (const size_t layer : group)
        selection.standardErrors[layer] = text.at("standard_error").get<double>() / static_cast<double>(group.size());
      selection.cost += {summary.at("tokens").get<int64_t>() + summary.at("held_out_tokens").get<int64_t>(),
                         summary.at("flops").get<double>() + summary.at("held_out_flops").get<double>(),
                         summary.at("seconds").get<double>()};
      return Status();
    }));
  }
  const double largest = *std::max_element(losses.begin(), losses.end());
  for (size_t i = 0; i < groups.size(); ++i)
    for (const size_t layer : groups[i])
      selection.scores[layer] = (largest - losses[i]) / static_cast<double>(groups[i].size());
  selection.values = valuesOfFull(space, selection.scores);
  MORPH_ASSIGN_OR_RETURN(selection.choice, solve(space, selection.values));
  return selection;
}

static StatusOr<Selection> selectKl(SelectorContext &context) {
  if (context.option == "trained")
    return selectTrained(context);
  return selectByAdding(context, ScoredData::Text, "select (kl)");
}

static const SelectorRegistration klRegistration("kl", selectKl);

} // namespace morph
