// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/select/ForwardSearch.h"

#include <algorithm>
#include <set>

namespace morph {

namespace {

/// A choice that grew, group by group.
struct Grown {
  Choice choice;
  std::vector<size_t> groups; ///< In the order in which they were taken.
  double kl = 0;
};

} // namespace

/// Pins a group's layers to full attention, or to anything else.
static void pin(ChoiceSpace &space, const std::vector<size_t> &group, bool toFull) {
  for (size_t layer : group) {
    AllowedCandidates allowed{{"taken", ""}, {static_cast<int64_t>(layer)}, {}};
    for (const Candidate &candidate : space.layers[layer])
      if ((candidate.name == kFullAttention) == toFull)
        allowed.candidates.push_back(candidate.name);
    space.allowed.push_back(std::move(allowed));
  }
}

/// The space with what the groups have become.
static ChoiceSpace withTaken(const ChoiceSpace &space, const std::vector<std::vector<size_t>> &groups,
                             const std::vector<size_t> &taken, GrowthFrom from) {
  ChoiceSpace result = space;
  for (size_t group : taken)
    pin(result, groups[group], from == GrowthFrom::Linear);
  return result;
}

/// Whether the space has a choice in which the groups that were taken are linear, with any candidates, and all others
/// are full.
static StatusOr<bool> isEnough(const ChoiceSpace &space, const std::vector<std::vector<size_t>> &groups,
                               const std::vector<size_t> &taken) {
  ChoiceSpace rest = withTaken(space, groups, taken, GrowthFrom::Full);
  for (size_t group = 0; group < groups.size(); ++group)
    if (std::count(taken.begin(), taken.end(), group) == 0)
      pin(rest, groups[group], /*toFull=*/true);
  return isPossible(rest);
}

StatusOr<Selection> growChoices(SelectorContext &context, GrowthFrom from, int64_t width, const std::string &label) {
  const ChoiceSpace &space = context.space;
  const bool isForward = from == GrowthFrom::Linear;
  MORPH_ASSIGN_OR_RETURN(ChoiceScorer *const scorer, context.scorer());
  const std::vector<std::vector<size_t>> groups = tiedGroups(space);
  const Choice linear = linearChoice(space);
  Grown start{isForward ? linear : fullChoice(space), {}, 0};
  // What pins leave no choice is taken from the beginning: the others are judged beside it.
  const std::vector<std::vector<bool>> allowed = space.allowedMask();
  for (size_t group = 0; group < groups.size(); ++group) {
    const size_t first = groups[group].front();
    const std::vector<bool> &row = allowed[first];
    if (row.size() == 1 || (isForward ? linear[first] != 0 : row.front()))
      continue;
    start.groups.push_back(group);
    for (size_t layer : groups[group])
      start.choice[layer] = isForward ? 0 : linear[layer];
  }
  std::vector<Grown> best = {std::move(start)};
  for (;;) {
    // Toward linear attention it ends where budgets are met, by whichever candidates: more layers could always follow.
    if (!isForward) {
      MORPH_ASSIGN_OR_RETURN(const bool ends, isEnough(space, groups, best.front().groups));
      if (ends)
        break;
    }
    std::vector<Grown> next;
    std::set<std::set<size_t>> seen;
    for (const Grown &grown : best)
      for (size_t group = 0; group < groups.size(); ++group) {
        Grown more = grown;
        more.groups.push_back(group);
        // What has one candidate alone cannot become anything.
        if (space.layers[groups[group].front()].size() == 1 ||
            std::count(grown.groups.begin(), grown.groups.end(), group) > 0 ||
            !seen.insert({more.groups.begin(), more.groups.end()}).second)
          continue;
        MORPH_ASSIGN_OR_RETURN(const bool possible, isPossible(withTaken(space, groups, more.groups, from)));
        if (!possible)
          continue;
        for (size_t layer : groups[group])
          more.choice[layer] = isForward ? 0 : linear[layer];
        next.push_back(std::move(more));
      }
    if (next.empty())
      break;
    // Neighbours have the same layers below the one in which they differ.
    std::sort(next.begin(), next.end(), [](const Grown &a, const Grown &b) { return a.choice < b.choice; });
    scorer->expect(label + ", " + std::to_string(next.front().groups.size()), static_cast<int64_t>(next.size()));
    for (Grown &grown : next) {
      MORPH_ASSIGN_OR_RETURN(grown.kl, scorer->kl(grown.choice));
    }
    std::stable_sort(next.begin(), next.end(), [](const Grown &a, const Grown &b) { return a.kl < b.kl; });
    next.resize(std::min(next.size(), static_cast<size_t>(width)));
    best = std::move(next);
  }
  const Grown &found = best.front();
  // Sooner is more; what never became linear is worth most.
  const auto all = static_cast<double>(groups.size());
  std::vector<double> scores(space.layers.size(), isForward ? 0 : all);
  for (size_t i = 0; i < found.groups.size(); ++i)
    for (size_t layer : groups[found.groups[i]])
      scores[layer] = isForward ? all - static_cast<double>(i) : static_cast<double>(i);
  // Pins that the search had no say in, other candidates and budgets are the space's.
  Selection selection;
  selection.scores = std::move(scores);
  selection.values = valuesOfFull(space, selection.scores);
  // Of candidates beside full attention those that were measured, where budgets admit them.
  const CandidateTable measured = selectionOfChoice(space, found.choice).values;
  MORPH_ASSIGN_OR_RETURN(selection.choice,
                         solve(withTaken(space, groups, found.groups, from), selection.values, measured));
  return selection;
}

} // namespace morph
