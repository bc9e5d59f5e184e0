// SPDX-License-Identifier: Apache-2.0
// The solver against enumeration of all choices.

#include "runtime/choice/Solve.h"
#include "runtime/choice/Enumerate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

namespace morph {
namespace {

using Layers = std::vector<int64_t>;

/// Calls `visit` with every choice of a space, allowed or not.
template <typename Visit> void forEachChoice(const ChoiceSpace &space, Visit visit) {
  Choice choice(space.layers.size(), 0);
  for (;;) {
    visit(choice);
    size_t layer = 0;
    while (layer < choice.size() && ++choice[layer] == static_cast<int64_t>(space.layers[layer].size()))
      choice[layer++] = 0;
    if (layer == choice.size())
      return;
  }
}

double sumOf(const CandidateTable &values, const Choice &choice) {
  double sum = 0;
  for (size_t layer = 0; layer < choice.size(); ++layer)
    sum += values[layer][static_cast<size_t>(choice[layer])];
  return sum;
}

Layers someLayers(std::mt19937 &random, int64_t layers, size_t least) {
  Layers all(static_cast<size_t>(layers));
  std::iota(all.begin(), all.end(), 0);
  std::shuffle(all.begin(), all.end(), random);
  all.resize(std::max<size_t>(least, random() % all.size()));
  std::sort(all.begin(), all.end());
  return all;
}

/// A space of few layers with constraints of every kind.
ChoiceSpace randomSpace(std::mt19937 &random) {
  const auto layers = static_cast<int64_t>(3 + random() % 4);
  const std::vector<std::string> names = {"a", "b", "c"};
  ChoiceSpace space;
  const size_t candidates = 1 + random() % 3;
  for (int64_t layer = 0; layer < layers; ++layer) {
    std::vector<Candidate> &list = space.layers.emplace_back();
    list.push_back({kFullAttention, ""});
    for (size_t i = 0; i < candidates; ++i)
      list.push_back({names[i], names[i]});
  }
  int line = 1;
  const auto source = [&](const std::string &text) {
    return ConstraintSource{text, "spec.toml:" + std::to_string(line++)};
  };
  const auto someName = [&] {
    const size_t index = random() % (candidates + 1);
    return index == 0 ? std::string(kFullAttention) : names[index - 1];
  };
  if (random() % 2)
    space.allowed.push_back({source("pin"), someLayers(random, layers, 1), {someName()}});
  if (random() % 2)
    space.ties.push_back({source("tie"), someLayers(random, layers, 2)});
  if (random() % 2) {
    const Layers some = someLayers(random, layers, 2);
    const auto least = static_cast<int64_t>(random() % some.size());
    space.counts.push_back({source("count"), some, someName(), least, least + static_cast<int64_t>(random() % 2)});
  }
  for (size_t budgets = random() % 3; budgets > 0; --budgets) {
    CostBudget budget;
    budget.source = source("budget");
    budget.unit = "bytes";
    for (const auto &list : space.layers) {
      budget.costs.emplace_back();
      for (size_t c = 0; c < list.size(); ++c)
        budget.costs.back().push_back(static_cast<int64_t>(random() % 20));
    }
    budget.limit = static_cast<int64_t>(random() % static_cast<unsigned>(12 * layers));
    space.budgets.push_back(budget);
  }
  return space;
}

CandidateTable randomValues(std::mt19937 &random, const ChoiceSpace &space) {
  CandidateTable values;
  for (const auto &list : space.layers) {
    values.emplace_back();
    // Of few different values, so that there are ties.
    for (size_t c = 0; c < list.size(); ++c)
      values.back().push_back(static_cast<double>(random() % 9) / 8 - 0.5);
  }
  return values;
}

TEST(Solve, FindsTheBestOfAllChoices) {
  int feasible = 0;
  for (unsigned seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const ChoiceSpace space = randomSpace(random);
    const CandidateTable values = randomValues(random, space), ties = randomValues(random, space);
    std::optional<std::pair<double, double>> best;
    forEachChoice(space, [&](const Choice &choice) {
      if (!satisfies(space, choice))
        return;
      const std::pair<double, double> worth = {sumOf(values, choice), sumOf(ties, choice)};
      if (!best || worth > *best)
        best = worth;
    });
    const auto found = solve(space, values, ties);
    ASSERT_EQ(found.ok(), best.has_value()) << (found.ok() ? "" : found.status().message());
    if (!best)
      continue;
    ++feasible;
    EXPECT_TRUE(satisfies(space, *found));
    EXPECT_NEAR(sumOf(values, *found), best->first, 1e-9);
    EXPECT_NEAR(sumOf(ties, *found), best->second, 1e-9);
  }
  EXPECT_GT(feasible, 100);
  EXPECT_LT(feasible, 350);
}

TEST(Enumerate, ListsWhatSatisfiesAndNothingElse) {
  std::mt19937 random(3);
  for (int round = 0; round < 100; ++round) {
    const ChoiceSpace space = randomSpace(random);
    std::vector<Choice> expected;
    forEachChoice(space, [&](const Choice &choice) {
      if (satisfies(space, choice))
        expected.push_back(choice);
    });
    std::sort(expected.begin(), expected.end());
    const auto all = allChoices(space, expected.size());
    ASSERT_TRUE(all.ok()) << all.status().message();
    EXPECT_EQ(**all, expected);
    if (!expected.empty()) {
      EXPECT_FALSE(allChoices(space, expected.size() - 1)->has_value());
    }
  }
  EXPECT_EQ((*allChoices(makePlainSpace(10, {"kda"}, 3), 120))->size(), 120u);
  // It stops looking where there are too many.
  EXPECT_FALSE(allChoices(makePlainSpace(80, {"kda"}, 40), 100)->has_value());
}

TEST(Solve, NamesASmallestConflict) {
  int conflicts = 0;
  for (unsigned seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const ChoiceSpace space = randomSpace(random);
    const auto feasible = [](const ChoiceSpace &some) {
      bool any = false;
      forEachChoice(some, [&](const Choice &choice) { any |= satisfies(some, choice); });
      return any;
    };
    const auto conflict = findConflict(space);
    ASSERT_TRUE(conflict.ok());
    ASSERT_EQ(conflict->empty(), feasible(space));
    if (conflict->empty())
      continue;
    ++conflicts;
    /// The constraints of the conflict, without one of them.
    const auto only = [&](size_t left) {
      ChoiceSpace some;
      some.layers = space.layers;
      const auto isIn = [&](const ConstraintSource &source) {
        for (size_t i = 0; i < conflict->size(); ++i)
          if (i != left && (*conflict)[i].place == source.place)
            return true;
        return false;
      };
      const auto copy = [&](const auto &from, auto &to) {
        for (const auto &constraint : from)
          if (isIn(constraint.source))
            to.push_back(constraint);
      };
      copy(space.allowed, some.allowed);
      copy(space.ties, some.ties);
      copy(space.counts, some.counts);
      copy(space.budgets, some.budgets);
      return some;
    };
    EXPECT_FALSE(feasible(only(conflict->size())));
    for (size_t i = 0; i < conflict->size(); ++i)
      EXPECT_TRUE(feasible(only(i))) << (*conflict)[i].text << " is not needed";
  }
  EXPECT_GT(conflicts, 50);
}

TEST(Solve, SaysWhichLinesExcludeEachOther) {
  ChoiceSpace space = makePlainSpace(4, {"gla"}, 1);
  space.counts[0].source.place = "spec.toml:3:15";
  space.allowed.push_back({{"budget.keep", "spec.toml:4:8"}, {0, 1}, {kFullAttention}});
  const auto found = solve(space, CandidateTable(4, {0, 0}));
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.status().message(), "no choice of layers satisfies all of budget.keep (spec.toml:4:8) and "
                                      "full_layers = 1 (spec.toml:3:15)");
}

TEST(Solve, TakesTheLargestThenTheTieBreakThenLowerLayers) {
  const auto kept = [](int64_t full, const std::vector<double> &scores, const std::vector<double> &ties) {
    const ChoiceSpace space = makePlainSpace(static_cast<int64_t>(scores.size()), {"gla"}, full);
    CandidateTable values, breaks;
    for (double score : scores)
      values.push_back({score, 0});
    for (double tie : ties)
      breaks.push_back({tie, 0});
    return fullLayers(*solve(space, values, breaks));
  };
  EXPECT_EQ(kept(2, {1, 1, 0.5, 1}, {0.1, 0.3, 0.9, 0.3}), (Layers{1, 3}));
  EXPECT_EQ(kept(2, {1, 1, 1, 1}, {}), (Layers{0, 1}));
  EXPECT_EQ(kept(3, {-4, -3, -2, -1}, {}), (Layers{1, 2, 3}));
  // Sums of doubles would depend on their order.
  EXPECT_EQ(kept(3, {0.1, 0.2, 0.3, 0.1}, {}), (Layers{0, 1, 2}));
}

TEST(Solve, IsQuickAtEightyLayersWithFourCandidatesAndABudget) {
  std::mt19937 random(1);
  ChoiceSpace space = makePlainSpace(80, {"a", "b", "c"}, 20);
  space.counts.clear();
  for (int64_t block = 0; block < 20; ++block)
    space.counts.push_back({{"pattern", ""}, {4 * block, 4 * block + 1, 4 * block + 2, 4 * block + 3}, "full", 1, 1});
  CostBudget budget{{"budget.cache_bytes", ""}, "cache_bytes", "bytes", 32768, 0, {}};
  CandidateTable values;
  std::uniform_real_distribution<double> uniform(0, 1);
  for (int layer = 0; layer < 80; ++layer) {
    budget.costs.push_back({1'000'000, 16'384, 32'768, 262'144});
    values.push_back({uniform(random), uniform(random), uniform(random), uniform(random)});
  }
  budget.limit = 20 * 1'000'000 + 6'000'000;
  space.budgets.push_back(budget);
  const auto choice = solve(space, values);
  ASSERT_TRUE(choice.ok());
  EXPECT_TRUE(satisfies(space, *choice));
}

/// Candidates "full" and "gla" in 4096 layers, and in every block of so many one that is "full".
ChoiceSpace longSpace(const std::vector<int64_t> &blocks) {
  constexpr int64_t kLayers = 4096;
  ChoiceSpace space = makePlainSpace(kLayers, {"gla"}, 0);
  space.counts.clear();
  for (int64_t block : blocks)
    for (int64_t first = 0; first < kLayers; first += block) {
      CandidateCount count{{"one in " + std::to_string(block), ""}, {}, "full", 1, 1};
      if (first + block > kLayers)
        count.least = 0;
      for (int64_t layer = first; layer < std::min(first + block, kLayers); ++layer)
        count.layers.push_back(layer);
      space.counts.push_back(std::move(count));
    }
  return space;
}

TEST(Solve, IsQuickAtThousandsOfBlocks) {
  const ChoiceSpace space = longSpace({2});
  const auto choice = solve(space, CandidateTable(4096, {1, 0}));
  ASSERT_TRUE(choice.ok());
  EXPECT_TRUE(satisfies(space, *choice));
}

TEST(Solve, GivesUpOnBlocksThatOverlapTooMuch) {
  // Of each a different number, so that what the blocks of one have used says nothing of the others.
  ChoiceSpace space = longSpace({127, 131, 137, 139, 149, 151, 157, 163, 167, 173});
  for (CandidateCount &count : space.counts)
    count.least = 0, count.most = static_cast<int64_t>(count.layers.size() / 2);
  const auto choice = solve(space, CandidateTable(4096, {1, 0}));
  ASSERT_FALSE(choice.ok());
  EXPECT_EQ(choice.status().message(), "the choice of layers has too many different costs to be solved exactly");
}

TEST(Solve, RefusesSpacesThatMakeNoSense) {
  const auto refuses = [](const auto &change, const std::string &expected) {
    ChoiceSpace space = makePlainSpace(4, {"gla"}, 1);
    change(space);
    const Status status = checkSpace(space);
    ASSERT_FALSE(status.ok()) << expected;
    EXPECT_NE(status.message().find(expected), std::string::npos) << status.message();
  };
  using Space = ChoiceSpace &;
  refuses([](Space space) { space.layers.clear(); }, "has 0 layers");
  refuses([](Space space) { space.layers[1].erase(space.layers[1].begin()); }, "does not begin with 'full'");
  refuses([](Space space) { space.layers[1].push_back({"gla", ""}); }, "has the candidate 'gla' twice");
  refuses([](Space space) { space.layers[2].resize(65, {"x", ""}); }, "has 65 candidates");
  refuses([](Space space) { space.ties.assign(50'000, {{"tie", ""}, {1, 2}}); }, "has 150013 candidates");
  refuses([](Space space) { space.ties.push_back({{"tie", ""}, {1, 4}}); }, "names layer 4");
  refuses([](Space space) { space.ties.push_back({{"tie", ""}, {2, 1}}); }, "do not rise");
  refuses([](Space space) { space.allowed.push_back({{"pin", ""}, {1}, {"kda"}}); }, "names 'kda'");
  refuses([](Space space) { space.counts[0].least = 2; }, "asks for 2 to 1");
  refuses(
      [](Space space) {
        space.layers[2].push_back({"kda", "kda"});
        space.ties.push_back({{"tie", ""}, {1, 2}});
      },
      "have different candidates");
  refuses([](Space space) { space.budgets.push_back({{"bytes", ""}, "", "bytes", 0, 0, {{1, 2}}}); },
          "costs of 1 layers");
  refuses([](Space space) { space.budgets.push_back({{"bytes", ""}, "", "bytes", 0, 0, {{1}, {1}, {1}, {1}}}); },
          "lacks costs");
  refuses(
      [](Space space) {
        space.budgets.push_back({{"bytes", ""}, "", "bytes", 0, 0, {{1, -1}, {1, 1}, {1, 1}, {1, 1}}});
      },
      "a cost of -1 bytes");
}

TEST(Space, LinearAndComparedCandidatesKeepPinsAndTies) {
  ChoiceSpace space = makePlainSpace(6, {"a", "b"}, 1);
  space.layers[5].resize(1);
  space.allowed = {{{"pin", ""}, {0}, {"full", "b"}}, {{"pin", ""}, {1}, {kFullAttention}}, {{"pin", ""}, {2}, {"b"}}};
  space.ties = {{{"tie", ""}, {0, 3}}};
  EXPECT_EQ(linearChoice(space), (Choice{2, 0, 2, 2, 1, 0}));
  EXPECT_EQ(fullChoice(space), Choice(6, 0));
  // Full attention in any case, so that what is pinned to another has a score; a layer that may only be full has its
  // first other for one.
  using Candidates = std::vector<std::vector<int64_t>>;
  EXPECT_EQ(comparedCandidates(space), (Candidates{{0, 2}, {0, 1}, {0, 2}, {0, 2}, {0, 1, 2}, {0}}));
}

TEST(ValuesOfShares, NeverMakeACostlierCandidateWorthLess) {
  ChoiceSpace space = makePlainSpace(2, {"kda", "sliding_window"}, 1);
  // Without a budget the linear ones cost alike: full attention is worth its share more than either.
  CandidateTable values = valuesOfShares(space, {{0.5, 0.2, 0.3}, {0.25, 0.75, 0}});
  EXPECT_DOUBLE_EQ(values[0][0] - values[0][1], 0.5);
  EXPECT_DOUBLE_EQ(values[0][1], values[0][2]);
  EXPECT_DOUBLE_EQ(values[1][0] - values[1][1], 0.25);
  space.budgets.push_back({{"bytes", ""}, "cache_bytes", "bytes", 0, 100, {{9, 1, 3}, {9, 3, 1}}});
  values = valuesOfShares(space, {{0.5, 0.2, 0.3}, {0.25, 0.75, 0}});
  EXPECT_DOUBLE_EQ(values[0][1], 0.2);
  EXPECT_DOUBLE_EQ(values[0][2], 0.5);
  EXPECT_DOUBLE_EQ(values[0][0], 1.0);
  EXPECT_DOUBLE_EQ(values[1][1], 0.75);
  EXPECT_DOUBLE_EQ(values[1][2], 0.0);
}

} // namespace
} // namespace morph
