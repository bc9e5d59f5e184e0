// SPDX-License-Identifier: Apache-2.0
// Every kind of task, in both spaces, against what each sample promises.

#include "runtime/data/Retrieval.h"
#include "test/data/DataTesting.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
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

/// The key, of at most `most` tokens, that is given before answer `id`.
Piece leadOf(const Sample &sample, int id, int64_t most = 1) {
  size_t row = std::find(sample.answerId.begin(), sample.answerId.end(), id) - sample.answerId.begin();
  auto isKey = [](int64_t token) { return token >= kKeys && token < kValues; };
  int64_t end = sample.positions[row] + 1;
  while (!isKey(sample.tokens[end - 1]))
    --end;
  int64_t begin = end;
  while (isKey(sample.tokens[begin - 1]) && end - begin < most)
    --begin;
  return Piece(sample.tokens.begin() + begin, sample.tokens.begin() + end);
}

/// What holds for every sample of every task: length, rows, and each answer in the context at its depth, where the
/// context has the answer, and else its key, of at most `keyTokens` tokens.
void checkSample(const Sample &sample, int64_t length, int64_t keyTokens = 0) {
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
    if (keyTokens > 0)
      answer = leadOf(sample, id, keyTokens);
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
  bool words = true;
  /// What checkSample is asked for: the context of counting has its keys, not its answers.
  int64_t keyTokens(int64_t tokens) const { return std::string(kind) == "counting" ? tokens : 0; }
};

class EveryTask : public ::testing::TestWithParam<Case> {};

TEST_P(EveryTask, TokenSpaceSamplesHoldTheirPromises) {
  Case c = GetParam();
  auto generator = make(tokenTask(c.kind, c.needles, c.queries));
  ASSERT_TRUE(generator);
  for (int64_t length : {96, 97, 192, 300})
    for (uint64_t index = 0; index < 20; ++index) {
      Sample sample = sampleOf(*generator, index, length);
      checkSample(sample, length, c.keyTokens(1));
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
  if (std::string(c.kind) == "counting")
    for (json &wordings : lexicon["wordings"])
      wordings[0]["needle"].erase(3); // A mark has no value.
  if (std::string(c.kind) == "variable_tracking")
    for (json &wordings : lexicon["wordings"])
      wordings[0]["lead"] = json::array({{{"slot", "value"}}});
  folder.write("lexicon-t.json", lexicon.dump());
  TaskSpec task = tokenTask(c.kind, c.needles, c.queries);
  task.space = TaskSpec::Space::Words;
  task.length = {160};
  if (!c.words) {
    EXPECT_TRUE(refused(TaskGenerator::create(task, folder.path(), countingText({500}, 0, 1000), kVocabulary).status(),
                        "needs space \"tokens\""));
    return;
  }
  auto generator = make(task, folder.path());
  ASSERT_TRUE(generator);
  for (int64_t length : {160, 255})
    for (uint64_t index = 0; index < 20; ++index) {
      Sample sample = sampleOf(*generator, index, length);
      checkSample(sample, length, c.keyTokens(2));
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
    checkSample(sample, 192, c.keyTokens(1));
    for (double given : sample.answerDepth)
      EXPECT_NEAR(given, depth, 0.01);
    EXPECT_NEAR(sample.depth, depth, 0.01);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, EveryTask,
                         ::testing::Values(Case{"passkeys", 5, 1, 5}, Case{"niah_single", 1, 1, 1},
                                           Case{"niah_multi_key", 4, 1, 1}, Case{"niah_multi_value", 3, 1, 3},
                                           Case{"niah_multi_query", 6, 2, 2}, Case{"variable_tracking", 3, 1, 3},
                                           Case{"mqar", 6, 1, 6}, Case{"two_hop", 3, 2, 2}, Case{"counting", 20, 3, 3},
                                           Case{"near_keys", 6, 1, 6, /*words=*/false},
                                           Case{"induction", 3, 2, 2, /*words=*/false}),
                         [](const auto &info) { return std::string(info.param.kind); });

TEST(Tasks, EveryKindIsTested) {
  EXPECT_EQ(taskKindNames(), (std::vector<std::string>{"counting", "induction", "mqar", "near_keys", "niah_multi_key",
                                                       "niah_multi_query", "niah_multi_value", "niah_single",
                                                       "passkeys", "two_hop", "variable_tracking"}));
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

/// The tokens before the question.
Piece contextOf(const Sample &sample, int64_t leadTokens) {
  return Piece(sample.tokens.begin(), sample.tokens.begin() + sample.positions.front() + 1 - leadTokens);
}
bool isKey(int64_t token) { return token >= kKeys && token < kValues; }

// The tests below read the context as a person would, from its first token to its last, and answer from that.

TEST(Tasks, TwoHopAnswersFollowTheChain) {
  for (int64_t hops : {2, 3})
    for (int64_t length : {5 * (3 + 2 * (hops - 1)) + 15, int64_t(300)}) { // The shorter leaves no background.
      TaskSpec task = tokenTask("two_hop", 5, 5);
      task.hops = hops;
      task.length = {length};
      auto generator = make(task);
      ASSERT_TRUE(generator);
      int forwards = 0, backwards = 0;
      for (uint64_t index = 0; index < 50; ++index) {
        const Sample sample = sampleOf(*generator, index, length);
        const Piece context = contextOf(sample, 1);
        std::map<int64_t, int64_t> next, place;
        std::map<int64_t, Piece> value;
        for (size_t i = 0; i < context.size(); ++i)
          if (isKey(context[i])) {
            EXPECT_TRUE(place.emplace(context[i], i).second) << "two needles with one key";
            if (isKey(context[i + 1])) {
              next[context[i]] = context[i + 1];
              i += 1;
            } else {
              value[context[i]] = {context[i + 1], context[i + 2]};
              i += 2;
            }
          }
        EXPECT_EQ(next.size(), 5u * (hops - 1));
        EXPECT_EQ(value.size(), 5u);
        for (int id = 0; id < sample.answers(); ++id) {
          int64_t key = leadOf(sample, id).at(0);
          for (int64_t hop = 1; hop < hops; ++hop) {
            ASSERT_TRUE(next.count(key));
            (place[key] < place[next[key]] ? forwards : backwards) += 1;
            key = next[key];
          }
          ASSERT_TRUE(value.count(key));
          EXPECT_EQ(answerOf(sample, id), value[key]);
        }
      }
      // Of 250 links and more about half lead back, with background and without.
      EXPECT_GT(forwards, 75);
      EXPECT_GT(backwards, 75);
    }
}

TEST(Tasks, CountingCountsMarks) {
  auto generator = make(tokenTask("counting", 20, 3));
  ASSERT_TRUE(generator);
  EXPECT_TRUE(generator->sharing().values);
  for (uint64_t index = 0; index < 50; ++index) {
    const Sample sample = sampleOf(*generator, index, 96);
    const Piece context = contextOf(sample, 1);
    std::set<int64_t> keys;
    for (int64_t token : context)
      if (isKey(token))
        keys.insert(token);
    EXPECT_EQ(std::count_if(context.begin(), context.end(), isKey), 20);
    EXPECT_LE(keys.size(), 4u) << "three that are asked and another";
    std::set<int64_t> asked;
    for (int id = 0; id < 3; ++id) {
      const int64_t key = leadOf(sample, id).at(0);
      EXPECT_TRUE(asked.insert(key).second);
      EXPECT_EQ(answerOf(sample, id), Piece{kValues - 1 + std::count(context.begin(), context.end(), key)});
    }
  }
  // Of one asked key each number is as likely as another: 100 of 600 each, give or take four standard deviations.
  auto one = make(tokenTask("counting", 6, 1));
  ASSERT_TRUE(one);
  std::map<int64_t, int> seen;
  for (uint64_t index = 0; index < 600; ++index)
    ++seen[sampleOf(*one, index, 96).targets.at(0)];
  EXPECT_EQ(seen.size(), 6u);
  for (const auto &[number, times] : seen)
    EXPECT_NEAR(times, 100, 37) << number - kValues + 1;
}

TEST(Tasks, NearKeysDifferInOnePlaceOfTheSample) {
  TaskSpec task = tokenTask("near_keys", 6);
  task.keyLength = 3;
  auto generator = make(task);
  ASSERT_TRUE(generator);
  EXPECT_FALSE(generator->sharing().keys);
  for (Split split : kSplits) {
    std::set<size_t> places;
    for (uint64_t index = 0; index < 30; ++index) {
      const Sample sample = sampleOf(*generator, index, 96, {std::nullopt, split});
      const Piece context = contextOf(sample, 3);
      std::map<Piece, Piece> values;
      for (size_t i = 0; i < context.size(); ++i)
        if (isKey(context[i])) {
          const Piece key(context.begin() + i, context.begin() + i + 3);
          EXPECT_EQ(splitOf(key), split);
          EXPECT_TRUE(values.emplace(key, Piece(context.begin() + i + 3, context.begin() + i + 5)).second);
          i += 4;
        }
      ASSERT_EQ(values.size(), 6u);
      std::set<size_t> differing;
      for (const auto &[one, _] : values)
        for (const auto &[other, _] : values)
          for (size_t i = 0; i < 3; ++i)
            if (one[i] != other[i])
              differing.insert(i);
      ASSERT_EQ(differing.size(), 1u);
      places.insert(*differing.begin());
      for (int id = 0; id < 6; ++id) {
        ASSERT_TRUE(values.count(leadOf(sample, id, 3)));
        EXPECT_EQ(answerOf(sample, id), values[leadOf(sample, id, 3)]);
      }
    }
    EXPECT_EQ(places.size(), 3u);
  }
  // Of 64 tokens a quarter is left in a place: 30 keys are more.
  task.needles = 30;
  task.length = {512};
  auto shared = make(task);
  ASSERT_TRUE(shared);
  EXPECT_TRUE(shared->sharing().keys);
  checkSample(sampleOf(*shared, 0, 512), 512);
}

TEST(Tasks, InductionAsksForTheRestOfASequenceThatIsThereOnce) {
  // Eight different values are the fewest that two sequences can have: beginnings often meet by chance, and must not.
  for (int64_t values : {8, 64})
    for (int64_t length : {24, 96}) {
      TaskSpec task = tokenTask("induction", values == 8 ? 2 : 3, 2);
      task.valueLength = values == 8 ? 6 : 2;
      task.keyTokens = {};
      task.valueTokens = {kValues, kValues + values};
      task.length = {length < 32 && values == 8 ? 32 : length};
      task.background = TaskSpec::Background::Noise;
      auto generator = make(task);
      ASSERT_TRUE(generator);
      for (uint64_t index = 0; index < 200; ++index) {
        const Sample sample = sampleOf(*generator, index, task.length[0]);
        for (int id = 0; id < sample.answers(); ++id) {
          const Piece answer = answerOf(sample, id);
          const size_t row = std::find(sample.answerId.begin(), sample.answerId.end(), id) - sample.answerId.begin();
          const auto begin = sample.tokens.begin(), asked = begin + sample.positions[row] - 1;
          const Piece question(asked, asked + 2);
          std::vector<std::ptrdiff_t> places;
          for (auto at = begin; (at = std::search(at, asked, question.begin(), question.end())) != asked; ++at)
            places.push_back(at - begin);
          ASSERT_EQ(places.size(), 1u) << index;
          EXPECT_EQ(Piece(begin + places[0] + 2, begin + places[0] + 2 + answer.size()), answer);
        }
      }
    }
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
  EXPECT_TRUE(refused(with(tokenTask("two_hop", 3), [](TaskSpec &t) { t.hops = 1; }), "two needles or more"));
  EXPECT_TRUE(refused(with(tokenTask("two_hop", 3), [](TaskSpec &t) { t.queries = 4; }), "more than its 3 needles"));
  EXPECT_TRUE(refused(with(tokenTask("counting", 3), [](TaskSpec &t) { t.queries = 4; }), "more than its 3 needles"));
  EXPECT_TRUE(refused(with(tokenTask("counting", 65), [](TaskSpec &t) { t.length = {4096}; }), "there are 64 values"));
  EXPECT_TRUE(refused(with(tokenTask("near_keys", 3), [](TaskSpec &t) { t.keyLength = 1; }), "'key_length' of 2"));
  EXPECT_TRUE(refused(with(tokenTask("induction", 3), [](TaskSpec &t) { t.keyLength = 0; }), "1..65536"));
  EXPECT_TRUE(refused(with(tokenTask("induction", 3), [](TaskSpec &t) { t.queries = 4; }), "more than its 3 needles"));
  // 12 beginnings of one token each could be met at 432 places.
  EXPECT_TRUE(
      refused(with(tokenTask("induction", 12), [](TaskSpec &t) { t.keyLength = 1; }), "told apart by no 1 tokens"));
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
