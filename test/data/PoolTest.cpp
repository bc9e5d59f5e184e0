// SPDX-License-Identifier: Apache-2.0
// Training, selection and evaluation draw from pools without an overlap, and what cannot be divided is said to be
// shared.

#include "runtime/data/Retrieval.h"
#include "test/data/DataTesting.h"

#include <algorithm>
#include <set>

namespace morph {
namespace {

/// Sets by split that have nothing in common.
template <typename T> bool disjoint(const std::array<std::set<T>, 3> &sets) {
  std::set<T> all;
  size_t count = 0;
  for (const std::set<T> &set : sets) {
    all.insert(set.begin(), set.end());
    count += set.size();
  }
  return all.size() == count;
}

/// Numbers of seven digits by their digits (ids 0 to 9), 64 keys, and a wording for each split that is one token.
Lexicon numbers() {
  Lexicon lexicon;
  lexicon.vocabulary = 200;
  for (int64_t key = 0; key < 64; ++key)
    lexicon.keys.push_back({100 + key});
  lexicon.alphabets = {{}, {}};
  for (int64_t digit = 0; digit < 10; ++digit) {
    lexicon.alphabets[1].push_back({digit});
    if (digit > 0)
      lexicon.alphabets[0].push_back({digit});
  }
  lexicon.value = {0, 1, 1, 1, 1, 1, 1};
  for (Split split : kSplits) {
    Wording wording;
    wording.needle = {{{180 + static_cast<int64_t>(split)}, ""}, {{}, "key"}, {{}, "value"}};
    lexicon.wordings[static_cast<size_t>(split)] = {wording};
  }
  return lexicon;
}

TEST(Pool, HalfOfAllEntriesIsForTraining) {
  // Entries that differ in their last token alone are of all splits too.
  std::array<int, 3> counts = {};
  for (int64_t last = 0; last < 4000; ++last)
    ++counts[static_cast<size_t>(splitOf(Piece{7, last}))];
  EXPECT_NEAR(counts[0], 2000, 150); // five standard errors
  EXPECT_NEAR(counts[1], 1000, 150);
  EXPECT_NEAR(counts[2], 1000, 150);
}

TEST(Pool, SplitsShareNoKeyNoValueAndNoWording) {
  const auto lexicon = std::make_shared<const Lexicon>(numbers());
  const Sharing sharing = sharingOf(*lexicon, 4);
  EXPECT_FALSE(sharing.keys || sharing.values || sharing.wordings);
  std::array<std::set<Piece>, 3> values, keys;
  std::array<std::set<int64_t>, 3> wordings;
  for (Split split : kSplits) {
    const Pool pool(lexicon, split, sharing);
    const size_t index = static_cast<size_t>(split);
    Random random(5, "values", index);
    for (int i = 0; i < 20000; ++i)
      values[index].insert(pool.drawValue(random));
    keys[index].insert(pool.keys().begin(), pool.keys().end());
    for (const Wording &wording : pool.wordings())
      wordings[index].insert(wording.needle[0].tokens[0]);
    // 9 * 10^6 numbers, half or a quarter of them: 20000 draws hardly repeat (a list of 4096 would end).
    EXPECT_GT(values[index].size(), 19800u) << splitName(split);
    // Each part from its own alphabet: no number begins with 0.
    EXPECT_TRUE(std::all_of(values[index].begin(), values[index].end(),
                            [](const Piece &value) { return value.size() == 7 && value[0] != 0; }));
    EXPECT_TRUE(std::any_of(values[index].begin(), values[index].end(),
                            [](const Piece &value) { return std::count(value.begin(), value.end(), 0) > 0; }));
    EXPECT_GE(keys[index].size(), 8u) << splitName(split);
    EXPECT_EQ(wordings[index].size(), 1u) << splitName(split);
  }
  EXPECT_TRUE(disjoint(values));
  EXPECT_TRUE(disjoint(keys));
  EXPECT_TRUE(disjoint(wordings));
}

TEST(Pool, TooFewEntriesAreShared) {
  Lexicon lexicon = numbers();
  std::array<int64_t, 3> keys = {};
  for (const Piece &key : lexicon.keys)
    ++keys[static_cast<size_t>(splitOf(key))];
  const int64_t least = *std::min_element(keys.begin(), keys.end());
  EXPECT_FALSE(sharingOf(lexicon, least / 2).keys);
  EXPECT_TRUE(sharingOf(lexicon, least / 2 + 1).keys) << "every split has twice as many as a sample takes";
  lexicon.value = {1};
  EXPECT_TRUE(sharingOf(lexicon, 1).values) << "ten values are not divided";
  lexicon.value = {0, 1, 1};
  EXPECT_FALSE(sharingOf(lexicon, 1).values);
  lexicon.wordings[static_cast<size_t>(Split::Evaluation)].clear();
  const Sharing sharing = sharingOf(lexicon, 14);
  EXPECT_TRUE(sharing.wordings);
  const auto shared = std::make_shared<const Lexicon>(std::move(lexicon));
  const Pool pool(shared, Split::Evaluation, sharing);
  EXPECT_EQ(pool.keys().size(), 64u);
  EXPECT_EQ(pool.wordings()[0].needle[0].tokens[0], 180);
}

TEST(Pool, OneEntryEndsTheSearchForAValue) {
  Lexicon lexicon = numbers();
  lexicon.alphabets = {{{3}}};
  lexicon.value = {0, 0};
  const Sharing sharing = sharingOf(lexicon, 1);
  EXPECT_TRUE(sharing.values);
  Random random(0, "value", 0);
  for (Split split : kSplits)
    EXPECT_EQ(Pool(std::make_shared<const Lexicon>(lexicon), split, sharing).drawValue(random), (Piece{3, 3}));
}

/// The answers of 400 samples of each split.
std::array<std::set<Piece>, 3> answersOf(const TaskGenerator &generator) {
  std::array<std::set<Piece>, 3> answers;
  for (Split split : kSplits)
    for (uint64_t index = 0; index < 400; ++index) {
      auto sample = generator.sample(3, index, 96, {std::nullopt, split});
      EXPECT_TRUE(sample.ok()) << sample.status().message();
      std::vector<Piece> found(static_cast<size_t>(sample->answers()));
      for (size_t i = 0; i < sample->targets.size(); ++i)
        found[static_cast<size_t>(sample->answerId[i])].push_back(sample->targets[i]);
      answers[static_cast<size_t>(split)].insert(found.begin(), found.end());
    }
  return answers;
}

TEST(Pool, AnswersOfSamplesAreDisjointInTokenSpace) {
  using Kind = TaskSpec::Kind;
  for (Kind kind : {Kind::Mqar, Kind::NiahSingle, Kind::NiahMultiValue, Kind::NiahMultiQuery, Kind::TwoHop,
                    Kind::NearKeys, Kind::Induction}) {
    TaskSpec task = makeTask("t", kind, 4);
    task.length = {96};
    task.keyTokens = {1000, 1064};
    task.valueTokens = {1064, 1128};
    task.queries = kind == Kind::NiahMultiQuery ? 2 : 1;
    auto generator = TaskGenerator::create(task, "", countingText({4000}, 0.25, 1000), 1128);
    ASSERT_TRUE(generator.ok()) << generator.status().message();
    EXPECT_FALSE((*generator)->sharing().values);
    EXPECT_TRUE((*generator)->sharing().wordings) << "token space has one wording";
    EXPECT_TRUE(disjoint(answersOf(**generator))) << toWord(kind);
  }
}

TEST(Pool, WhatACallerSharesIsShared) {
  TaskSpec task = makeTask("t", TaskSpec::Kind::TwoHop, 2);
  task.length = {96};
  task.keyTokens = {1000, 1064};
  task.valueTokens = {1064, 1128};
  auto keysOf = [&](const Sharing &shared) {
    auto generator = TaskGenerator::create(task, "", countingText({4000}, 0.25, 1000), 1128, shared);
    EXPECT_TRUE(generator.ok()) << generator.status().message();
    EXPECT_EQ((*generator)->sharing().keys, shared.keys);
    std::set<int64_t> keys;
    for (uint64_t index = 0; index < 400; ++index) {
      auto sample = (*generator)->sample(3, index, 96);
      for (int64_t token : sample->tokens)
        if (token >= 1000 && token < 1064)
          keys.insert(token);
    }
    return keys.size();
  };
  EXPECT_EQ(keysOf({/*keys=*/true, false, false}), 64u);
  EXPECT_LT(keysOf({}), 48u);
}

} // namespace
} // namespace morph
