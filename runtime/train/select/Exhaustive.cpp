// SPDX-License-Identifier: Apache-2.0
// Every choice of the space measured: the truth that the others are held against. A layer's score is how much lower, in
// the mean, the KL of the choices is that keep it: s_i = mean of KL(S) over S without i - mean over S with i, the main
// effect of experiments that cross their factors (Fisher, The Design of Experiments, 1935). It is a mean over samples,
// whose error is over them.

#include "runtime/choice/Enumerate.h"
#include "runtime/train/HeldOut.h"
#include "runtime/train/select/Selector.h"

#include <algorithm>
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
  /// Of choices, how many and the sum of each sample's KL.
  struct Sum {
    double choices = 0;
    std::vector<double> kl;
  };
  // By layer: of the choices that keep it, and of the others.
  std::vector<std::array<Sum, 2>> sums(space.layers.size());
  Choice best;
  double least = 0;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Choice &next : choices) {
    MORPH_ASSIGN_OR_RETURN(const ChoiceScores scores, scorer->scores(next));
    const MeanAndError kl = meanAndError(scores.kl);
    list.push_back({{"choice", next}, {"kl", kl.mean}, {"standard_error", kl.standardError}});
    for (size_t layer = 0; layer < next.size(); ++layer) {
      Sum &sum = sums[layer][next[layer] == 0 ? 0 : 1];
      sum.choices += 1;
      sum.kl.resize(scores.kl.size(), 0);
      for (size_t sample = 0; sample < scores.kl.size(); ++sample)
        sum.kl[sample] += scores.kl[sample];
    }
    if (best.empty() || kl.mean < least) {
      best = next;
      least = kl.mean;
    }
  }
  Selection selection = selectionOfChoice(space, std::move(best));
  selection.standardErrors.assign(sums.size(), 0);
  for (size_t layer = 0; layer < sums.size(); ++layer) {
    const auto &[kept, others] = sums[layer];
    // What all choices keep, or none does, has nothing to be held against.
    std::vector<double> bySample;
    for (size_t sample = 0; sample < std::min(kept.kl.size(), others.kl.size()); ++sample)
      bySample.push_back(others.kl[sample] / others.choices - kept.kl[sample] / kept.choices);
    const MeanAndError score = meanAndError(bySample);
    selection.scores[layer] = score.mean;
    selection.standardErrors[layer] = score.standardError;
  }
  selection.details["choices"] = std::move(list);
  return selection;
}

static const SelectorRegistration exhaustiveRegistration("exhaustive", selectExhaustive, [](const ChoiceSpace &space) {
  return everyChoice(space).status();
});

} // namespace morph
