// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/select/SwapSearch.h"

#include "runtime/train/HeldOut.h"

#include <algorithm>
#include <set>

namespace morph {

namespace {

/// A group of tied layers gets a candidate.
struct Move {
  size_t group = 0;
  int64_t candidate = 0;
  double gain = 0; ///< What it adds to the sum of the values.
};

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

/// The choices that one exchange makes, in the order in which they are tried, each once.
std::vector<Choice> neighbours(const Choice &choice, const CandidateTable &values, const ChoiceSpace &space,
                               const std::vector<std::vector<size_t>> &groups) {
  const std::vector<Move> moves = movesFrom(choice, values, space, groups);
  std::vector<Choice> list;
  std::set<Choice> seen = {choice};
  const auto add = [&](const Move &a, const Move &b) {
    Choice next = choice;
    for (const Move &move : {a, b})
      for (size_t layer : groups[move.group])
        next[layer] = move.candidate;
    if (satisfies(space, next) && seen.insert(next).second)
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

StatusOr<SwapResult> searchSwaps(const Choice &choice, const CandidateTable &values, const ChoiceSpace &space,
                                 double errors, const ChoiceObjective &objective) {
  SwapResult result;
  result.choice = choice;
  MORPH_ASSIGN_OR_RETURN(const std::vector<double> first, objective(choice));
  if (first.size() < 2)
    return Status::invalid("the exchanges of layers need at least two samples to know their noise",
                           "raise select.samples");
  std::vector<double> current = first;
  std::set<Choice> seen = {choice};
  const std::vector<std::vector<size_t>> groups = tiedGroups(space);
  std::vector<Choice> round = neighbours(choice, values, space, groups);
  for (size_t tried = 0; tried < round.size();) {
    const Choice next = round[tried++];
    MORPH_ASSIGN_OR_RETURN(const std::vector<double> measured, objective(next));
    seen.insert(next);
    const MeanAndError change = pairedDifference(measured, current);
    if (change.mean < 0 && change.mean < -errors * change.standardError) {
      result.choice = next;
      current = measured;
      ++result.swaps;
      round = neighbours(next, values, space, groups);
      tried = 0;
    }
  }
  const MeanAndError gain = pairedDifference(first, current);
  result.firstObjective = meanAndError(first).mean;
  result.objective = meanAndError(current).mean;
  result.gain = gain.mean;
  result.gainStandardError = gain.standardError;
  result.evaluations = static_cast<int64_t>(seen.size());
  return result;
}

} // namespace morph
