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

/// The space with what the groups have become: full attention, or anything else.
static ChoiceSpace withTaken(const ChoiceSpace &space, const std::vector<std::vector<size_t>> &groups,
                             const std::vector<size_t> &taken, GrowthFrom from) {
  ChoiceSpace result = space;
  for (size_t group : taken)
    for (size_t layer : groups[group]) {
      AllowedCandidates allowed{{"taken", ""}, {static_cast<int64_t>(layer)}, {}};
      for (const Candidate &candidate : space.layers[layer])
        if ((candidate.name == kFullAttention) == (from == GrowthFrom::Linear))
          allowed.candidates.push_back(candidate.name);
      result.allowed.push_back(std::move(allowed));
    }
  return result;
}

StatusOr<Selection> growChoices(SelectorContext &context, GrowthFrom from, int64_t width, const std::string &label) {
  const ChoiceSpace &space = context.space;
  const bool isForward = from == GrowthFrom::Linear;
  MORPH_ASSIGN_OR_RETURN(ChoiceScorer *const scorer, context.scorer());
  const std::vector<std::vector<size_t>> groups = tiedGroups(space);
  Grown start{isForward ? linearChoice(space) : fullChoice(space), {}, 0};
  // What pins leave no choice is taken from the beginning: the others are judged beside it.
  const std::vector<std::vector<bool>> allowed = space.allowedMask();
  for (size_t group = 0; group < groups.size(); ++group) {
    const std::vector<bool> &row = allowed[groups[group].front()];
    const auto first = std::find(row.begin() + 1, row.end(), true);
    if (row.size() == 1 || (isForward ? first != row.end() : row.front()))
      continue;
    start.groups.push_back(group);
    for (size_t layer : groups[group])
      start.choice[layer] = isForward ? 0 : first - row.begin();
  }
  std::vector<Grown> best = {std::move(start)};
  // Toward linear attention it ends where budgets are met: more layers could always follow.
  while (isForward || !satisfies(space, best.front().choice)) {
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
          more.choice[layer] = isForward ? 0 : 1;
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
  MORPH_ASSIGN_OR_RETURN(selection.choice, solve(withTaken(space, groups, found.groups, from), selection.values));
  return selection;
}

} // namespace morph
