// SPDX-License-Identifier: Apache-2.0
// Every kind of task, in both spaces, against what each sample promises.

#include "runtime/data/Retrieval.h"
#include "runtime/spec/TaskRules.h"
#include "test/data/DataTesting.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
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
  task.repeats = {12, 6};
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
        EXPECT_GT(depth, generator->hasDepths() ? 0.02 : -1);
        EXPECT_LT(depth, generator->hasDepths() ? 0.98 : 1e-9);
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
  if (std::string(c.kind) == "common_words") {
    lexicon["alphabets"][0].clear(); // The numbers.
    for (int64_t i = 0; i < 64; ++i)
      lexicon["alphabets"][0].push_back({kValues + i});
  }
  folder.write("lexicon-t.json", lexicon.dump());
  TaskSpec task = tokenTask(c.kind, c.needles, c.queries);
  task.space = TaskSpec::Space::Words;
  task.length = {160};
  task.repeats = {4, 2};
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
  EXPECT_EQ(generator->hasDepths(), hasDepths(*fromWord<TaskSpec::Kind>(c.kind)));
  for (double depth : {0.0, 0.25, 1.0}) {
    Sample sample = sampleOf(*generator, 3, 192, {depth, Split::Training});
    checkSample(sample, 192, c.keyTokens(1));
    if (!generator->hasDepths()) // What is asked for is all over the context.
      depth = 0;
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
                                           Case{"induction", 3, 2, 2, /*words=*/false}, Case{"common_words", 3, 1, 3},
                                           Case{"frequent_words", 3, 1, 3}),
                         [](const auto &info) { return std::string(info.param.kind); });

TEST(Tasks, EveryKindIsTested) {
  EXPECT_EQ(taskKindNames(),
            (std::vector<std::string>{"common_words", "counting", "frequent_words", "induction", "mqar", "near_keys",
                                      "niah_multi_key", "niah_multi_query", "niah_multi_value", "niah_single",
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

TEST(Tasks, VariableTrackingHasOneChainWithTheValueThatIsAskedFor) {
  TaskSpec task = tokenTask("variable_tracking", 3);
  task.valueLength = 1;
  task.valueTokens = {kValues, kValues + 40}; // Some ten for each split: of three chains, often two had the same.
  const auto generator = make(task);
  for (uint64_t index = 0; index < 100; ++index) {
    const Sample sample = sampleOf(*generator, index, 120);
    std::map<int64_t, int> assigned; // By value: chains whose first key is set to it.
    const auto end = static_cast<size_t>(sample.positions.front()) + 1;
    for (size_t i = 0; i + 1 < end; ++i)
      if (sample.tokens[i] >= kKeys && sample.tokens[i] < kValues && sample.tokens[i + 1] >= kValues &&
          sample.tokens[i + 1] < kValues + 40)
        ++assigned[sample.tokens[i + 1]];
    EXPECT_EQ(assigned.size(), 3u) << index;
  }
  task.needles = 41;
  task.hops = 1;
  task.length = {4096};
  task.keyTokens = {kKeys, kValues};
  EXPECT_TRUE(refused(TaskGenerator::create(task, "/nowhere", countingText({500}, 0, 1000), kVocabulary).status(),
                      "41 chains need as many different values, and there are 40"));
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

/// The answers, each of one token, in their order.
Piece answersOf(const Sample &sample) {
  Piece answers;
  for (int id = 0; id < sample.answers(); ++id) {
    EXPECT_EQ(answerOf(sample, id).size(), 1u);
    answers.push_back(answerOf(sample, id).at(0));
  }
  return answers;
}

/// What a word of a context is there for.
struct Word {
  int64_t token = 0, count = 0;
  size_t first = 0; ///< Where it first stands.
};

/// The words of a context, the most frequent first, those as frequent in the order of their first place.
std::vector<Word> wordsOf(const Piece &context) {
  std::map<int64_t, Word> found;
  for (size_t i = 0; i < context.size(); ++i)
    ++found.emplace(context[i], Word{context[i], 0, i}).first->second.count;
  std::vector<Word> words;
  for (const auto &[token, word] : found)
    words.push_back(word);
  std::sort(words.begin(), words.end(),
            [](const Word &a, const Word &b) { return a.count != b.count ? a.count > b.count : a.first < b.first; });
  return words;
}

/// A task in token space with so many words that every split has its own, as long as RULER's.
TaskSpec longTask(const std::string &kind, int64_t needles) {
  TaskSpec task = tokenTask(kind, needles);
  task.repeats = {30, 3}; // RULER's.
  task.length = {512, 4096};
  task.keyTokens = {2000, 20000};
  return task;
}

TEST(Tasks, CommonWordsAreAskedInTheOrderOfTheirFirstPlace) {
  auto generator = TaskGenerator::create(longTask("common_words", 10), "", nullptr, 20000);
  ASSERT_TRUE(generator.ok()) << generator.status().message();
  EXPECT_FALSE((*generator)->sharing().keys || (*generator)->sharing().values);
  EXPECT_FALSE((*generator)->hasDepths());
  std::set<int64_t> early;
  for (int64_t length : {512, 513, 514, 4096})
    for (Split split : kSplits)
      for (uint64_t index = 0; index < 5; ++index) {
        const Sample sample = sampleOf(**generator, index, length, {std::nullopt, split});
        // The list is all but the question, which is one token, and the answers.
        ASSERT_EQ(static_cast<int64_t>(sample.tokens.size()), length);
        EXPECT_EQ(sample.positions.front(), length - 11);
        EXPECT_EQ(sample.tokens[static_cast<size_t>(length - 11)], 1127) << "the last value asks";
        const std::vector<Word> words = wordsOf(contextOf(sample, 1));
        ASSERT_GT(words.size(), 11u);
        const int64_t others = length - 11 - 10 * 30;
        EXPECT_EQ(static_cast<int64_t>(words.size()), 10 + (others + 2) / 3);
        Piece common;
        for (size_t i = 0; i < words.size(); ++i) {
          EXPECT_EQ(splitOf(Piece{words[i].token}), split);
          const bool isLast = i + 1 == words.size() && others % 3 != 0;
          EXPECT_EQ(words[i].count, i < 10 ? 30 : isLast ? others % 3 : 3);
          if (i < 10)
            common.push_back(words[i].token);
        }
        EXPECT_EQ(answersOf(sample), common);
        // The list has no order: common words are in its first half about as often as in its second.
        const Piece context = contextOf(sample, 1);
        const int64_t half = static_cast<int64_t>(context.size()) / 2;
        const std::set<int64_t> asked(common.begin(), common.end());
        const auto before =
            std::count_if(context.begin(), context.begin() + half, [&](int64_t token) { return asked.count(token); });
        EXPECT_NEAR(before, 150, 45);
        early.insert(before);
      }
  EXPECT_GT(early.size(), 10u);
}

TEST(Tasks, CommonWordsAreNumberedInWords) {
  TemporaryFolder folder;
  json lexicon = wordLexicon();
  lexicon["alphabets"][0].clear();
  for (int64_t i = 0; i < 64; ++i)
    lexicon["alphabets"][0].push_back({kValues + i});
  folder.write("lexicon-t.json", lexicon.dump());
  TaskSpec task = tokenTask("common_words", 3);
  task.space = TaskSpec::Space::Words;
  task.repeats = {4, 2};
  task.length = {160, 250};
  auto generator = make(task, folder.path());
  ASSERT_TRUE(generator);
  size_t most = 0;
  for (int64_t length = 160; length <= 250; ++length) {
    const Sample sample = sampleOf(*generator, 0, length);
    ASSERT_EQ(static_cast<int64_t>(sample.tokens.size()), length);
    // Items `2 word 3 number 4` one after another, what no item fits into, and the question.
    std::map<Piece, int64_t> counts;
    size_t at = 2;
    int64_t items = 0;
    while (sample.tokens[at] == kFixed + 2) {
      Piece word;
      for (++at; sample.tokens[at] != kFixed + 3; ++at)
        word.push_back(sample.tokens[at]);
      EXPECT_EQ(sample.tokens[at + 1], kValues + items) << "numbers rise by one";
      EXPECT_EQ(sample.tokens[at + 2], kFixed + 4);
      at += 3;
      ++items;
      ++counts[word];
    }
    size_t filling = 0;
    for (; sample.tokens[at] != kFixed + 6; ++at, ++filling)
      EXPECT_EQ(sample.tokens[at], 7 + static_cast<int64_t>(filling % 3));
    EXPECT_LT(filling, 6u) << "an item has 5 or 6 tokens";
    most = std::max(most, filling);
    std::set<Piece> common;
    int fewer = 0;
    for (const auto &[word, count] : counts) {
      EXPECT_TRUE(count == 4 || count <= 2) << count;
      fewer += count == 1;
      if (count == 4)
        common.insert(word);
    }
    EXPECT_LE(fewer, 1);
    EXPECT_EQ(common, (std::set<Piece>{answerOf(sample, 0), answerOf(sample, 1), answerOf(sample, 2)}));
    // One lead, list_join between answers.
    EXPECT_EQ(sample.tokens[static_cast<size_t>(sample.positions[0])], kFixed + 9);
    const size_t second = answerOf(sample, 0).size();
    EXPECT_EQ(sample.tokens[static_cast<size_t>(sample.positions[second])], kFixed + 12);
  }
  EXPECT_GT(most, 0u) << "no length leaves anything over";
}

TEST(Tasks, FrequentWordsFollowZipfsLawAndAreAskedByFallingFrequency) {
  for (double alpha : {1.5, 2.0, 3.0}) {
    TaskSpec task = longTask("frequent_words", 3);
    task.alpha = alpha;
    task.length = {1024, 4096};
    auto generator = TaskGenerator::create(task, "", nullptr, 20000);
    ASSERT_TRUE(generator.ok()) << generator.status().message();
    EXPECT_FALSE((*generator)->sharing().keys || (*generator)->sharing().values);
    // The sum of k^-alpha: terms below a million, and the integral of the others.
    double zeta = std::pow(1e6, 1 - alpha) / (alpha - 1);
    for (double k = 1; k < 1e6; ++k)
      zeta += std::pow(k, -alpha);
    for (int64_t length : {1024, 1025, 4096})
      for (Split split : kSplits) {
        const Sample sample = sampleOf(**generator, 3, length, {std::nullopt, split});
        ASSERT_EQ(static_cast<int64_t>(sample.tokens.size()), length);
        EXPECT_EQ(sample.positions.front(), length - 4);
        EXPECT_EQ(sample.tokens[static_cast<size_t>(length - 4)], 1127) << "the last value asks";
        const Piece context = contextOf(sample, 1);
        const std::vector<Word> words = wordsOf(context);
        EXPECT_EQ(words[0].token, kValues) << "the first value is the noise";
        Piece next;
        for (size_t rank = 1; rank <= 3; ++rank) {
          EXPECT_GT(words[rank].count, words[rank + 1].count);
          next.push_back(words[rank].token);
        }
        EXPECT_EQ(answersOf(sample), next);
        // So many words n that rank 2 occurs floor(n / zeta / 2^alpha) times; in the text are fewer, as floors are.
        const double low = static_cast<double>(words[1].count) * zeta * std::pow(2, alpha);
        const double high = static_cast<double>(words[1].count + 1) * zeta * std::pow(2, alpha);
        for (size_t rank = 0; rank < words.size(); ++rank) {
          const double share = std::pow(static_cast<double>(rank + 1), -alpha) / zeta;
          // What is left over is noise, too, less than one more word takes of each rank.
          const double over = rank == 0 ? static_cast<double>(words.size()) : 0;
          EXPECT_GE(static_cast<double>(words[rank].count), std::floor(low * share)) << rank;
          EXPECT_LE(static_cast<double>(words[rank].count), std::ceil(high * share) + over) << rank;
          if (rank > 0) {
            EXPECT_EQ(splitOf(Piece{words[rank].token}), split);
          }
        }
        EXPECT_LT(high / zeta * std::pow(static_cast<double>(words.size() + 1), -alpha), 1.5) << "no rank is left out";
        // The text has no order.
        const auto half = context.begin() + static_cast<std::ptrdiff_t>(context.size() / 2);
        EXPECT_NEAR(static_cast<double>(std::count(context.begin(), half, kValues)) / words[0].count, 0.5, 0.1);
      }
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
  const TaskSpec common = tokenTask("common_words", 3), frequent = tokenTask("frequent_words", 3);
  EXPECT_TRUE(refused(with(common, [](TaskSpec &t) { t.repeats = {6, 6}; }), "'repeats' must be two numbers"));
  EXPECT_TRUE(refused(with(common, [](TaskSpec &t) { t.repeats = {6, 0}; }), "'repeats' must be two numbers"));
  EXPECT_TRUE(refused(with(common, [](TaskSpec &t) { t.length = {45}; }), "45 tokens have no room"));
  EXPECT_TRUE(refused(with(common, [](TaskSpec &t) { t.length = {96, 4096}; }), "different keys and there are 64"));
  EXPECT_TRUE(refused(with(frequent, [](TaskSpec &t) { t.alpha = 1; }), "'alpha' must be above 1"));
  EXPECT_TRUE(refused(with(common, [](TaskSpec &t) { t.length = {41}; }), "room for its list, of 42 words at least"));
  EXPECT_TRUE(refused(with(frequent, [](TaskSpec &t) { t.length = {66}; }), "66 tokens have no room for its needles"));
  EXPECT_TRUE(refused(with(frequent, [](TaskSpec &t) { t.length = {62}; }), "room for its text, of 63 words at least"));
  EXPECT_TRUE(refused(with(frequent, [](TaskSpec &t) { t.needles = 60000; }), "a longer text than any"));
  EXPECT_TRUE(refused(with(frequent, [](TaskSpec &t) { t.valueTokens = {1064, 1065}; }), "'value_tokens' must have 2"));
  // A longer sample than the task's own lengths has more words than there are keys, and in words than there are
  // numbers.
  EXPECT_TRUE(refused(make(common)->checkLength(4096), "4096 tokens: it needs"));
  EXPECT_TRUE(refused(make(common)->sample(0, 0, 4096).status(), "4096 tokens: it needs"));
  TaskSpec numbered = common;
  numbered.space = TaskSpec::Space::Words;
  numbered.repeats = {4, 2};
  numbered.length = {300};
  EXPECT_TRUE(refused(TaskGenerator::create(numbered, folder.path(), nullptr, kVocabulary).status(),
                      "numbers for lists of 32 words, and 300 tokens hold longer ones"));
  numbered.repeats = {30, 2};
  EXPECT_TRUE(refused(TaskGenerator::create(numbered, folder.path(), nullptr, kVocabulary).status(),
                      "its list has 92 words at least, and there are numbers for 32"));
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
