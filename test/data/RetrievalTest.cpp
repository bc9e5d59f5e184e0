// SPDX-License-Identifier: Apache-2.0
// Every kind of task, in both spaces, against what each sample promises.

#include "runtime/data/Retrieval.h"
#include "test/data/DataTesting.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

namespace morph {
namespace {

using nlohmann::json;

// Ids below 1000 are background, then 64 keys, 64 values, and in words the fixed pieces.
constexpr int64_t kKeys = 1000, kValues = 1064, kFixed = 1128, kVocabulary = 1200;

TaskSpec tokenTask(const std::string &kind, int64_t needles, int64_t queries = 1) {
  TaskSpec task = makeTask("t", *fromWord<TaskSpec::Kind>(kind), needles);
  task.length = {96, 192};
  task.queries = queries;
  task.hops = 3;
  task.keyTokens = {1000, 1064};
  task.valueTokens = {1064, 1128};
  task.noiseTokens = {0, 1000};
  return task;
}

/// A words-space lexicon with pieces of several tokens.
json wordLexicon() {
  json lexicon = {{"format", "morph-lexicon"}, {"version", 2}, {"vocabulary", kVocabulary}, {"value", {0, 0}}};
  lexicon["alphabets"] = {json::array()};
  for (int64_t i = 0; i < 32; ++i) {
    lexicon["keys"].push_back(i % 2 ? json{kKeys + i} : json{kKeys + i, kKeys + 32 + i});
    lexicon["alphabets"][0].push_back({kValues + i, kValues + 32 + i});
  }
  auto tokens = [](int64_t id) { return json{{"tokens", {kFixed + id}}}; };
  auto slot = [](const char *name) { return json{{"slot", name}}; };
  for (int split = 0; split < 3; ++split)
    lexicon["wordings"][splitName(kSplits[split])] = {
        {{"prefix", {tokens(0), tokens(1)}},
         {"needle", {tokens(2), slot("key"), tokens(3), slot("value"), tokens(4)}},
         {"link", {tokens(2), slot("key"), tokens(5), slot("source"), tokens(4)}},
         {"question", {tokens(6), slot("keys"), tokens(7), tokens(20 + split)}},
         {"lead", {tokens(8), slot("key"), tokens(9)}}}};
  lexicon["key_join"] = {kFixed + 10};
  lexicon["answer_join"] = {kFixed + 11};
  lexicon["list_join"] = {kFixed + 12};
  lexicon["repeat"] = {7, 8, 9};
  return lexicon;
}

std::unique_ptr<TaskGenerator> make(const TaskSpec &task, const std::string &dir = "") {
  auto generator = TaskGenerator::create(task, dir, countingText({4000, 900}, 0.25, 1000), kVocabulary);
  EXPECT_TRUE(generator.ok()) << generator.status().message();
  return generator.ok() ? *std::move(generator) : nullptr;
}

Sample sampleOf(const TaskGenerator &generator, uint64_t index, int64_t length, SampleOptions options = {}) {
  auto sample = generator.sample(11, index, length, options);
  EXPECT_TRUE(sample.ok()) << sample.status().message();
  return sample.ok() ? *std::move(sample) : Sample{};
}

/// The tokens of answer `id`.
Piece answerOf(const Sample &sample, int id) {
  Piece tokens;
  for (size_t i = 0; i < sample.targets.size(); ++i)
    if (sample.answerId[i] == id)
      tokens.push_back(sample.targets[i]);
  return tokens;
}

/// What holds for every sample of every task: length, rows, and each answer in the context at its depth.
void checkSample(const Sample &sample, int64_t length) {
  ASSERT_EQ(static_cast<int64_t>(sample.tokens.size()), length);
  ASSERT_EQ(sample.positions.size(), sample.targets.size());
  ASSERT_EQ(sample.positions.size(), sample.answerId.size());
  ASSERT_FALSE(sample.positions.empty());
  EXPECT_TRUE(sample.isTask);
  EXPECT_EQ(sample.positions.back(), length - 2) << "the last token is the last answer's";
  for (size_t i = 0; i < sample.positions.size(); ++i) {
    EXPECT_EQ(sample.tokens[sample.positions[i] + 1], sample.targets[i]);
    if (i > 0) {
      EXPECT_LT(sample.positions[i - 1], sample.positions[i]);
    }
  }
  for (int64_t position : sample.textPositions)
    EXPECT_LT(sample.tokens[position + 1], 1000);

  auto isBackground = [](int64_t id) { return id < 1000; };
  int64_t all = std::count_if(sample.tokens.begin(), sample.tokens.end(), isBackground);
  for (int id = 0; id < sample.answers(); ++id) {
    Piece answer = answerOf(sample, id);
    ASSERT_FALSE(answer.empty());
    double depth = sample.answerDepth[id];
    EXPECT_GE(depth, 0);
    EXPECT_LE(depth, 1);
    // Some occurrence before the answer itself has the claimed share of the background before it.
    bool found = false;
    auto begin = sample.tokens.begin(), end = sample.tokens.begin() + sample.positions.front();
    for (auto at = std::search(begin, end, answer.begin(), answer.end()); at != end && !found;
         at = std::search(at + 1, end, answer.begin(), answer.end()))
      found = all == 0 || std::abs(std::count_if(begin, at, isBackground) / static_cast<double>(all) - depth) < 1e-9;
    EXPECT_TRUE(found) << "answer " << id << " is not in the context at depth " << depth;
  }
}

struct Case {
  const char *kind;
  int64_t needles, queries;
  int answers;
};

class EveryTask : public ::testing::TestWithParam<Case> {};

TEST_P(EveryTask, TokenSpaceSamplesHoldTheirPromises) {
  Case c = GetParam();
  auto generator = make(tokenTask(c.kind, c.needles, c.queries));
  ASSERT_TRUE(generator);
  for (int64_t length : {96, 97, 192, 300})
    for (uint64_t index = 0; index < 20; ++index) {
      Sample sample = sampleOf(*generator, index, length);
      checkSample(sample, length);
      EXPECT_EQ(sample.answers(), c.answers);
      for (double depth : sample.answerDepth) {
        EXPECT_GT(depth, 0.02);
        EXPECT_LT(depth, 0.98);
      }
    }
}

TEST_P(EveryTask, WordSpaceSamplesHoldTheirPromises) {
  Case c = GetParam();
  TemporaryFolder folder;
  json lexicon = wordLexicon();
  if (std::string(c.kind) == "variable_tracking")
    for (json &wordings : lexicon["wordings"])
      wordings[0]["lead"] = json::array({{{"slot", "value"}}});
  folder.write("lexicon-t.json", lexicon.dump());
  TaskSpec task = tokenTask(c.kind, c.needles, c.queries);
  task.space = TaskSpec::Space::Words;
  task.length = {160};
  auto generator = make(task, folder.path());
  ASSERT_TRUE(generator);
  for (int64_t length : {160, 255})
    for (uint64_t index = 0; index < 20; ++index) {
      Sample sample = sampleOf(*generator, index, length);
      checkSample(sample, length);
      EXPECT_EQ(sample.tokens[0], kFixed);
      EXPECT_EQ(sample.tokens[1], kFixed + 1);
      EXPECT_EQ(sample.answers(), c.answers);
    }
}

TEST_P(EveryTask, SampleIsAFunctionOfSeedIndexAndLength) {
  Case c = GetParam();
  auto first = make(tokenTask(c.kind, c.needles, c.queries)), second = make(tokenTask(c.kind, c.needles, c.queries));
  std::vector<Piece> forward, backward;
  for (uint64_t index = 0; index < 8; ++index)
    forward.push_back(sampleOf(*first, index, 128).tokens);
  for (uint64_t index = 8; index-- > 0;)
    backward.insert(backward.begin(), sampleOf(*second, index, 128).tokens);
  EXPECT_EQ(forward, backward);
  EXPECT_EQ(std::set<Piece>(forward.begin(), forward.end()).size(), forward.size());
  EXPECT_NE(first->sample(12, 0, 128)->tokens, forward[0]);
  // Not the background alone: what is hidden, too.
  std::set<Piece> targets = {first->sample(12, 0, 128)->targets};
  for (uint64_t index = 0; index < 8; ++index)
    targets.insert(sampleOf(*first, index, 128).targets);
  EXPECT_EQ(targets.size(), 9u);
}

TEST_P(EveryTask, AskedDepthIsGiven) {
  Case c = GetParam();
  auto generator = make(tokenTask(c.kind, c.needles, c.queries));
  for (double depth : {0.0, 0.25, 1.0}) {
    Sample sample = sampleOf(*generator, 3, 192, {depth, Split::Training});
    checkSample(sample, 192);
    for (double given : sample.answerDepth)
      EXPECT_NEAR(given, depth, 0.01);
    EXPECT_NEAR(sample.depth, depth, 0.01);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, EveryTask,
                         ::testing::Values(Case{"passkeys", 5, 1, 5}, Case{"niah_single", 1, 1, 1},
                                           Case{"niah_multi_key", 4, 1, 1}, Case{"niah_multi_value", 3, 1, 3},
                                           Case{"niah_multi_query", 6, 2, 2}, Case{"variable_tracking", 3, 1, 3},
                                           Case{"mqar", 6, 1, 6}),
                         [](const auto &info) { return std::string(info.param.kind); });

TEST(Tasks, EveryKindIsTested) {
  EXPECT_EQ(taskKindNames(), (std::vector<std::string>{"mqar", "niah_multi_key", "niah_multi_query", "niah_multi_value",
                                                       "niah_single", "passkeys", "variable_tracking"}));
}

TEST(Tasks, MqarFillsTheSequenceWithoutBackground) {
  TaskSpec task = tokenTask("mqar", 4);
  task.length = {24};
  task.background = TaskSpec::Background::Noise;
  auto generator = make(task);
  ASSERT_TRUE(generator);
  Sample sample = sampleOf(*generator, 0, 24);
  checkSample(sample, 24);
  EXPECT_EQ(sample.positions, (std::vector<int64_t>{12, 13, 15, 16, 18, 19, 21, 22}));
  EXPECT_TRUE(sample.textPositions.empty());
  std::multiset<int64_t> hidden, asked;
  for (int i = 0; i < 4; ++i) {
    hidden.insert(sample.tokens[3 * i]);
    asked.insert(sample.tokens[12 + 3 * i]);
  }
  EXPECT_EQ(hidden, asked);
}

TEST(Tasks, VariableTrackingLinksAChainInOrder) {
  auto generator = make(tokenTask("variable_tracking", 2));
  Sample sample = sampleOf(*generator, 5, 120);
  Piece chain;
  for (int id = 0; id < 3; ++id)
    chain.push_back(answerOf(sample, id).at(0));
  auto end = sample.tokens.begin() + sample.positions.front();
  auto place = [&](Piece piece) {
    return std::search(sample.tokens.begin(), end, piece.begin(), piece.end()) - sample.tokens.begin();
  };
  // `key source` of the second and third key come later than the assignment of the first.
  EXPECT_LT(place({chain[0]}), place({chain[1], chain[0]}));
  EXPECT_LT(place({chain[1], chain[0]}), place({chain[2], chain[1]}));
  EXPECT_LT(place({chain[2], chain[1]}), sample.positions.front());
}

TEST(Tasks, ManyValuesAreAskedInTheOrderOfTheContext) {
  auto generator = make(tokenTask("niah_multi_value", 3));
  for (uint64_t index = 0; index < 20; ++index) {
    const Sample sample = sampleOf(*generator, index, 192);
    EXPECT_TRUE(std::is_sorted(sample.answerDepth.begin(), sample.answerDepth.end())) << index;
  }
}

TEST(Tasks, BackgroundComesFromThePartOfItsSplit) {
  auto text = countingText({900}, 2.0 / 3); // 300 tokens for each
  auto generator = TaskGenerator::create(tokenTask("niah_single", 1), "", text, kVocabulary);
  ASSERT_TRUE(generator.ok());
  for (uint64_t index = 0; index < 20; ++index)
    for (Split split : kSplits)
      for (int64_t token : sampleOf(**generator, index, 96, {std::nullopt, split}).tokens)
        if (token < 1000) {
          EXPECT_EQ(token / 300, static_cast<int64_t>(split));
        }
}

TEST(Tasks, NeedlesAreInsertedBehindBreaks) {
  TemporaryFolder folder;
  json lexicon = wordLexicon();
  for (int64_t id = 0; id < 1000; id += 10)
    lexicon["break_after"].push_back(id);
  folder.write("lexicon-t.json", lexicon.dump());
  TaskSpec task = tokenTask("niah_multi_query", 4, 2);
  task.space = TaskSpec::Space::Words;
  auto generator = make(task, folder.path());
  ASSERT_TRUE(generator);
  for (uint64_t index = 0; index < 20; ++index) {
    Sample sample = sampleOf(*generator, index, 192);
    for (size_t i = 3; i < sample.tokens.size(); ++i)
      if (sample.tokens[i] == kFixed + 2 && sample.tokens[i - 1] < 1000) {
        EXPECT_EQ(sample.tokens[i - 1] % 10, 0);
      }
  }
}

TEST(Tasks, RepeatAndNoiseBackgrounds) {
  TaskSpec task = tokenTask("niah_single", 1);
  task.background = TaskSpec::Background::Repeat;
  task.noiseTokens = {3, 5};
  auto repeat = make(task);
  Sample sample = sampleOf(*repeat, 0, 96);
  EXPECT_EQ(std::count(sample.tokens.begin(), sample.tokens.end(), 3), 45);
  EXPECT_EQ(std::count(sample.tokens.begin(), sample.tokens.end(), 4), 45);
  task.background = TaskSpec::Background::Noise;
  auto noise = make(task);
  sample = sampleOf(*noise, 0, 96);
  EXPECT_EQ(std::count(sample.tokens.begin(), sample.tokens.end(), 3) +
                std::count(sample.tokens.begin(), sample.tokens.end(), 4),
            90);
  EXPECT_TRUE(sample.textPositions.empty());
}

TEST(Tasks, LengthsAreDrawnFromTheList) {
  auto generator = make(tokenTask("niah_single", 1));
  std::set<int64_t> drawn;
  for (uint64_t index = 0; index < 50; ++index)
    drawn.insert(generator->drawLength(0, index));
  EXPECT_EQ(drawn, (std::set<int64_t>{96, 192}));
}

TEST(Tasks, WhatCannotBeDoneIsRefusedByName) {
  auto with = [](TaskSpec task, auto change) {
    change(task);
    return TaskGenerator::create(task, "/nowhere", countingText({500}, 0, 1000), kVocabulary).status();
  };
  TaskSpec single = tokenTask("niah_single", 1);
  EXPECT_TRUE(refused(with(single, [](TaskSpec &t) { t.queries = 2; }), "more than its 1 needles"));
  EXPECT_TRUE(refused(with(single, [](TaskSpec &t) { t.needles = 0; }), "1..65536"));
  EXPECT_TRUE(refused(with(single, [](TaskSpec &t) { t.length = {}; }), "length"));
  EXPECT_TRUE(refused(with(single, [](TaskSpec &t) { t.length = {4}; }), "4 tokens have no room"));
  EXPECT_TRUE(refused(with(single, [](TaskSpec &t) { t.depth = {0.5, 0.2}; }), "depth"));
  EXPECT_TRUE(refused(with(single, [](TaskSpec &t) { t.space = TaskSpec::Space::Words; }), "/nowhere/lexicon-t.json"));
  TemporaryFolder folder;
  folder.write("lexicon-t.json", wordLexicon().dump());
  TaskSpec words = single;
  words.space = TaskSpec::Space::Words;
  EXPECT_TRUE(
      refused(TaskGenerator::create(words, folder.path(), countingText({500}, 0, 1000), kVocabulary - 1).status(),
              "its vocabulary has 1200 ids and the model's 1199"));
  EXPECT_TRUE(refused(with(tokenTask("mqar", 65), [](TaskSpec &t) { t.length = {4096}; }), "65 different keys"));
  EXPECT_TRUE(
      refused(with(tokenTask("variable_tracking", 30), [](TaskSpec &t) { t.length = {4096}; }), "90 different keys"));
  EXPECT_TRUE(refused(with(single,
                           [](TaskSpec &t) {
                             t.noiseTokens = {};
                             t.background = TaskSpec::Background::Noise;
                           }),
                      "noise_tokens"));
  EXPECT_TRUE(refused(TaskGenerator::create(single, "", nullptr, kVocabulary).status(), "no text"));
  EXPECT_TRUE(refused(make(tokenTask("mqar", 14))->sample(0, 0, 64).status(), "no room"));
}

} // namespace
} // namespace morph
