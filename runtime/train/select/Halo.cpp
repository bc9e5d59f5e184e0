// SPDX-License-Identifier: Apache-2.0
// HALO (arXiv 2601.22156): of the models with one layer linear, a layer is worth the recall that its model lost over
// the general ability that it lost: s_i = (max_j R_j - R_i) / (max_j C_j - C_i + 1e-6). R is the share of the answers'
// tokens that are right, C the share of a text's, for its tests of knowledge.

#include "runtime/train/select/Halo.h"

#include "runtime/train/select/SingleChanges.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace morph {

/// The scores of models whose R and C these are.
static std::vector<double> haloScores(const std::vector<double> &recall, const std::vector<double> &ability) {
  const double bestRecall = *std::max_element(recall.begin(), recall.end());
  const double bestAbility = *std::max_element(ability.begin(), ability.end());
  std::vector<double> scores;
  for (size_t i = 0; i < recall.size(); ++i)
    scores.push_back((bestRecall - recall[i]) / (bestAbility - ability[i] + 1e-6));
  return scores;
}

/// Each model's mean over samples, without sample `left` (-1: of all).
static std::vector<double> meansWithout(const std::vector<std::vector<double>> &samples, int64_t left) {
  std::vector<double> means;
  for (const std::vector<double> &of : samples) {
    double sum = std::accumulate(of.begin(), of.end(), 0.0);
    if (left >= 0)
      sum -= of[static_cast<size_t>(left)];
    means.push_back(sum / static_cast<double>(of.size() - (left >= 0)));
  }
  return means;
}

std::vector<MeanAndError> haloScores(const std::vector<std::vector<double>> &recall,
                                     const std::vector<std::vector<double>> &ability) {
  const std::vector<double> recalls = meansWithout(recall, -1), abilities = meansWithout(ability, -1);
  const std::vector<double> scores = haloScores(recalls, abilities);
  std::vector<MeanAndError> result;
  for (double score : scores)
    result.push_back({score, 0});
  // The jackknife (Efron and Tibshirani 1993, equation 11.5) over the samples of either kind, which are independent.
  for (const bool ofRecall : {true, false}) {
    const std::vector<std::vector<double>> &samples = ofRecall ? recall : ability;
    const auto count = static_cast<int64_t>(samples.front().size());
    std::vector<std::vector<double>> without(scores.size());
    for (int64_t left = 0; left < count && count > 1; ++left) {
      const std::vector<double> means = meansWithout(samples, left);
      const std::vector<double> changed = ofRecall ? haloScores(means, abilities) : haloScores(recalls, means);
      for (size_t i = 0; i < scores.size(); ++i)
        without[i].push_back(changed[i]);
    }
    for (size_t i = 0; i < scores.size(); ++i) {
      // (n - 1) / n times the sum of squares is (n - 1)^2 times the squared error of the mean.
      const double error = static_cast<double>(count - 1) * meanAndError(without[i]).standardError;
      result[i].standardError = std::hypot(result[i].standardError, error);
    }
  }
  return result;
}

static StatusOr<Selection> selectHalo(SelectorContext &context) {
  const ChoiceSpace &space = context.space;
  const Choice full = fullChoice(space);
  MORPH_ASSIGN_OR_RETURN(ChoiceScorer *const tasks, context.scorer(ScoredData::Tasks));
  MORPH_ASSIGN_OR_RETURN(ChoiceScorer *const text, context.scorer(ScoredData::Text));
  MORPH_ASSIGN_OR_RETURN(const std::vector<SingleChange> recalls,
                         scoreSingleChanges(space, *tasks, full, "select (halo, tasks)"));
  MORPH_ASSIGN_OR_RETURN(const std::vector<SingleChange> abilities,
                         scoreSingleChanges(space, *text, full, "select (halo, text)"));
  std::vector<std::vector<double>> recall, ability;
  for (size_t i = 0; i < recalls.size(); ++i) {
    recall.push_back(recalls[i].scores.correct);
    ability.push_back(abilities[i].scores.correct);
  }
  Selection selection;
  selection.values = valuesOfFull(space, std::vector<double>(space.layers.size(), 0));
  selection.scores.assign(space.layers.size(), 0);
  selection.standardErrors.assign(space.layers.size(), 0);
  const std::vector<MeanAndError> scores = recalls.empty() ? std::vector<MeanAndError>() : haloScores(recall, ability);
  for (size_t i = 0; i < recalls.size(); ++i)
    for (size_t layer : recalls[i].layers) {
      const auto share = 1 / static_cast<double>(recalls[i].layers.size());
      const double score = share * scores[i].mean;
      selection.values[layer][static_cast<size_t>(recalls[i].candidate)] = -score;
      // Of several candidates the one that costs least.
      if (recalls[i].candidate > 1 && score >= selection.scores[layer])
        continue;
      selection.scores[layer] = score;
      selection.standardErrors[layer] = share * scores[i].standardError;
    }
  MORPH_ASSIGN_OR_RETURN(selection.choice, solve(space, selection.values));
  return selection;
}

static const SelectorRegistration haloRegistration("halo", selectHalo);

} // namespace morph
