// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/select/SwapSearch.h"

#include "runtime/train/HeldOut.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace morph {

namespace {

/// A group of tied layers gets a candidate.
struct Move {
  size_t group = 0;
  int64_t candidate = 0;
  double gain = 0; ///< What it adds to the sum of the values.
};

double sumOf(const CandidateTable &values, const Choice &choice) {
  double sum = 0;
  for (size_t layer = 0; layer < choice.size(); ++layer)
    sum += values[layer][static_cast<size_t>(choice[layer])];
  return sum;
}

/// All moves from a choice, the largest gain first.
std::vector<Move> movesFrom(const Choice &choice, const CandidateTable &values, const ChoiceSpace &space,
                            const std::vector<std::vector<size_t>> &groups) {
  std::vector<Move> moves;
  for (size_t group = 0; group < groups.size(); ++group) {
    const size_t first = groups[group].front();
    for (size_t c = 0; c < space.layers[first].size(); ++c) {
      if (static_cast<int64_t>(c) == choice[first])
        continue;
      Move move{group, static_cast<int64_t>(c), 0};
      for (size_t layer : groups[group])
        move.gain += values[layer][c] - values[layer][static_cast<size_t>(choice[layer])];
      moves.push_back(move);
    }
  }
  std::stable_sort(moves.begin(), moves.end(), [](const Move &a, const Move &b) { return a.gain > b.gain; });
  return moves;
}

/// The choices that one exchange makes, in the order in which they are tried, each once; without those whose values
/// add up to less than `floor`.
std::vector<Choice> neighbours(const Choice &choice, const CandidateTable &values, const ChoiceSpace &space,
                               double floor) {
  const std::vector<std::vector<size_t>> groups = tiedGroups(space);
  const std::vector<Move> moves = movesFrom(choice, values, space, groups);
  std::vector<Choice> list;
  std::set<Choice> seen = {choice};
  const auto add = [&](const Move &a, const Move &b) {
    Choice next = choice;
    for (const Move &move : {a, b})
      for (size_t layer : groups[move.group])
        next[layer] = move.candidate;
    if (sumOf(values, next) >= floor && satisfies(space, next) && seen.insert(next).second)
      list.push_back(next);
  };
  for (const Move &first : moves) {
    add(first, first);
    for (const Move &second : moves)
      if (second.group != first.group)
        add(first, second);
  }
  return list;
}

} // namespace

/// Whether `choice` lowers the objective by more than `errors` standard errors below `current`.
static StatusOr<bool> race(const Choice &choice, const Choice &current, double errors, int64_t samples,
                           const ChoiceObjective &objective) {
  const auto all = static_cast<size_t>(samples);
  for (size_t part : {all / 8, all / 4, all / 2, all}) {
    part = std::max<size_t>(part, 2);
    MORPH_ASSIGN_OR_RETURN(const std::vector<double> measured, objective(choice, static_cast<int64_t>(part)));
    MORPH_ASSIGN_OR_RETURN(std::vector<double> before, objective(current, static_cast<int64_t>(measured.size())));
    before.resize(measured.size());
    const MeanAndError change = pairedDifference(measured, before);
    if (measured.size() == all)
      return change.mean < 0 && change.mean < -errors * change.standardError;
    const double share = static_cast<double>(measured.size()) / static_cast<double>(all);
    const double bar =
        measured.size() < kRaceSamples ? kFarWorse : kRaceQuantile * std::sqrt(1 - share) - errors * std::sqrt(share);
    if (change.mean > bar * change.standardError)
      return false;
  }
  return false;
}

StatusOr<SwapResult> searchSwaps(const Choice &choice, const CandidateTable &values, const ChoiceSpace &space,
                                 double reach, double errors, int64_t samples, const ChoiceObjective &objective,
                                 const std::function<void(int64_t)> &beginRound) {
  SwapResult result;
  result.choice = choice;
  std::map<Choice, std::vector<double>> seen; // The most that was measured of each.
  const ChoiceObjective counted = [&](const Choice &next, int64_t count) -> StatusOr<std::vector<double>> {
    MORPH_ASSIGN_OR_RETURN(std::vector<double> measured, objective(next, count));
    measured.resize(std::min(measured.size(), static_cast<size_t>(samples)));
    std::vector<double> &most = seen[next];
    if (measured.size() > most.size())
      most = measured;
    return measured;
  };
  const double floor = sumOf(values, choice) - reach;
  std::vector<Choice> round;
  const auto begin = [&] {
    round = neighbours(result.choice, values, space, floor);
    if (beginRound)
      beginRound(static_cast<int64_t>(round.size()));
  };
  begin();
  // What it is worth is known even where there is nothing to exchange.
  MORPH_ASSIGN_OR_RETURN(const std::vector<double> first,
                         counted(choice, std::min(samples, std::max<int64_t>(samples / 8, 2))));
  if (first.size() < 2)
    return Status::invalid("the exchanges of layers need at least two samples to know their noise",
                           "raise select.samples");
  for (size_t tried = 0; tried < round.size();) {
    const Choice next = round[tried++];
    MORPH_ASSIGN_OR_RETURN(const bool better, race(next, result.choice, errors, samples, counted));
    if (better) {
      result.choice = next;
      ++result.swaps;
      begin();
      tried = 0;
    }
  }
  // A choice that was exchanged has all samples, as what it was exchanged for.
  const std::vector<double> &before = seen.at(choice), &after = seen.at(result.choice);
  const MeanAndError gain = pairedDifference(before, after);
  result.firstObjective = meanAndError(before).mean;
  result.objective = meanAndError(after).mean;
  result.gain = gain.mean;
  result.gainStandardError = gain.standardError;
  result.evaluations = static_cast<int64_t>(seen.size());
  for (const auto &[looked, measured] : seen)
    result.samples += static_cast<int64_t>(measured.size());
  return result;
}

} // namespace morph
