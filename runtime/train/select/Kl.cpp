// SPDX-License-Identifier: Apache-2.0
// KL-guided layer selection (arXiv 2512.20569): from all layers linear, the layers that alone give the lowest KL to the
// teacher on general text: s_i = KL(all linear) - KL(all linear but i), as they are (zero tokens). With `trained` each
// model is distilled first, and all linear is not: s_i = max_j KL_j - KL_i of these.

#include "runtime/base/Json.h"
#include "runtime/train/HeldOut.h"
#include "runtime/train/select/SingleChanges.h"

#include <algorithm>

namespace morph {

/// Of what stage distill has left of the models with one layer, or tied group, full. A group is worth how much lower
/// its KL is than the largest of all, and its layers an equal part of that each: where a budget bounds layers from
/// above, others than the lowest KL's are worth something, too. All are measured on the same samples, whose own spread
/// falls out of the differences: the errors are those of the differences from the largest, which has none.
static StatusOr<Selection> selectTrained(const SelectorContext &context) {
  const ChoiceSpace &space = context.space;
  Selection selection;
  selection.scores.assign(space.layers.size(), 0);
  selection.standardErrors.assign(space.layers.size(), 0);
  std::vector<double> losses;                // By group.
  std::vector<std::vector<double>> bySample; // The same, of each sample.
  const std::vector<std::vector<size_t>> groups = tiedGroups(space);
  for (const std::vector<size_t> &group : groups) {
    const std::string file = context.stage.runDir + "/" + aloneStage(group.front()) + "/distill.json";
    MORPH_ASSIGN_OR_RETURN(const Json summary, readJson(file));
    MORPH_RETURN_IF_ERROR(readState(file, [&] {
      const Json &text = summary.at("held_out_after").at("text");
      losses.push_back(text.at("kl").get<double>());
      bySample.push_back(text.at("by_sample").get<std::vector<double>>());
      selection.cost += {summary.at("tokens").get<int64_t>() + summary.at("held_out_tokens").get<int64_t>(),
                         summary.at("flops").get<double>() + summary.at("held_out_flops").get<double>(),
                         summary.at("seconds").get<double>()};
      return Status();
    }));
    if (bySample.back().size() != bySample.front().size())
      return Status::failed("'" + file + "' is not of the samples that the other layers' models were measured on",
                            "remove the folders distill/alone-* of the run to distil them again");
  }
  const auto largest = static_cast<size_t>(std::max_element(losses.begin(), losses.end()) - losses.begin());
  for (size_t i = 0; i < groups.size(); ++i) {
    const auto size = static_cast<double>(groups[i].size());
    const double error = pairedDifference(bySample[largest], bySample[i]).standardError;
    for (const size_t layer : groups[i]) {
      selection.scores[layer] = (losses[largest] - losses[i]) / size;
      selection.standardErrors[layer] = error / size;
    }
  }
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
