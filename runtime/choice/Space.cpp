// SPDX-License-Identifier: Apache-2.0

#include "runtime/choice/Space.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

namespace morph {

namespace {

constexpr size_t kMaxLayers = 4096;
constexpr size_t kMaxCandidates = 64;
/// 4096 of them still fit into an int64_t.
constexpr int64_t kMaxCost = int64_t(1) << 50;

class SpaceChecker {
public:
  explicit SpaceChecker(const ChoiceSpace &space) : space_(space) {}

  Status check() {
    if (const size_t size = sizeOf(space_); size > kMaxSpaceSize)
      return Status::invalid("the space of choices has " + std::to_string(size) +
                             " candidates, costs and layers of constraints, expected at most " +
                             std::to_string(kMaxSpaceSize));
    MORPH_RETURN_IF_ERROR(checkCandidates());
    for (const AllowedCandidates &allowed : space_.allowed) {
      MORPH_RETURN_IF_ERROR(checkLayers(allowed.source, allowed.layers));
      for (const std::string &name : allowed.candidates)
        MORPH_RETURN_IF_ERROR(checkName(allowed.source, allowed.layers, name));
    }
    for (const TiedLayers &tie : space_.ties) {
      MORPH_RETURN_IF_ERROR(checkLayers(tie.source, tie.layers));
      MORPH_RETURN_IF_ERROR(checkAlike(tie));
    }
    for (const CandidateCount &count : space_.counts) {
      MORPH_RETURN_IF_ERROR(checkLayers(count.source, count.layers));
      MORPH_RETURN_IF_ERROR(checkName(count.source, count.layers, count.candidate));
      if (count.least < 0 || count.least > count.most)
        return refuse(count.source,
                      "asks for " + std::to_string(count.least) + " to " + std::to_string(count.most) + " layers");
    }
    for (const CostBudget &budget : space_.budgets)
      MORPH_RETURN_IF_ERROR(checkBudget(budget));
    return Status();
  }

private:
  static Status refuse(const ConstraintSource &source, const std::string &message) {
    return Status::invalid((source.place.empty() ? "" : source.place + ": ") + "'" + source.text + "' " + message);
  }

  Status checkCandidates() const {
    if (space_.layers.empty() || space_.layers.size() > kMaxLayers)
      return Status::invalid("the space of choices has " + std::to_string(space_.layers.size()) +
                             " layers, expected 1 to " + std::to_string(kMaxLayers));
    for (size_t layer = 0; layer < space_.layers.size(); ++layer) {
      const std::vector<Candidate> &candidates = space_.layers[layer];
      const std::string where = "layer " + std::to_string(layer) + " of the space of choices ";
      if (candidates.empty() || candidates.front().name != kFullAttention)
        return Status::invalid(where + "does not begin with 'full'");
      if (candidates.size() > kMaxCandidates)
        return Status::invalid(where + "has " + std::to_string(candidates.size()) + " candidates, expected at most " +
                               std::to_string(kMaxCandidates));
      std::set<std::string> names;
      for (const Candidate &candidate : candidates)
        if (!names.insert(candidate.name).second)
          return Status::invalid(where + "has the candidate '" + candidate.name + "' twice");
    }
    return Status();
  }

  Status checkLayers(const ConstraintSource &source, const std::vector<int64_t> &layers) const {
    for (size_t i = 0; i < layers.size(); ++i) {
      if (layers[i] < 0 || layers[i] >= space_.layerCount())
        return refuse(source, "names layer " + std::to_string(layers[i]) + ", but there are layers 0 to " +
                                  std::to_string(space_.layerCount() - 1));
      if (i > 0 && layers[i] <= layers[i - 1])
        return refuse(source, "names layers that do not rise");
    }
    return Status();
  }

  bool has(int64_t layer, const std::string &name) const {
    const std::vector<Candidate> &candidates = space_.layers[static_cast<size_t>(layer)];
    return std::any_of(candidates.begin(), candidates.end(),
                       [&](const Candidate &candidate) { return candidate.name == name; });
  }

  Status checkName(const ConstraintSource &source, const std::vector<int64_t> &layers, const std::string &name) const {
    if (std::any_of(layers.begin(), layers.end(), [&](int64_t layer) { return has(layer, name); }))
      return Status();
    return refuse(source, "names '" + name + "', which no such layer has for a candidate");
  }

  Status checkAlike(const TiedLayers &tie) const {
    for (int64_t layer : tie.layers) {
      const std::vector<Candidate> &a = space_.layers[static_cast<size_t>(tie.layers.front())];
      const std::vector<Candidate> &b = space_.layers[static_cast<size_t>(layer)];
      if (!std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Candidate &x, const Candidate &y) {
            return x.name == y.name && x.reference == y.reference;
          }))
        return refuse(tie.source, "ties layers " + std::to_string(tie.layers.front()) + " and " +
                                      std::to_string(layer) + ", which have different candidates");
    }
    return Status();
  }

  Status checkBudget(const CostBudget &budget) const {
    if (budget.costs.size() != space_.layers.size())
      return refuse(budget.source, "has costs of " + std::to_string(budget.costs.size()) + " layers");
    for (size_t layer = 0; layer < budget.costs.size(); ++layer) {
      if (budget.costs[layer].size() != space_.layers[layer].size())
        return refuse(budget.source, "lacks costs of candidates of layer " + std::to_string(layer));
      for (int64_t cost : budget.costs[layer])
        if (cost < 0 || cost > kMaxCost)
          return refuse(budget.source, "has a cost of " + std::to_string(cost) + " " + budget.unit);
    }
    return Status();
  }

  const ChoiceSpace &space_;
};

} // namespace

std::vector<std::vector<bool>> ChoiceSpace::allowedMask() const {
  std::vector<std::vector<bool>> mask;
  for (const std::vector<Candidate> &candidates : layers)
    mask.emplace_back(candidates.size(), true);
  for (const AllowedCandidates &allowance : allowed)
    for (int64_t layer : allowance.layers)
      for (size_t c = 0; c < layers[static_cast<size_t>(layer)].size(); ++c)
        if (std::find(allowance.candidates.begin(), allowance.candidates.end(),
                      layers[static_cast<size_t>(layer)][c].name) == allowance.candidates.end())
          mask[static_cast<size_t>(layer)][c] = false;
  for (const std::vector<size_t> &group : tiedGroups(*this))
    for (size_t c = 0; c < mask[group.front()].size(); ++c) {
      const bool isAllowed = std::all_of(group.begin(), group.end(), [&](size_t layer) { return mask[layer][c]; });
      for (size_t layer : group)
        mask[layer][c] = isAllowed;
    }
  return mask;
}

std::vector<int64_t> fullLayers(const Choice &choice) {
  std::vector<int64_t> layers;
  for (size_t layer = 0; layer < choice.size(); ++layer)
    if (choice[layer] == 0)
      layers.push_back(static_cast<int64_t>(layer));
  return layers;
}

Choice fullChoice(const ChoiceSpace &space) { return Choice(space.layers.size(), 0); }

Choice linearChoice(const ChoiceSpace &space) {
  Choice choice;
  for (const std::vector<bool> &allowed : space.allowedMask()) {
    const auto other = std::find(allowed.begin() + 1, allowed.end(), true);
    choice.push_back(other == allowed.end() ? 0 : other - allowed.begin());
  }
  return choice;
}

std::vector<std::vector<int64_t>> comparedCandidates(const ChoiceSpace &space) {
  std::vector<std::vector<int64_t>> compared;
  for (const std::vector<bool> &allowed : space.allowedMask()) {
    std::vector<int64_t> &list = compared.emplace_back(1, 0);
    for (size_t c = 1; c < allowed.size(); ++c)
      if (allowed[c])
        list.push_back(static_cast<int64_t>(c));
    if (list.size() == 1 && allowed.size() > 1)
      list.push_back(1);
  }
  return compared;
}

std::vector<std::string> candidateNames(const ChoiceSpace &space, const Choice &choice) {
  std::vector<std::string> names;
  for (size_t layer = 0; layer < choice.size(); ++layer)
    names.push_back(space.layers[layer][static_cast<size_t>(choice[layer])].name);
  return names;
}

std::vector<std::vector<size_t>> tiedGroups(const ChoiceSpace &space) {
  std::vector<size_t> leader(space.layers.size());
  std::iota(leader.begin(), leader.end(), 0);
  const auto find = [&](size_t layer) {
    while (leader[layer] != layer)
      layer = leader[layer] = leader[leader[layer]];
    return layer;
  };
  for (const TiedLayers &tie : space.ties)
    for (int64_t layer : tie.layers) {
      const size_t a = find(static_cast<size_t>(tie.layers.front())), b = find(static_cast<size_t>(layer));
      leader[std::max(a, b)] = std::min(a, b);
    }
  std::vector<std::vector<size_t>> groups;
  std::map<size_t, size_t> groupOf;
  for (size_t layer = 0; layer < leader.size(); ++layer) {
    const auto [entry, isNew] = groupOf.insert({find(layer), groups.size()});
    if (isNew)
      groups.emplace_back();
    groups[entry->second].push_back(layer);
  }
  return groups;
}

ChoiceSpace makePlainSpace(int64_t layers, const std::vector<std::string> &candidates, int64_t full) {
  ChoiceSpace space;
  std::vector<Candidate> list = {{kFullAttention, ""}};
  for (const std::string &name : candidates)
    list.push_back({name, name, true});
  space.layers.assign(static_cast<size_t>(layers), list);
  CandidateCount count{{"full_layers = " + std::to_string(full), ""}, {}, kFullAttention, full, full};
  for (int64_t layer = 0; layer < layers; ++layer)
    count.layers.push_back(layer);
  space.counts.push_back(std::move(count));
  return space;
}

size_t sizeOf(const ChoiceSpace &space) {
  size_t size = 0;
  for (const std::vector<Candidate> &candidates : space.layers)
    size += candidates.size() * (1 + space.budgets.size());
  for (const AllowedCandidates &allowed : space.allowed)
    size += 1 + allowed.layers.size() + allowed.candidates.size();
  for (const TiedLayers &tie : space.ties)
    size += 1 + tie.layers.size();
  for (const CandidateCount &count : space.counts)
    size += 1 + count.layers.size();
  return size;
}

Status checkSpace(const ChoiceSpace &space) { return SpaceChecker(space).check(); }

} // namespace morph
