// SPDX-License-Identifier: Apache-2.0
// HALO (arXiv 2601.22156): of the models with one layer linear, a layer is worth the recall that its model lost over
// the general ability that it lost: s_i = (max_j R_j - R_i) / (max_j C_j - C_i + 1e-6). R is the share of the answers'
// tokens that are right, C the share of a text's, for its tests of knowledge.

#include "runtime/train/select/Halo.h"

#include "runtime/data/Random.h"
#include "runtime/train/select/SingleChanges.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace morph {

/// Very seldom are more than 200 needed for a standard error (Efron and Tibshirani, section 6.4); but a ratio has long
/// tails.
static constexpr uint64_t kResamples = 1000;

/// The scores of models whose R and C these are.
static std::vector<double> haloScores(const std::vector<double> &recall, const std::vector<double> &ability) {
  const double bestRecall = *std::max_element(recall.begin(), recall.end());
  const double bestAbility = *std::max_element(ability.begin(), ability.end());
  std::vector<double> scores;
  for (size_t i = 0; i < recall.size(); ++i)
    scores.push_back((bestRecall - recall[i]) / (bestAbility - ability[i] + 1e-6));
  return scores;
}

/// Each model's mean over the samples of these numbers.
static std::vector<double> meansOf(const std::vector<std::vector<double>> &samples, const std::vector<size_t> &drawn) {
  std::vector<double> means;
  for (const std::vector<double> &of : samples) {
    double sum = 0;
    for (size_t sample : drawn)
      sum += of[sample];
    means.push_back(sum / static_cast<double>(drawn.size()));
  }
  return means;
}

/// The same over all samples.
static std::vector<double> meansOf(const std::vector<std::vector<double>> &samples) {
  std::vector<size_t> all(samples.front().size());
  std::iota(all.begin(), all.end(), size_t(0));
  return meansOf(samples, all);
}

std::vector<MeanAndError> haloScores(const std::vector<std::vector<double>> &recall,
                                     const std::vector<std::vector<double>> &ability) {
  std::vector<MeanAndError> result;
  for (double score : haloScores(meansOf(recall), meansOf(ability)))
    result.push_back({score, 0});
  // The bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 6): samples drawn with
  // replacement, those of tasks and of text by themselves, each for all models together, as all were measured on it.
  // The jackknife would not do for a maximum: with one sample less mostly the same model is the best one, and other
  // samples would make it another.
  std::vector<std::vector<double>> again(result.size()); // By model, its scores of all resamples.
  for (uint64_t resample = 0; resample < kResamples; ++resample) {
    Random random(/*seed=*/0, "halo/resample", resample);
    const auto drawMeans = [&](const std::vector<std::vector<double>> &samples) {
      std::vector<size_t> drawn(samples.front().size());
      for (size_t &sample : drawn)
        sample = static_cast<size_t>(random.below(static_cast<int64_t>(drawn.size())));
      return meansOf(samples, drawn);
    };
    const std::vector<double> recalls = drawMeans(recall), abilities = drawMeans(ability);
    const std::vector<double> scores = haloScores(recalls, abilities);
    for (size_t i = 0; i < scores.size(); ++i)
      again[i].push_back(scores[i]);
  }
  // Their standard deviation.
  for (size_t i = 0; i < result.size(); ++i)
    result[i].standardError = meanAndError(again[i]).standardError * std::sqrt(static_cast<double>(kResamples));
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
  std::vector<bool> known(space.layers.size(), false);
  const std::vector<MeanAndError> scores = recalls.empty() ? std::vector<MeanAndError>() : haloScores(recall, ability);
  for (size_t i = 0; i < recalls.size(); ++i)
    for (size_t layer : recalls[i].layers) {
      const auto share = 1 / static_cast<double>(recalls[i].layers.size());
      const double score = share * scores[i].mean;
      selection.values[layer][static_cast<size_t>(recalls[i].candidate)] = -score;
      // Of several candidates the one that costs least.
      if (known[layer] && score >= selection.scores[layer])
        continue;
      known[layer] = true;
      selection.scores[layer] = score;
      selection.standardErrors[layer] = share * scores[i].standardError;
    }
  MORPH_ASSIGN_OR_RETURN(selection.choice, solve(space, selection.values));
  return selection;
}

static const SelectorRegistration haloRegistration("halo", selectHalo);

} // namespace morph
