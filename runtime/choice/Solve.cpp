// SPDX-License-Identifier: Apache-2.0

#include "runtime/choice/Solve.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>

namespace morph {

namespace {

constexpr size_t kMaxStates = 1'000'000;

/// Sums of values, of the tie break, and of a preference for lower layers.
using Worth = std::array<int64_t, 3>;

bool isSame(const ConstraintSource &a, const ConstraintSource &b) { return a.text == b.text && a.place == b.place; }

/// The sources of a space, each once: a pattern has one for all its blocks.
std::vector<ConstraintSource> sourcesOf(const ChoiceSpace &space) {
  std::vector<ConstraintSource> sources;
  const auto add = [&](const auto &constraints) {
    for (const auto &constraint : constraints)
      if (std::none_of(sources.begin(), sources.end(),
                       [&](const ConstraintSource &known) { return isSame(known, constraint.source); }))
        sources.push_back(constraint.source);
  };
  add(space.allowed);
  add(space.ties);
  add(space.counts);
  add(space.budgets);
  return sources;
}

/// The space without the constraints of a source.
ChoiceSpace without(const ChoiceSpace &space, const ConstraintSource &source) {
  ChoiceSpace rest = space;
  const auto remove = [&](auto &constraints) {
    constraints.erase(std::remove_if(constraints.begin(), constraints.end(),
                                     [&](const auto &constraint) { return isSame(constraint.source, source); }),
                      constraints.end());
  };
  remove(rest.allowed);
  remove(rest.ties);
  remove(rest.counts);
  remove(rest.budgets);
  return rest;
}

/// Whole numbers for a table: 2^40 for the largest absolute value.
std::vector<std::vector<int64_t>> quantize(const CandidateTable &table) {
  double largest = 0;
  for (const std::vector<double> &row : table)
    for (double value : row)
      largest = std::max(largest, std::abs(value));
  std::vector<std::vector<int64_t>> whole;
  for (const std::vector<double> &row : table) {
    whole.emplace_back();
    for (double value : row)
      whole.back().push_back(largest > 0 ? std::llround(std::ldexp(value / largest, 40)) : 0);
  }
  return whole;
}

/// What a count or budget has been used by: an upper limit, a lower one, and what each group's choices add.
struct Resource {
  int64_t least = 0, most = 0;
  std::vector<std::vector<int64_t>> used;     ///< By group and choice.
  std::vector<int64_t> leastAfter, mostAfter; ///< Of the groups from here on, by group.
  size_t last = 0;                            ///< The last group that uses it.
};

/// Layers that take the same candidate, and the candidates that all of them may take.
struct Group {
  std::vector<size_t> layers;
  std::vector<int64_t> choices;
};

class Solver {
public:
  Solver(const ChoiceSpace &space, const CandidateTable &values, const CandidateTable &tieBreak)
      : space_(space), values_(quantize(values)), tieBreak_(quantize(tieBreak)) {
    makeGroups();
    for (const CandidateCount &count : space.counts)
      addCount(count);
    countCount_ = resources_.size();
    for (const CostBudget &budget : space.budgets)
      addBudget(budget);
    for (Resource &resource : resources_)
      sumUp(resource);
  }

  /// Nothing where no choice satisfies the constraints.
  StatusOr<std::optional<Choice>> run();

private:
  struct Step {
    size_t parent = 0;
    int64_t choice = 0;
  };
  struct State {
    Worth worth{};
    Step step;
    size_t index = 0; ///< In the level's steps.
  };
  /// By what is used of each resource; of those that are closed, 0.
  using Level = std::map<std::vector<int64_t>, State>;

  void makeGroups();
  void addCount(const CandidateCount &count);
  void addBudget(const CostBudget &budget);
  void sumUp(Resource &resource) const;
  Worth worthOf(const Group &group, int64_t choice) const;
  /// What `used` becomes with a choice of group `g`; false where no choice of the groups after it helps.
  bool advance(std::vector<int64_t> &used, size_t g, size_t choice) const;
  /// Drops states that another of the same counts beats at no higher costs.
  void prune(Level &level) const;

  const ChoiceSpace &space_;
  std::vector<std::vector<int64_t>> values_, tieBreak_;
  std::vector<Group> groups_;
  std::vector<Resource> resources_; ///< Counts, then budgets.
  size_t countCount_ = 0;
};

void Solver::makeGroups() {
  const std::vector<std::vector<bool>> mask = space_.allowedMask();
  for (std::vector<size_t> &layers : tiedGroups(space_))
    groups_.push_back({std::move(layers), {}});
  for (Group &group : groups_)
    for (size_t c = 0; c < space_.layers[group.layers.front()].size(); ++c)
      if (std::all_of(group.layers.begin(), group.layers.end(), [&](size_t layer) { return mask[layer][c]; }))
        group.choices.push_back(static_cast<int64_t>(c));
}

void Solver::addCount(const CandidateCount &count) {
  Resource resource;
  resource.least = count.least;
  resource.most = count.most;
  for (const Group &group : groups_) {
    std::vector<int64_t> &used = resource.used.emplace_back();
    for (int64_t choice : group.choices) {
      int64_t layers = 0;
      for (size_t layer : group.layers)
        layers += std::binary_search(count.layers.begin(), count.layers.end(), static_cast<int64_t>(layer)) &&
                  space_.layers[layer][static_cast<size_t>(choice)].name == count.candidate;
      used.push_back(layers);
    }
  }
  resources_.push_back(std::move(resource));
}

void Solver::addBudget(const CostBudget &budget) {
  Resource resource;
  resource.most = budget.limit;
  for (const Group &group : groups_) {
    std::vector<int64_t> &used = resource.used.emplace_back();
    for (int64_t choice : group.choices) {
      int64_t cost = 0;
      for (size_t layer : group.layers)
        cost += budget.costs[layer][static_cast<size_t>(choice)];
      used.push_back(cost);
    }
  }
  resources_.push_back(std::move(resource));
}

void Solver::sumUp(Resource &resource) const {
  resource.leastAfter.assign(groups_.size() + 1, 0);
  resource.mostAfter.assign(groups_.size() + 1, 0);
  for (size_t g = groups_.size(); g-- > 0;) {
    const std::vector<int64_t> &used = resource.used[g];
    if (used.empty())
      continue; // A group without a choice ends the search anyway.
    const auto [least, most] = std::minmax_element(used.begin(), used.end());
    resource.leastAfter[g] = resource.leastAfter[g + 1] + *least;
    resource.mostAfter[g] = resource.mostAfter[g + 1] + *most;
    if (*most > 0)
      resource.last = std::max(resource.last, g);
  }
}

Worth Solver::worthOf(const Group &group, int64_t choice) const {
  Worth worth{};
  for (size_t layer : group.layers) {
    const auto c = static_cast<size_t>(choice);
    worth[0] += values_.empty() ? 0 : values_[layer][c];
    worth[1] += tieBreak_.empty() ? 0 : tieBreak_[layer][c];
    worth[2] += choice == 0 ? space_.layerCount() - static_cast<int64_t>(layer) : 0;
  }
  return worth;
}

bool Solver::advance(std::vector<int64_t> &used, size_t g, size_t choice) const {
  for (size_t r = 0; r < resources_.size(); ++r) {
    const Resource &resource = resources_[r];
    if (g > resource.last)
      continue; // Closed, and 0.
    const int64_t sum = used[r] + resource.used[g][choice];
    if (sum + resource.leastAfter[g + 1] > resource.most || sum + resource.mostAfter[g + 1] < resource.least)
      return false;
    used[r] = g == resource.last ? 0 : sum;
  }
  return true;
}

void Solver::prune(Level &level) const {
  const size_t budgets = resources_.size() - countCount_;
  if (budgets == 0)
    return; // The key is all there is to compare.
  // States come sorted: a state can be beaten by earlier ones of its counts alone. With one budget the last that is
  // kept is the best so far; with more, a few more are looked at, which keeps the answer and leaves more states.
  constexpr size_t kLookBack = 16;
  std::vector<Level::iterator> kept;
  for (auto state = level.begin(); state != level.end();) {
    bool beaten = false;
    for (size_t i = 0; i < std::min(kept.size(), kLookBack) && !beaten; ++i) {
      const Level::iterator other = kept[kept.size() - 1 - i];
      if (!std::equal(state->first.begin(), state->first.begin() + static_cast<std::ptrdiff_t>(countCount_),
                      other->first.begin()))
        break;
      beaten = other->second.worth >= state->second.worth;
      for (size_t r = countCount_; r < resources_.size(); ++r)
        beaten &= other->first[r] <= state->first[r];
    }
    if (beaten) {
      state = level.erase(state);
    } else {
      kept.push_back(state++);
    }
  }
}

StatusOr<std::optional<Choice>> Solver::run() {
  // What nothing uses must still hold.
  for (const Resource &resource : resources_)
    if (resource.leastAfter[0] > resource.most || resource.mostAfter[0] < resource.least)
      return std::optional<Choice>();
  Level level;
  level[std::vector<int64_t>(resources_.size(), 0)] = State();
  std::vector<std::vector<Step>> steps;
  size_t total = 0;
  for (size_t g = 0; g < groups_.size(); ++g) {
    Level next;
    for (const auto &[used, state] : level)
      for (size_t i = 0; i < groups_[g].choices.size(); ++i) {
        std::vector<int64_t> after = used;
        if (!advance(after, g, i))
          continue;
        const int64_t choice = groups_[g].choices[i];
        State candidate;
        const Worth added = worthOf(groups_[g], choice);
        for (size_t k = 0; k < added.size(); ++k)
          candidate.worth[k] = state.worth[k] + added[k];
        candidate.step = {state.index, choice};
        const auto [entry, isNew] = next.insert({std::move(after), candidate});
        if (!isNew && entry->second.worth < candidate.worth)
          entry->second = candidate;
      }
    prune(next);
    total += next.size();
    if (total > kMaxStates)
      return Status::failed("the choice of layers has too many different costs to be solved exactly",
                            "give fewer candidates with options of their own, or one budget instead of several");
    std::vector<Step> &taken = steps.emplace_back();
    for (auto &[used, state] : next) {
      state.index = taken.size();
      taken.push_back(state.step);
    }
    level = std::move(next);
    if (level.empty())
      return std::optional<Choice>();
  }
  const auto best = std::max_element(level.begin(), level.end(),
                                     [](const auto &a, const auto &b) { return a.second.worth < b.second.worth; });
  Choice choice(space_.layers.size(), 0);
  size_t index = best->second.index;
  for (size_t g = groups_.size(); g-- > 0;) {
    for (size_t layer : groups_[g].layers)
      choice[layer] = steps[g][index].choice;
    index = steps[g][index].parent;
  }
  return std::optional<Choice>(std::move(choice));
}

StatusOr<bool> isFeasible(const ChoiceSpace &space) {
  MORPH_ASSIGN_OR_RETURN(const std::optional<Choice> choice, Solver(space, {}, {}).run());
  return choice.has_value();
}

} // namespace

StatusOr<Choice> solve(const ChoiceSpace &space, const CandidateTable &values, const CandidateTable &tieBreak) {
  MORPH_RETURN_IF_ERROR(checkSpace(space));
  MORPH_ASSIGN_OR_RETURN(const std::optional<Choice> choice, Solver(space, values, tieBreak).run());
  if (choice)
    return *choice;
  MORPH_ASSIGN_OR_RETURN(const std::vector<ConstraintSource> conflict, findConflict(space));
  return conflictError(conflict);
}

bool satisfies(const ChoiceSpace &space, const Choice &choice) {
  if (choice.size() != space.layers.size())
    return false;
  const std::vector<std::vector<bool>> mask = space.allowedMask();
  for (size_t layer = 0; layer < choice.size(); ++layer)
    if (choice[layer] < 0 || choice[layer] >= static_cast<int64_t>(mask[layer].size()) ||
        !mask[layer][static_cast<size_t>(choice[layer])])
      return false;
  const auto at = [&](int64_t layer) { return choice[static_cast<size_t>(layer)]; };
  for (const TiedLayers &tie : space.ties)
    for (int64_t layer : tie.layers)
      if (at(layer) != at(tie.layers.front()))
        return false;
  for (const CandidateCount &count : space.counts) {
    int64_t layers = 0;
    for (int64_t layer : count.layers)
      layers += space.layers[static_cast<size_t>(layer)][static_cast<size_t>(at(layer))].name == count.candidate;
    if (layers < count.least || layers > count.most)
      return false;
  }
  for (const CostBudget &budget : space.budgets) {
    int64_t cost = 0;
    for (size_t layer = 0; layer < choice.size(); ++layer)
      cost += budget.costs[layer][static_cast<size_t>(choice[layer])];
    if (cost > budget.limit)
      return false;
  }
  return true;
}

StatusOr<std::vector<ConstraintSource>> findConflict(const ChoiceSpace &space) {
  MORPH_RETURN_IF_ERROR(checkSpace(space));
  MORPH_ASSIGN_OR_RETURN(const bool feasible, isFeasible(space));
  if (feasible)
    return std::vector<ConstraintSource>();
  // What can be left out without making the rest possible is no part of the conflict.
  ChoiceSpace rest = space;
  std::vector<ConstraintSource> conflict;
  for (const ConstraintSource &source : sourcesOf(space)) {
    ChoiceSpace smaller = without(rest, source);
    MORPH_ASSIGN_OR_RETURN(const bool possible, isFeasible(smaller));
    if (possible)
      conflict.push_back(source);
    else
      rest = std::move(smaller);
  }
  return conflict;
}

Status conflictError(const std::vector<ConstraintSource> &conflict) {
  std::string list;
  for (size_t i = 0; i < conflict.size(); ++i)
    list += (i == 0                     ? ""
             : i + 1 == conflict.size() ? " and "
                                        : ", ") +
            conflict[i].text + (conflict[i].place.empty() ? "" : " (" + conflict[i].place + ")");
  return Status::invalid(conflict.size() == 1 ? "no choice of layers satisfies " + list
                                              : "no choice of layers satisfies all of " + list,
                         "relax one of them");
}

CandidateTable valuesOfShares(const ChoiceSpace &space, const CandidateTable &shares) {
  CandidateTable values;
  for (size_t layer = 0; layer < space.layers.size(); ++layer) {
    const size_t count = space.layers[layer].size();
    const auto costsNoMore = [&](size_t a, size_t b) {
      return (a != 0 || b == 0) &&
             std::all_of(space.budgets.begin(), space.budgets.end(),
                         [&](const CostBudget &budget) { return budget.costs[layer][a] <= budget.costs[layer][b]; });
    };
    std::vector<double> &row = values.emplace_back(count, 0.0);
    for (size_t c = 0; c < count; ++c)
      for (size_t other = 0; other < count; ++other)
        if (costsNoMore(other, c))
          row[c] += shares[layer][other];
  }
  return values;
}

} // namespace morph
