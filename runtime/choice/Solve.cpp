// SPDX-License-Identifier: Apache-2.0

#include "runtime/choice/Solve.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <set>

namespace morph {

namespace {

constexpr size_t kMaxStates = 4'000'000;
/// Numbers that are looked at: some seconds.
constexpr size_t kMaxWork = size_t(1) << 27;
/// What a state costs beside its key.
constexpr size_t kStateWork = 8;

/// Sums of values, of the tie break, and of a preference for lower layers.
using Worth = std::array<int64_t, 3>;

bool isSame(const ConstraintSource &a, const ConstraintSource &b) { return a.text == b.text && a.place == b.place; }

/// The sources of a space, each once: a pattern has one for all its blocks.
std::vector<ConstraintSource> sourcesOf(const ChoiceSpace &space) {
  std::vector<ConstraintSource> sources;
  std::set<std::pair<std::string, std::string>> known;
  const auto add = [&](const auto &constraints) {
    for (const auto &constraint : constraints)
      if (known.insert({constraint.source.text, constraint.source.place}).second)
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

/// A count or a budget: what may be used of it, and the last group that uses it.
struct Resource {
  int64_t least = 0, most = 0;
  size_t last = 0;
};

/// What a group's choices use of a resource, and what the groups after it can.
struct Use {
  size_t resource = 0;
  std::vector<int64_t> used; ///< By choice.
  int64_t leastAfter = 0, mostAfter = 0;
};

/// Layers that take the same candidate, and the candidates that all of them may take.
struct Group {
  std::vector<size_t> layers;
  std::vector<int64_t> choices;
  std::vector<Use> uses; ///< Resources rise.
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
  }

  /// Nothing where no choice satisfies the constraints.
  StatusOr<std::optional<Choice>> run();
  /// What has been done so far.
  size_t work() const { return work_; }

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
  /// What is used of each resource that is open: used by groups before and by groups to come.
  using Key = std::vector<int64_t>;
  using Level = std::map<Key, State>;

  /// What a group does to one number of a key.
  struct Move {
    const Resource *resource;
    const Use *use;       ///< Null where the group uses nothing of it.
    bool wasOpen, isOpen; ///< In the keys before and after the group.
  };

  void makeGroups();
  void addCount(const CandidateCount &count);
  void addBudget(const CostBudget &budget);
  /// `used`: by the groups that use something of it.
  void addResource(int64_t least, int64_t most, std::map<size_t, std::vector<int64_t>> used);
  Worth worthOf(const Group &group, int64_t choice) const;
  /// The moves of group `g`; `open` becomes the resources that are open after it.
  std::vector<Move> movesOf(size_t g, std::vector<size_t> &open) const;
  /// The key after a choice of a group; false where no choice of the groups after it helps.
  static bool advance(const Key &before, const std::vector<Move> &moves, size_t choice, Key &after);
  /// Drops states that another of the same counts beats at no higher costs. `counts`: numbers of a key that are counts.
  static void prune(Level &level, size_t counts);

  const ChoiceSpace &space_;
  std::vector<std::vector<int64_t>> values_, tieBreak_;
  std::vector<Group> groups_;
  std::vector<size_t> groupOf_;     ///< By layer.
  std::vector<Resource> resources_; ///< Counts, then budgets.
  size_t countCount_ = 0;
  bool isImpossible_ = false; ///< A resource can never hold.
  size_t work_ = 0;
};

void Solver::makeGroups() {
  const std::vector<std::vector<bool>> mask = space_.allowedMask();
  groupOf_.resize(space_.layers.size());
  for (std::vector<size_t> &layers : tiedGroups(space_)) {
    for (size_t layer : layers)
      groupOf_[layer] = groups_.size();
    groups_.push_back({std::move(layers), {}, {}});
  }
  for (Group &group : groups_)
    for (size_t c = 0; c < space_.layers[group.layers.front()].size(); ++c)
      if (mask[group.layers.front()][c])
        group.choices.push_back(static_cast<int64_t>(c));
}

void Solver::addCount(const CandidateCount &count) {
  std::map<size_t, std::vector<int64_t>> used;
  for (const int64_t layer : count.layers) {
    const size_t g = groupOf_[static_cast<size_t>(layer)];
    const std::vector<Candidate> &candidates = space_.layers[static_cast<size_t>(layer)];
    std::vector<int64_t> &layers = used[g];
    layers.resize(groups_[g].choices.size(), 0);
    for (size_t i = 0; i < layers.size(); ++i)
      layers[i] += candidates[static_cast<size_t>(groups_[g].choices[i])].name == count.candidate;
  }
  addResource(count.least, count.most, std::move(used));
}

void Solver::addBudget(const CostBudget &budget) {
  std::map<size_t, std::vector<int64_t>> used;
  for (size_t g = 0; g < groups_.size(); ++g)
    for (int64_t choice : groups_[g].choices) {
      int64_t cost = 0;
      for (size_t layer : groups_[g].layers)
        cost += budget.costs[layer][static_cast<size_t>(choice)];
      used[g].push_back(cost);
    }
  addResource(0, budget.limit, std::move(used));
}

void Solver::addResource(int64_t least, int64_t most, std::map<size_t, std::vector<int64_t>> used) {
  Resource resource{least, most, 0};
  int64_t leastAfter = 0, mostAfter = 0;
  for (auto entry = used.rbegin(); entry != used.rend(); ++entry) {
    auto &[g, byChoice] = *entry;
    work_ += byChoice.size();
    if (byChoice.empty())
      continue; // A group without a choice ends the search anyway.
    const int64_t smallest = *std::min_element(byChoice.begin(), byChoice.end());
    const int64_t largest = *std::max_element(byChoice.begin(), byChoice.end());
    if (largest == 0)
      continue;
    resource.last = std::max(resource.last, g);
    groups_[g].uses.push_back({resources_.size(), std::move(byChoice), leastAfter, mostAfter});
    leastAfter += smallest;
    mostAfter += largest;
  }
  // What nothing uses must still hold.
  isImpossible_ |= leastAfter > most || mostAfter < least;
  resources_.push_back(resource);
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

std::vector<Solver::Move> Solver::movesOf(size_t g, std::vector<size_t> &open) const {
  std::vector<Move> moves;
  std::vector<size_t> after;
  const auto add = [&](size_t r, const Use *use, bool wasOpen) {
    const bool isOpen = g < resources_[r].last;
    moves.push_back({&resources_[r], use, wasOpen, isOpen});
    if (isOpen)
      after.push_back(r);
  };
  auto before = open.begin();
  for (const Use &use : groups_[g].uses) {
    for (; before != open.end() && *before < use.resource; ++before)
      add(*before, nullptr, true);
    const bool wasOpen = before != open.end() && *before == use.resource;
    add(use.resource, &use, wasOpen);
    before += wasOpen;
  }
  for (; before != open.end(); ++before)
    add(*before, nullptr, true);
  open = std::move(after);
  return moves;
}

bool Solver::advance(const Key &before, const std::vector<Move> &moves, size_t choice, Key &after) {
  after.clear();
  auto number = before.begin();
  for (const Move &move : moves) {
    int64_t sum = move.wasOpen ? *number++ : 0;
    if (move.use) {
      sum += move.use->used[choice];
      if (sum + move.use->leastAfter > move.resource->most || sum + move.use->mostAfter < move.resource->least)
        return false;
    }
    if (move.isOpen)
      after.push_back(sum);
  }
  return true;
}

void Solver::prune(Level &level, size_t counts) {
  // States come sorted: a state can be beaten by earlier ones of its counts alone, which cost no more of the first
  // budget. Of these, by cost of the second one, the best so far: the worth rises with the cost. With three budgets and
  // more the others must be the same, which keeps the answer and leaves more states.
  std::map<int64_t, Worth> best;
  const Key *last = nullptr;
  for (auto state = level.begin(); state != level.end();) {
    const Key &key = state->first;
    const auto isSame = [&](size_t begin, size_t end) {
      return std::equal(key.begin() + static_cast<std::ptrdiff_t>(std::min(begin, end)),
                        key.begin() + static_cast<std::ptrdiff_t>(end),
                        last->begin() + static_cast<std::ptrdiff_t>(std::min(begin, end)));
    };
    if (last && !(isSame(0, counts) && isSame(counts + 2, key.size())))
      best.clear();
    const int64_t cost = key.size() > counts + 1 ? key[counts + 1] : 0;
    const auto above = best.upper_bound(cost);
    if (above != best.begin() && std::prev(above)->second >= state->second.worth) {
      state = level.erase(state);
      continue;
    }
    const auto own = best.insert_or_assign(cost, state->second.worth).first;
    for (auto next = std::next(own); next != best.end() && next->second <= own->second;)
      next = best.erase(next);
    last = &key;
    ++state;
  }
}

StatusOr<std::optional<Choice>> Solver::run() {
  if (isImpossible_)
    return std::optional<Choice>();
  const Status tooMany =
      Status::failed("the choice of layers has too many different costs to be solved exactly",
                     "give fewer candidates with options of their own, or fewer budgets and patterns that overlap");
  Level level;
  level[{}] = State();
  std::vector<std::vector<Step>> steps;
  std::vector<size_t> open;
  Key after;
  size_t total = 0;
  for (size_t g = 0; g < groups_.size(); ++g) {
    const std::vector<Move> moves = movesOf(g, open);
    Level next;
    for (const auto &[used, state] : level)
      for (size_t i = 0; i < groups_[g].choices.size(); ++i) {
        work_ += moves.size() + kStateWork;
        if (work_ > kMaxWork)
          return tooMany;
        if (!advance(used, moves, i, after))
          continue;
        const int64_t choice = groups_[g].choices[i];
        State candidate;
        const Worth added = worthOf(groups_[g], choice);
        for (size_t k = 0; k < added.size(); ++k)
          candidate.worth[k] = state.worth[k] + added[k];
        candidate.step = {state.index, choice};
        const auto [entry, isNew] = next.insert({after, candidate});
        if (!isNew && entry->second.worth < candidate.worth)
          entry->second = candidate;
      }
    const auto counts = std::lower_bound(open.begin(), open.end(), countCount_) - open.begin();
    prune(next, static_cast<size_t>(counts));
    total += next.size();
    if (total > kMaxStates)
      return tooMany;
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

/// `work` grows by what it took.
StatusOr<bool> isFeasible(const ChoiceSpace &space, size_t &work) {
  Solver solver(space, {}, {});
  const StatusOr<std::optional<Choice>> choice = solver.run();
  work += solver.work();
  if (!choice.ok())
    return choice.status();
  return choice->has_value();
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

StatusOr<bool> isPossible(const ChoiceSpace &space) {
  MORPH_RETURN_IF_ERROR(checkSpace(space));
  size_t work = 0;
  return isFeasible(space, work);
}

StatusOr<std::vector<ConstraintSource>> findConflict(const ChoiceSpace &space) {
  MORPH_RETURN_IF_ERROR(checkSpace(space));
  size_t work = 0;
  MORPH_ASSIGN_OR_RETURN(const bool feasible, isFeasible(space, work));
  if (feasible)
    return std::vector<ConstraintSource>();
  // What can be left out without making the rest possible is no part of the conflict.
  ChoiceSpace rest = space;
  std::vector<ConstraintSource> conflict;
  for (const ConstraintSource &source : sourcesOf(space)) {
    // Copies take their time, too. What takes too long to be left out stays.
    work += sizeOf(rest);
    if (work > kMaxWork) {
      conflict.push_back(source);
      continue;
    }
    ChoiceSpace smaller = without(rest, source);
    const StatusOr<bool> possible = isFeasible(smaller, work);
    if (!possible.ok() || *possible)
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
