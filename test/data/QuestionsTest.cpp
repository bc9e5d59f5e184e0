// SPDX-License-Identifier: Apache-2.0
#include "runtime/data/Questions.h"

#include "runtime/data/Batch.h"
#include "runtime/spec/TaskRules.h"
#include "test/data/DataTesting.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <set>

namespace morph {
namespace {

constexpr int64_t kQuestionVocabulary = 1000;

/// Question i is 2 + i % 5 tokens, the first of which is i, its answer 1 + i % 2 tokens of 900 and more.
void writeQuestions(const TemporaryFolder &folder, int64_t count) {
  std::vector<uint16_t> tokens;
  std::vector<uint64_t> offsets;
  for (int64_t i = 0; i < count; ++i) {
    offsets.push_back(tokens.size());
    tokens.push_back(static_cast<uint16_t>(i));
    for (int64_t j = 0; j < 1 + i % 5; ++j)
      tokens.push_back(800);
    offsets.push_back(tokens.size());
    for (int64_t j = 0; j < 1 + i % 2; ++j)
      tokens.push_back(static_cast<uint16_t>(900 + i % 7));
  }
  folder.writeU16("task-mine.tokens", tokens);
  folder.writeOffsets("task-mine.documents", offsets);
  folder.write("task-mine.json", R"({"dtype": "u16", "count": )" + std::to_string(tokens.size()) +
                                     R"(, "documents": )" + std::to_string(2 * count) + "}");
}

TaskSpec questionTask() {
  TaskSpec task = makeTask("mine", TaskSpec::Kind::Jsonl, 1);
  task.space = TaskSpec::Space::Words;
  task.length = {32};
  return task;
}

std::unique_ptr<TaskGenerator> makeQuestions(const TemporaryFolder &folder) {
  auto made = TaskGenerator::create(questionTask(), folder.path(), nullptr, kQuestionVocabulary);
  EXPECT_TRUE(made.ok()) << made.status().message();
  return made.ok() ? *std::move(made) : nullptr;
}

TEST(Questions, SplitsAreDisjointStableAndWhole) {
  TemporaryFolder folder;
  writeQuestions(folder, 200);
  const auto task = makeQuestions(folder);
  ASSERT_TRUE(task);
  std::map<int64_t, Split> seen;
  for (Split split : kSplits) {
    const int64_t count = *task->sampleCount(32, split);
    std::set<int64_t> drawn;
    for (int64_t index = 0; index < count; ++index) {
      const auto sample = task->sample(7, static_cast<uint64_t>(index), 32, {std::nullopt, split});
      ASSERT_TRUE(sample.ok()) << sample.status().message();
      drawn.insert(sample->tokens[0]);
      const auto [place, isNew] = seen.emplace(sample->tokens[0], split);
      EXPECT_EQ(place->second, split);
      // It depends on the question alone: what the hash says.
      std::vector<int64_t> asked(sample->tokens.begin(), sample->tokens.begin() + sample->positions[0] + 1);
      EXPECT_EQ(splitOf(asked), split);
    }
    EXPECT_EQ(static_cast<int64_t>(drawn.size()), count) << "one comes again before all have come";
  }
  EXPECT_EQ(seen.size(), 200u);
  EXPECT_NEAR(static_cast<double>(*task->sampleCount(32, Split::Training)), 100, 25);
}

TEST(Questions, SamplesHaveTheLengthAndTheRowsOfTheAnswer) {
  TemporaryFolder folder;
  writeQuestions(folder, 120);
  const auto task = makeQuestions(folder);
  ASSERT_TRUE(task);
  std::vector<Sample> samples;
  for (uint64_t index = 0; index < 40; ++index) {
    auto sample = task->sample(3, index, 32);
    ASSERT_TRUE(sample.ok());
    ASSERT_EQ(sample->tokens.size(), 32u);
    const int64_t i = sample->tokens[0];
    ASSERT_EQ(static_cast<int64_t>(sample->positions.size()), 1 + i % 2);
    EXPECT_EQ(sample->positions[0], 1 + i % 5);
    for (size_t row = 0; row < sample->positions.size(); ++row) {
      EXPECT_EQ(sample->targets[row], 900 + i % 7);
      EXPECT_EQ(sample->tokens[static_cast<size_t>(sample->positions[row] + 1)], sample->targets[row]);
    }
    // Behind the answer another question of the split begins.
    const int64_t behind = sample->tokens[static_cast<size_t>(sample->positions.back() + 2)];
    EXPECT_LT(behind, 120);
    EXPECT_EQ(sample->tokens, task->sample(3, index, 32)->tokens);
    samples.push_back(*std::move(sample));
  }
  const auto batch = makeBatch(std::move(samples));
  ASSERT_TRUE(batch.ok());
  EXPECT_EQ(batch->answerOffsets.back(), 40);
}

TEST(Questions, AStreamGoesThroughAllBeforeOneComesAgain) {
  TemporaryFolder folder;
  writeQuestions(folder, 200);
  TaskSpec other = makeTask("mqar", TaskSpec::Kind::Mqar, 2);
  other.length = {32};
  other.background = TaskSpec::Background::Noise;
  other.noiseTokens = {300, 400};
  other.keyTokens = {128, 192};
  other.valueTokens = {192, 256};
  const auto tasks = createTasks({questionTask(), other}, {"mine", "mqar"}, folder.path(), nullptr, 1000);
  ASSERT_TRUE(tasks.ok()) << tasks.status().message();
  BatchStreamOptions options;
  options.stream = "distill";
  options.length = 32;
  options.batch = 4;
  options.taskFraction = 0.5;
  options.sample.split = Split::Selection;
  const auto stream = BatchStream::create(options, *tasks, countingText({500}, 0.1, 900));
  ASSERT_TRUE(stream.ok()) << stream.status().message();
  // One sample in four is a question: the second of each four, as text and the two tasks come in turn.
  const int64_t count = *(*tasks)[0]->sampleCount(32, Split::Selection);
  std::map<int64_t, int> seen;
  for (uint64_t index = 0; static_cast<int64_t>(index) < 2 * count; ++index) {
    const auto batch = (*stream)->batch(index);
    ASSERT_TRUE(batch.ok());
    int questions = 0;
    for (const Sample &sample : batch->samples)
      if (sample.question >= 0) {
        ++seen[sample.question];
        ++questions;
      }
    ASSERT_EQ(questions, 1);
    if (static_cast<int64_t>(index) == count - 1) {
      EXPECT_EQ(static_cast<int64_t>(seen.size()), count) << "one has come twice";
    }
  }
  for (const auto &[question, times] : seen)
    EXPECT_EQ(times, 2) << question;
  // So many samples are different: four for each question.
  EXPECT_NEAR(static_cast<double>((*stream)->differentSamples(1000)), 4.0 * static_cast<double>(count), 3);
  EXPECT_EQ((*stream)->differentSamples(4), 4);
}

TEST(Questions, LengthDecidesWhichFit) {
  TemporaryFolder folder;
  writeQuestions(folder, 200);
  const auto task = makeQuestions(folder);
  ASSERT_TRUE(task);
  int64_t fitting = 0;
  for (Split split : kSplits)
    fitting += *task->sampleCount(4, split);
  EXPECT_EQ(fitting, 60) << "i % 10 of 0, 1 and 2: with their answers 3 and 4 tokens";
  for (uint64_t index = 0; index < 50; ++index)
    EXPECT_LE(task->sample(3, index, 4)->positions.back() + 1, 3);
  EXPECT_TRUE(refused(task->checkLength(3), "fit into 3 tokens"));
}

TEST(Questions, RefusesTooFewAndWhatIsNoQuestionFile) {
  TemporaryFolder folder;
  auto open = [&] {
    return TaskGenerator::create(questionTask(), folder.path(), nullptr, kQuestionVocabulary).status();
  };
  EXPECT_TRUE(refused(open(), "task-mine.json"));
  writeQuestions(folder, 20);
  EXPECT_TRUE(refused(open(), "each needs 8"));
  writeQuestions(folder, 200);
  EXPECT_TRUE(open().ok());
  folder.writeOffsets("task-mine.documents", {0, 2, 3});
  EXPECT_TRUE(refused(open(), "not 400 offsets"));
  folder.write("task-mine.json", R"({"dtype": "u16", "count": 9, "documents": 3})");
  EXPECT_TRUE(refused(open(), "the last question has no answer"));
}

/// Kind qa: question i asks in tokens i and 800, and 900 + i % 7 answers it. Its paragraph is i % kParagraphs, of which
/// p is 3 + p % 4 tokens 500 + p; groups have six, one after another. Headings are one token each, 300 and on.
constexpr int64_t kParagraphs = 60;
constexpr int64_t kOfGroup = 6;

int64_t paragraphSize(int64_t paragraph) { return 3 + paragraph % 4; }

nlohmann::json writeParagraphs(const TemporaryFolder &folder, int64_t count) {
  std::vector<uint16_t> tokens;
  std::vector<uint64_t> offsets;
  const auto add = [&](int64_t times, int64_t token) {
    tokens.insert(tokens.end(), static_cast<size_t>(times), static_cast<uint16_t>(token));
  };
  nlohmann::json json = {
      {"dtype", "u16"}, {"documents", kParagraphs + 2 * count}, {"paragraphs", kParagraphs}, {"frame", {{1, 2}}}};
  for (int64_t paragraph = 0; paragraph < kParagraphs; ++paragraph) {
    offsets.push_back(tokens.size());
    add(paragraphSize(paragraph), 500 + paragraph);
    json["headings"].push_back({300 + paragraph});
    json["groups"][static_cast<size_t>(paragraph / kOfGroup)].push_back(paragraph);
  }
  for (int64_t i = 0; i < count; ++i) {
    offsets.push_back(tokens.size());
    add(1, i);
    add(1, 800);
    offsets.push_back(tokens.size());
    add(1, 900 + i % 7);
    json["questions"].push_back({i % kParagraphs / kOfGroup, i % kParagraphs});
  }
  json["count"] = tokens.size();
  folder.writeU16("task-mine.tokens", tokens);
  folder.writeOffsets("task-mine.documents", offsets);
  folder.write("task-mine.json", json.dump());
  return json;
}

TaskSpec paragraphTask(int64_t length) {
  TaskSpec task = questionTask();
  task.kind = TaskSpec::Kind::Qa;
  task.length = {length};
  return task;
}

TEST(QuestionsWithParagraphs, SamplesAreFilledWithTheirOwnParagraphTheirGroupsAndOthers) {
  TemporaryFolder folder;
  writeParagraphs(folder, 120);
  const auto made = TaskGenerator::create(paragraphTask(64), folder.path(), nullptr, kQuestionVocabulary);
  ASSERT_TRUE(made.ok()) << made.status().message();
  EXPECT_FALSE((*made)->hasDepths());
  for (TaskSpec::Kind kind : {TaskSpec::Kind::Qa, TaskSpec::Kind::Jsonl})
    EXPECT_FALSE(hasDepths(kind)) << toWord(kind);
  EXPECT_TRUE((*made)->sharing().wordings);
  std::map<int64_t, Split> splits;
  std::set<size_t> places;
  for (int64_t length : {12, 30, 64, 65, 200})
    for (Split split : kSplits) {
      const int64_t count = *(*made)->sampleCount(length, split);
      ASSERT_GT(count, 7);
      std::set<int64_t> drawn;
      for (int64_t index = 0; index < count; ++index) {
        const auto sample = (*made)->sample(5, static_cast<uint64_t>(index), length, {std::nullopt, split});
        ASSERT_TRUE(sample.ok()) << sample.status().message();
        EXPECT_EQ(sample->tokens,
                  (*made)->sample(5, static_cast<uint64_t>(index), length, {std::nullopt, split})->tokens);
        const std::vector<int64_t> &tokens = sample->tokens;
        ASSERT_EQ(static_cast<int64_t>(tokens.size()), length);
        EXPECT_EQ(tokens[0], 1);
        EXPECT_EQ(tokens[1], 2);
        // Heading by heading, each with a whole paragraph that was not there yet.
        size_t at = 2;
        std::vector<int64_t> there;
        while (tokens[at] >= 300 && tokens[at] < 500) {
          EXPECT_EQ(tokens[at], 300 + static_cast<int64_t>(there.size()));
          const int64_t paragraph = tokens[++at] - 500;
          ASSERT_TRUE(paragraph >= 0 && paragraph < kParagraphs);
          for (int64_t i = 0; i < paragraphSize(paragraph); ++i)
            EXPECT_EQ(tokens[at++], 500 + paragraph);
          EXPECT_EQ(std::count(there.begin(), there.end(), paragraph), 0);
          there.push_back(paragraph);
        }
        const int64_t asked = tokens[at];
        drawn.insert(asked);
        // A question is in the same split at every length, by its own tokens.
        EXPECT_EQ(splitOf(std::vector<int64_t>{asked, 800}), split);
        EXPECT_EQ(tokens[at + 1], 800);
        ASSERT_EQ(sample->positions, (std::vector<int64_t>{static_cast<int64_t>(at) + 1}));
        EXPECT_EQ(sample->targets, (std::vector<int64_t>{900 + asked % 7}));
        EXPECT_EQ(tokens[at + 2], sample->targets[0]);
        // Its own paragraph, at any place; others of its group before paragraphs that are not.
        const auto own = std::find(there.begin(), there.end(), asked % kParagraphs);
        ASSERT_NE(own, there.end());
        if (length == 200)
          places.insert(static_cast<size_t>(own - there.begin()));
        const int64_t group = asked % kParagraphs / kOfGroup;
        const auto ofGroup =
            std::count_if(there.begin(), there.end(), [&](int64_t p) { return p / kOfGroup == group; });
        if (length >= 64) {
          EXPECT_EQ(ofGroup, kOfGroup) << "a whole group and its headings take 33 tokens at most";
          EXPECT_GT(static_cast<int64_t>(there.size()), kOfGroup);
        }
        // Less is left over than a paragraph takes that is not there.
        EXPECT_LT(length - static_cast<int64_t>(at) - 3, 1 + 6);
      }
      EXPECT_EQ(static_cast<int64_t>(drawn.size()), count) << "one comes again before all have come";
    }
  EXPECT_GT(places.size(), 20u) << "own paragraphs are anywhere";
  // Other paragraphs are drawn for each sample.
  EXPECT_NE((*made)->sample(5, 0, 200)->tokens, (*made)->sample(6, 0, 200)->tokens);
}

TEST(QuestionsWithParagraphs, RefusesLengthsThatNothingFitsIntoOrNothingFills) {
  TemporaryFolder folder;
  writeParagraphs(folder, 120);
  auto open = [&](int64_t length) {
    return TaskGenerator::create(paragraphTask(length), folder.path(), nullptr, kQuestionVocabulary).status();
  };
  // The frame, a heading, 3 tokens or more, and 3 of the question: the shortest take 9.
  EXPECT_TRUE(refused(open(8), "fit into 8 tokens"));
  EXPECT_TRUE(open(12).ok());
  // All paragraphs: 60 * (1 + 4.5) tokens.
  EXPECT_TRUE(open(2 + 330 + 3).ok());
  EXPECT_TRUE(refused(open(2 + 330 + 4), "its 60 paragraphs have 330 tokens, too few to fill samples of 336"));
}

TEST(QuestionsWithParagraphs, RefusesWhatIsNoFileOfThem) {
  TemporaryFolder folder;
  const nlohmann::json whole = writeParagraphs(folder, 120);
  const auto with = [&](auto change) {
    nlohmann::json json = whole;
    change(json);
    folder.write("task-mine.json", json.dump());
    return TaskGenerator::create(paragraphTask(64), folder.path(), nullptr, kQuestionVocabulary).status();
  };
  using Json = nlohmann::json;
  EXPECT_TRUE(with([](Json &) {}).ok());
  EXPECT_TRUE(refused(with([](Json &json) { json.erase("paragraphs"); }), "paragraphs"));
  EXPECT_TRUE(refused(with([](Json &json) { json["paragraphs"] = 0; }), "'paragraphs' must be in 1..300"));
  EXPECT_TRUE(refused(with([](Json &json) { json["paragraphs"] = 59; }), "the last question has no answer"));
  EXPECT_TRUE(refused(with([](Json &json) { json["headings"].erase(3); }), "'headings' must be an array of 60"));
  EXPECT_TRUE(refused(with([](Json &json) { json["headings"][3] = {1000}; }), "which is no number below 1000"));
  EXPECT_TRUE(refused(with([](Json &json) { json["groups"][0][1] = 60; }), "'groups' has 60"));
  EXPECT_TRUE(refused(with([](Json &json) { json["groups"] = 3; }), "'groups' must be an array of arrays"));
  EXPECT_TRUE(
      refused(with([](Json &json) { json["questions"][5][0] = 10; }), "'questions' must be the number of a group"));
  EXPECT_TRUE(refused(with([](Json &json) { json["questions"][5][1] = -1; }), "'questions' has -1"));
  EXPECT_TRUE(refused(with([](Json &json) { json["questions"][5] = {0, 4, 4}; }), "each once"));
  EXPECT_TRUE(refused(with([](Json &json) { json["questions"].erase(0); }), "'questions' must be an array of 120"));
  EXPECT_TRUE(refused(with([](Json &json) { json["frame"] = {{-4}}; }), "'frame' has -4"));
}

} // namespace
} // namespace morph
