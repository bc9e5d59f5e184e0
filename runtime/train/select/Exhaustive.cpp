// SPDX-License-Identifier: Apache-2.0
// Every choice of the space measured: the truth that the others are held against. A layer's score is how much lower, in
// the mean, the KL of the choices is that keep it.

#include "runtime/choice/Enumerate.h"
#include "runtime/train/HeldOut.h"
#include "runtime/train/select/Selector.h"

#include <array>

namespace morph {

/// More choices are not measured.
static constexpr size_t kMostChoices = 10'000;

static StatusOr<std::vector<Choice>> everyChoice(const ChoiceSpace &space) {
  MORPH_ASSIGN_OR_RETURN(auto choices, allChoices(space, kMostChoices));
  if (!choices)
    return Status::invalid("exhaustive: the space has more than " + std::to_string(kMostChoices) + " choices",
                           "take another selector, such as beam, or a smaller budget");
  return *std::move(choices);
}

static StatusOr<Selection> selectExhaustive(SelectorContext &context) {
  const ChoiceSpace &space = context.space;
  MORPH_ASSIGN_OR_RETURN(const std::vector<Choice> choices, everyChoice(space));
  MORPH_ASSIGN_OR_RETURN(ChoiceScorer *const scorer, context.scorer());
  scorer->expect("select (exhaustive)", static_cast<int64_t>(choices.size()));
  // By layer: of the choices that keep it and of the others, how many and the sum of their KL.
  std::vector<std::array<std::array<double, 2>, 2>> sums(space.layers.size());
  Choice best;
  double least = 0;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Choice &next : choices) {
    MORPH_ASSIGN_OR_RETURN(const ChoiceScores scores, scorer->scores(next));
    const MeanAndError kl = meanAndError(scores.kl);
    list.push_back({{"choice", next}, {"kl", kl.mean}, {"standard_error", kl.standardError}});
    for (size_t layer = 0; layer < next.size(); ++layer) {
      std::array<double, 2> &sum = sums[layer][next[layer] == 0 ? 0 : 1];
      sum[0] += 1;
      sum[1] += kl.mean;
    }
    if (best.empty() || kl.mean < least) {
      best = next;
      least = kl.mean;
    }
  }
  Selection selection = selectionOfChoice(space, std::move(best));
  for (size_t layer = 0; layer < sums.size(); ++layer) {
    const auto &[kept, others] = sums[layer];
    selection.scores[layer] = kept[0] > 0 && others[0] > 0 ? others[1] / others[0] - kept[1] / kept[0] : 0;
  }
  selection.details["choices"] = std::move(list);
  return selection;
}

static const SelectorRegistration exhaustiveRegistration("exhaustive", selectExhaustive, [](const ChoiceSpace &space) {
  return everyChoice(space).status();
});

} // namespace morph
