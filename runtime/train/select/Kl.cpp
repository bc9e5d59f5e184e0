// SPDX-License-Identifier: Apache-2.0
// KL-guided layer selection (arXiv 2512.20569): from all layers linear, the layers that alone give the lowest KL to the
// teacher on general text; as they are (zero tokens), or each distilled first.

#include "runtime/base/Json.h"
#include "runtime/train/HeldOut.h"
#include "runtime/train/select/SingleChanges.h"

#include <algorithm>

namespace morph {

/// Of what stage distill has left of the models with one layer, or tied group, full.
static StatusOr<Selection> selectTrained(const SelectorContext &context) {
  const ChoiceSpace &space = context.space;
  Selection selection;
  selection.scores.assign(space.layers.size(), 0);
  selection.standardErrors.assign(space.layers.size(), 0);
  for (const std::vector<size_t> &group : tiedGroups(space)) {
    const std::string file = context.stage.runDir + "/" + aloneStage(group.front()) + "/distill.json";
    MORPH_ASSIGN_OR_RETURN(const Json summary, readJson(file));
    MORPH_RETURN_IF_ERROR(readState(file, [&] {
      const Json &text = summary.at("held_out_after").at("text");
      const auto share = 1 / static_cast<double>(group.size());
      for (const size_t layer : group) {
        selection.scores[layer] = -share * text.at("kl").get<double>();
        selection.standardErrors[layer] = share * text.at("standard_error").get<double>();
      }
      selection.cost +=
          {summary.at("tokens").get<int64_t>(), summary.at("flops").get<double>(), summary.at("seconds").get<double>()};
      return Status();
    }));
  }
  // The lowest KL of all is worth most: where a budget bounds layers from above, the others are worth something, too.
  std::vector<double> worth = selection.scores;
  const double least = *std::min_element(worth.begin(), worth.end());
  for (double &value : worth)
    value -= least;
  selection.values = valuesOfFull(space, worth);
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
