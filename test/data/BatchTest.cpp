// SPDX-License-Identifier: Apache-2.0
#include "runtime/data/Batch.h"
#include "runtime/spec/TaskRules.h"
#include "test/data/DataTesting.h"

namespace morph {
namespace {

TaskSpec recallTask(const std::string &name, int64_t needles) {
  TaskSpec task = makeTask(name, TaskSpec::Kind::Mqar, needles);
  task.length = {48, 64};
  task.keyTokens = {128, 192};
  task.valueTokens = {192, 256};
  return task;
}

std::shared_ptr<const TextStore> asciiText() { return countingText({5000}, 0.1, 128); }

std::vector<std::shared_ptr<const TaskGenerator>> tasks(const std::vector<int64_t> &needles) {
  std::vector<TaskSpec> specs;
  std::vector<std::string> names;
  for (int64_t count : needles) {
    names.push_back("recall" + std::to_string(count));
    specs.push_back(recallTask(names.back(), count));
  }
  auto made = createTasks(specs, names, "", asciiText(), 256);
  EXPECT_TRUE(made.ok()) << made.status().message();
  return *made;
}

std::vector<int64_t> values(const at::Tensor &tensor) {
  at::Tensor flat = tensor.contiguous();
  return {flat.data_ptr<int64_t>(), flat.data_ptr<int64_t>() + flat.numel()};
}

TEST(Batch, RowsPredictTheTokensBehindThem) {
  auto task = tasks({3})[0];
  std::vector<Sample> samples;
  for (uint64_t index = 0; index < 4; ++index)
    samples.push_back(*task->sample(1, index, 48));
  auto batch = makeBatch(samples);
  ASSERT_TRUE(batch.ok());
  EXPECT_EQ(batch->tokens.sizes(), (std::vector<int64_t>{4, 48}));
  EXPECT_EQ(batch->tokenCount(), 192);
  std::vector<int64_t> tokens = values(batch->tokens), positions = values(batch->positions),
                       targets = values(batch->targets);
  ASSERT_EQ(positions.size(), 4u * 3 * 2);
  for (size_t i = 0; i < positions.size(); ++i)
    EXPECT_EQ(tokens[positions[i] + 1], targets[i]);
  EXPECT_TRUE(std::is_sorted(positions.begin(), positions.end()));
  EXPECT_NEAR(batch->weights.sum().item<float>(), 1, 1e-6);
  EXPECT_EQ(batch->answerOffsets, (std::vector<int64_t>{0, 3, 6, 9, 12}));
}

TEST(Batch, ExactMatchNeedsEveryTokenOfAnAnswer) {
  auto task = tasks({2})[0];
  auto batch = makeBatch({*task->sample(1, 0, 48), *task->sample(1, 1, 48)});
  ASSERT_TRUE(batch.ok());
  at::Tensor correct = at::ones({8});
  correct[3] = 0; // the second token of the second answer
  EXPECT_EQ(exactMatches(*batch, correct), (std::vector<double>{1, 0, 1, 1}));
}

TEST(Batch, SamplesWeighTheSame) {
  auto text = asciiText();
  auto task = tasks({2})[0];
  auto batch = makeBatch({textSample(*text, 0, 0, 48, 16), *task->sample(1, 0, 48)});
  ASSERT_TRUE(batch.ok());
  ASSERT_EQ(batch->positions.numel(), 16 + 4);
  std::vector<int64_t> positions = values(batch->positions);
  EXPECT_EQ(positions[0], 48 - 1 - 16);
  EXPECT_EQ(positions[15], 46);
  EXPECT_NEAR(batch->weights.slice(0, 0, 16).sum().item<float>(), 0.5, 1e-6);
  EXPECT_NEAR(batch->weights.slice(0, 16).sum().item<float>(), 0.5, 1e-6);
  EXPECT_EQ(batch->answerIndex[0], -1);
  EXPECT_EQ(batch->answerIndex[16], 0);
}

TEST(Batch, NoDocumentPredictsTheNextOnesFirstToken) {
  auto text = countingText({10, 6, 20}, 0.0);
  auto batch = makeBatch({textSample(*text, 0, 0, 30, 0, Split::Training, /*isPacked=*/true),
                          textSample(*text, 0, 1, 30, 16, Split::Training, /*isPacked=*/true)});
  ASSERT_TRUE(batch.ok());
  const std::vector<int64_t> begins = values(batch->begins.flatten()), positions = values(batch->positions);
  EXPECT_EQ(positions.size(), 29u + 16) << "as many rows, whatever the documents";
  std::map<int64_t, std::set<float>> weights; // By sequence.
  int64_t crossing = 0;
  for (size_t i = 0; i < positions.size(); ++i) {
    const int64_t b = positions[i] / 30, next = positions[i] % 30 + 1;
    const float weight = batch->weights[static_cast<int64_t>(i)].item<float>();
    if (begins[b * 30 + next] != next) {
      weights[b].insert(weight);
      continue;
    }
    EXPECT_EQ(weight, 0);
    ++crossing;
  }
  EXPECT_GE(crossing, 2);
  EXPECT_EQ(weights[0].size(), 1u);
  EXPECT_EQ(weights[1].size(), 1u);
  EXPECT_NEAR(batch->weights.slice(0, 0, 29).sum().item<float>(), 0.5, 1e-6);
  auto single = makeBatch({textSample(*countingText({1, 1, 1}, 0.0), 0, 0, 3, 0, Split::Training, true)});
  EXPECT_NE(single.status().message().find("has a second token"), std::string::npos);
}

TEST(Batch, TextRowsOfTasksWeighTextWeightTogether) {
  auto task = tasks({3})[0];
  auto batch = makeBatch({*task->sample(1, 0, 48), *task->sample(1, 1, 48)}, {0.3});
  ASSERT_TRUE(batch.ok());
  double text = 0, answers = 0;
  std::vector<int64_t> tokens = values(batch->tokens), positions = values(batch->positions),
                       targets = values(batch->targets);
  for (size_t i = 0; i < positions.size(); ++i) {
    EXPECT_EQ(tokens[positions[i] + 1], targets[i]);
    EXPECT_EQ(targets[i] < 128, batch->answerIndex[i] < 0);
    (targets[i] < 128 ? text : answers) += batch->weights[static_cast<int64_t>(i)].item<float>();
  }
  EXPECT_NEAR(text / answers, 0.3, 1e-5);
  EXPECT_NEAR(text + answers, 1, 1e-5);
}

TEST(Batch, RefusesSamplesOfDifferentLengths) {
  auto task = tasks({2})[0];
  EXPECT_FALSE(makeBatch({*task->sample(1, 0, 48), *task->sample(1, 0, 49)}).ok());
  EXPECT_FALSE(makeBatch({}).ok());
}

TEST(BatchStream, PacksTextAndKeepsLongDocumentsWhole) {
  BatchStreamOptions options;
  options.stream = "finetune";
  options.length = 20;
  options.isPacked = true;
  const auto documentsOf = [&](bool longDocuments) {
    options.longDocuments = longDocuments;
    auto stream = BatchStream::create(options, {}, countingText({10, 6, 30, 7}, 0.0));
    EXPECT_TRUE(stream.ok()) << stream.status().message();
    std::set<int64_t> begins;
    for (uint64_t i = 0; i < 20; ++i)
      for (int64_t begin : values((*stream)->batch(i)->begins.flatten()))
        begins.insert(begin);
    return begins.size();
  };
  EXPECT_GT(documentsOf(false), 5u);
  EXPECT_EQ(documentsOf(true), 1u);
}

TEST(BatchStream, MixesByTheFractionAndStartsAnywhere) {
  BatchStreamOptions options;
  options.stream = "align";
  options.batch = 3;
  options.length = 64;
  options.taskFraction = 0.4;
  options.textPositions = 8;
  auto stream = BatchStream::create(options, tasks({2, 3}), asciiText());
  ASSERT_TRUE(stream.ok()) << stream.status().message();
  int64_t taskSamples = 0;
  std::set<size_t> rows;
  for (uint64_t index = 0; index < 20; ++index) {
    auto batch = (*stream)->batch(index);
    ASSERT_TRUE(batch.ok());
    for (const Sample &sample : batch->samples) {
      taskSamples += sample.isTask;
      rows.insert(sample.positions.size());
    }
  }
  EXPECT_EQ(taskSamples, 24);
  EXPECT_EQ(rows, (std::set<size_t>{4, 6, 8})) << "two tasks and text";

  auto again = BatchStream::create(options, tasks({2, 3}), asciiText());
  EXPECT_TRUE(at::equal((*again)->batch(13)->tokens, (*stream)->batch(13)->tokens));
  options.stream = "distill";
  auto other = BatchStream::create(options, tasks({2, 3}), asciiText());
  EXPECT_FALSE(at::equal((*other)->batch(13)->tokens, (*stream)->batch(13)->tokens));
}

TEST(BatchStream, TasksComeInTurn) {
  BatchStreamOptions options;
  options.stream = "align";
  options.batch = 3;
  options.length = 64;
  options.taskFraction = 0.5;
  const auto stream = BatchStream::create(options, tasks({2, 3, 4}), asciiText());
  ASSERT_TRUE(stream.ok()) << stream.status().message();
  std::vector<int> answers;
  for (uint64_t index = 0; index < 4; ++index) {
    const auto batch = (*stream)->batch(index);
    ASSERT_TRUE(batch.ok());
    for (const Sample &sample : batch->samples)
      if (sample.isTask)
        answers.push_back(sample.answers());
  }
  EXPECT_EQ(answers, (std::vector<int>{2, 3, 4, 2, 3, 4}));
  EXPECT_EQ((*stream)->differentSamples(1000), 1000);
}

TEST(BatchStream, TakesLengthsFromTheTask) {
  BatchStreamOptions options;
  options.stream = "select";
  auto stream = BatchStream::create(options, tasks({2}), nullptr);
  ASSERT_TRUE(stream.ok());
  std::set<int64_t> lengths;
  for (uint64_t index = 0; index < 30; ++index)
    lengths.insert((*stream)->batch(index)->tokens.size(1));
  EXPECT_EQ(lengths, (std::set<int64_t>{48, 64}));
}

TEST(BatchStream, LengthsAreTheFirstTasksAsSpecsAreReadToSay) {
  std::vector<TaskSpec> specs = {recallTask("a", 2), recallTask("b", 2)};
  specs[0].length = {80, 96};
  const std::vector<std::string> names = {"b", "a"};
  auto made = createTasks(specs, names, "", asciiText(), 256);
  ASSERT_TRUE(made.ok()) << made.status().message();
  BatchStreamOptions options;
  options.stream = "select";
  auto stream = BatchStream::create(options, *made, nullptr);
  ASSERT_TRUE(stream.ok()) << stream.status().message();
  std::set<int64_t> lengths;
  for (uint64_t index = 0; index < 30; ++index)
    lengths.insert((*stream)->batch(index)->tokens.size(1));
  const std::vector<int64_t> said = mixedLengths(specs, names);
  EXPECT_EQ(lengths, std::set<int64_t>(said.begin(), said.end()));
  EXPECT_EQ(said, (std::vector<int64_t>{48, 64}));
  EXPECT_TRUE(mixedLengths(specs, {}).empty());
  EXPECT_TRUE(mixedLengths(specs, {"c", "a"}).empty());
}

TEST(BatchStream, GoesThroughItsLengthsInEqualParts) {
  BatchStreamOptions options;
  options.stream = "distill";
  options.length = 64;
  options.lengths = {48, 56, 64};
  options.batches = 7;
  options.taskFraction = 0.5;
  auto stream = BatchStream::create(options, tasks({2}), asciiText());
  ASSERT_TRUE(stream.ok()) << stream.status().message();
  std::vector<int64_t> lengths;
  for (uint64_t index = 0; index < 9; ++index)
    lengths.push_back((*stream)->batch(index)->tokens.size(1));
  EXPECT_EQ(lengths, (std::vector<int64_t>{48, 48, 48, 56, 56, 64, 64, 64, 64}));
  // The shortest must have room for the tasks.
  options.lengths = {8, 64};
  EXPECT_FALSE(BatchStream::create(options, tasks({2}), asciiText()).ok());
}

TEST(BatchStream, ReadsThePartOfItsSplit) {
  TaskSpec task = recallTask("a", 2);
  task.keyTokens = {1000, 1064};
  task.valueTokens = {1064, 1128};
  auto text = countingText({900}, 2.0 / 3); // 300 tokens for each
  auto made = createTasks({task}, {"a"}, "", text, 1128);
  ASSERT_TRUE(made.ok()) << made.status().message();
  BatchStreamOptions options;
  options.stream = "held-out";
  options.batch = 4;
  options.length = 48;
  options.taskFraction = 0.5;
  for (Split split : kSplits) {
    options.sample.split = split;
    auto stream = BatchStream::create(options, *made, text);
    ASSERT_TRUE(stream.ok()) << stream.status().message();
    for (uint64_t index = 0; index < 5; ++index) {
      const Batch batch = *(*stream)->batch(index);
      for (const Sample &sample : batch.samples) {
        for (int64_t token : sample.tokens)
          EXPECT_TRUE(token >= 1000 || token / 300 == static_cast<int64_t>(split)) << token;
        for (size_t i = 0; sample.isTask && i < sample.targets.size(); i += 2)
          EXPECT_EQ(splitOf(Piece{sample.targets[i], sample.targets[i + 1]}), split);
      }
    }
  }
}

TEST(BatchStream, WhatWouldFailLaterIsRefused) {
  auto create = [](auto change, std::vector<std::shared_ptr<const TaskGenerator>> made, bool withText) {
    BatchStreamOptions options;
    options.stream = "align";
    options.length = 64;
    change(options);
    return BatchStream::create(options, std::move(made), withText ? asciiText() : nullptr).status();
  };
  auto nothing = [](BatchStreamOptions &) {};
  EXPECT_TRUE(refused(create(nothing, {}, false), "no text"));
  EXPECT_TRUE(refused(create([](auto &o) { o.length = 0; }, {}, true), "'length' is missing"));
  EXPECT_TRUE(refused(create([](auto &o) { o.length = 16; }, tasks({8}), true), "no room"));
  EXPECT_TRUE(refused(create([](auto &o) { o.batch = 0; }, {}, true), "batch"));
  EXPECT_TRUE(refused(create([](auto &o) { o.taskFraction = 1.5; }, tasks({2}), true), "task_fraction"));
  EXPECT_TRUE(
      refused(create([](auto &o) { o.longDocuments = true, o.length = 6000; }, {}, true), "no document has 6000"));
  const Status missing = createTasks({recallTask("a", 1), recallTask("b", 1)}, {"x"}, "", nullptr, 256).status();
  EXPECT_TRUE(refused(missing, "named 'x'"));
  EXPECT_EQ(missing.hint(), "the tasks are: a, b");
}

} // namespace
} // namespace morph
