// SPDX-License-Identifier: Apache-2.0
#include "runtime/data/Questions.h"

#include "runtime/data/Batch.h"
#include "test/data/DataTesting.h"

#include <map>
#include <set>

namespace morph {
namespace {

constexpr int64_t kVocabulary = 1000;

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
  auto made = TaskGenerator::create(questionTask(), folder.path(), nullptr, kVocabulary);
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
  auto open = [&] { return TaskGenerator::create(questionTask(), folder.path(), nullptr, kVocabulary).status(); };
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

} // namespace
} // namespace morph
