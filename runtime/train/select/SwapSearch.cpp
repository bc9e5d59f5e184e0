// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/select/SwapSearch.h"

#include "runtime/train/HeldOut.h"

#include <algorithm>
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
                               double floor, const std::vector<std::vector<size_t>> &groups) {
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

/// Whether a choice lowers the objective by more than `errors` standard errors below `current`, which has all samples;
/// these are then the choice's.
static StatusOr<bool> race(const Choice &choice, double errors, std::vector<double> &current,
                           const ChoiceObjective &objective) {
  const size_t all = current.size();
  for (size_t part : {all / 8, all / 4, all / 2, all}) {
    part = std::max<size_t>(part, 2);
    MORPH_ASSIGN_OR_RETURN(std::vector<double> measured, objective(choice, static_cast<int64_t>(part)));
    measured.resize(std::min(measured.size(), all));
    const MeanAndError change = pairedDifference(measured, {current.begin(), current.begin() + measured.size()});
    if (measured.size() == all) {
      if (change.mean >= 0 || change.mean >= -errors * change.standardError)
        return false;
      current = std::move(measured);
      return true;
    }
    if (change.mean > kRaceErrors * change.standardError)
      return false;
  }
  return false;
}

StatusOr<SwapResult> searchSwaps(const Choice &choice, const CandidateTable &values, const ChoiceSpace &space,
                                 double reach, double errors, int64_t samples, const ChoiceObjective &objective) {
  SwapResult result;
  result.choice = choice;
  std::map<Choice, size_t> seen; // On how many samples.
  const ChoiceObjective counted = [&](const Choice &next, int64_t count) -> StatusOr<std::vector<double>> {
    MORPH_ASSIGN_OR_RETURN(std::vector<double> measured, objective(next, count));
    size_t &most = seen[next];
    most = std::max(most, measured.size());
    return measured;
  };
  MORPH_ASSIGN_OR_RETURN(const std::vector<double> first, counted(choice, samples));
  if (first.size() < 2)
    return Status::invalid("the exchanges of layers need at least two samples to know their noise",
                           "raise select.samples");
  std::vector<double> current = first;
  const std::vector<std::vector<size_t>> groups = tiedGroups(space);
  const double floor = sumOf(values, choice) - reach;
  std::vector<Choice> round = neighbours(choice, values, space, floor, groups);
  for (size_t tried = 0; tried < round.size();) {
    const Choice next = round[tried++];
    MORPH_ASSIGN_OR_RETURN(const bool better, race(next, errors, current, counted));
    if (better) {
      result.choice = next;
      ++result.swaps;
      round = neighbours(next, values, space, floor, groups);
      tried = 0;
    }
  }
  const MeanAndError gain = pairedDifference(first, current);
  result.firstObjective = meanAndError(first).mean;
  result.objective = meanAndError(current).mean;
  result.gain = gain.mean;
  result.gainStandardError = gain.standardError;
  result.evaluations = static_cast<int64_t>(seen.size());
  for (const auto &[looked, count] : seen)
    result.samples += static_cast<int64_t>(count);
  return result;
}

} // namespace morph
