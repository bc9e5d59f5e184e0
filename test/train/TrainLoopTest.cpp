// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/TrainLoop.h"
#include "runtime/train/Interrupt.h"
#include "test/plan/PlanBuilder.h"
#include "test/train/TrainTesting.h"

#include <cmath>
#include <fstream>
#include <sstream>

namespace morph {

std::string fileText(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

plan::Plan regressionPlan() {
  plan::Plan plan;
  plan.model = "regression";
  plan.program = "finetune";
  const plan::Dim n = std::string("N");
  const auto type = [](std::vector<plan::Dim> shape) {
    plan::TensorType result;
    result.shape = std::move(shape);
    return result;
  };
  plan.values = {type({n, int64_t(3)}),
                 type({n, int64_t(2)}),
                 type({int64_t(2), int64_t(3)}),
                 type({n, int64_t(2)}),
                 type({}),
                 type({}),
                 type({n, int64_t(2)}),
                 type({int64_t(2), int64_t(3)})};
  plan.inputs = {{"x", 0}, {"y", 1}};
  plan::Weight weight;
  weight.name = "w";
  weight.shape = {2, 3};
  weight.trainable = true;
  plan.weights = {weight};
  plan.weightValues = {2};
  const std::map<std::string, plan::Attribute> mean = {{"normalize", std::string("mean")}};
  plan.instructions = {{"linear", {0, 2, -1}, {3}, {}},
                       {"squared_error", {3, 1}, {4}, mean},
                       {"ones", {}, {5}, {}},
                       {"squared_error_grad", {5, 3, 1}, {6}, mean},
                       {"linear_weight_grad", {6, 0}, {7}, {}}};
  plan.outputs = {{"loss", 4}, {"grad.w", 7}};
  return plan;
}

std::unique_ptr<Executor> regressionExecutor() {
  const WeightStore store = WeightStore::inMemory({{"w", at::zeros({2, 3})}});
  UpdateSettings settings;
  settings.clip = 1;
  auto executor = Executor::create(withUpdate(regressionPlan(), settings), store, Precision::F32, 0);
  EXPECT_TRUE(executor.ok()) << executor.status().message();
  return *std::move(executor);
}

StatusOr<LoopBatch> regressionBatch(int64_t index) {
  Random random(1, "regression", static_cast<uint64_t>(index));
  const at::Tensor x = at::empty({8, 3}), y = at::empty({8, 2});
  for (int64_t i = 0; i < x.numel(); ++i)
    x.data_ptr<float>()[i] = static_cast<float>(random.uniform(-1, 1));
  const at::Tensor truth = at::arange(6, at::kFloat).view({2, 3});
  y.copy_(x.matmul(truth.t()));
  for (int64_t i = 0; i < y.numel(); ++i)
    y.data_ptr<float>()[i] += static_cast<float>(random.uniform(-0.1, 0.1));
  LoopBatch batch;
  batch.inputs["x"] = x;
  batch.inputs["y"] = y;
  batch.tokens = 8;
  return batch;
}

namespace {

LoopOptions options(const TemporaryFolder &folder, int64_t steps) {
  LoopOptions options;
  options.stage = "finetune";
  options.steps = steps;
  options.schedule.kind = Schedule::Kind::Cosine;
  options.schedule.peak = 0.05;
  options.schedule.steps = steps;
  options.logEvery = 4;
  options.checkpointEvery = 5;
  options.metricsPath = folder.file("metrics.jsonl");
  options.checkpointPath = folder.file("checkpoint.safetensors");
  options.fingerprint = "test";
  return options;
}

StatusOr<LoopResult> train(Executor &executor, const BatchSource &source, const LoopOptions &options,
                           const LoopHooks &hooks = {}) {
  MORPH_ASSIGN_OR_RETURN(Optimizer optimizer, Optimizer::create(executor));
  return runTrainLoop(optimizer, source, options, hooks);
}

/// The metrics without the one key that may differ.
std::string metricsWithoutTime(const TemporaryFolder &folder) {
  std::istringstream lines(fileText(folder.file("metrics.jsonl")));
  std::string result, line;
  while (std::getline(lines, line)) {
    Json value = Json::parse(line);
    value.erase("seconds");
    result += value.dump() + "\n";
  }
  return result;
}

TEST(TrainLoop, LowersTheLoss) {
  TemporaryFolder folder;
  const auto executor = regressionExecutor();
  const auto result = train(*executor, regressionBatch, options(folder, 300));
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->steps, 300);
  EXPECT_EQ(result->tokens, 2400);
  EXPECT_LT(result->lastLoss, 0.1 * result->firstLoss);
}

TEST(TrainLoop, AccumulatedBatchesAreOneLargeBatch) {
  TemporaryFolder one, two;
  const auto accumulated = regressionExecutor(), joined = regressionExecutor();
  LoopOptions settings = options(one, 6);
  settings.accumulate = 2;
  ASSERT_TRUE(train(*accumulated, regressionBatch, settings).ok());
  const BatchSource pairs = [](int64_t index) -> StatusOr<LoopBatch> {
    MORPH_ASSIGN_OR_RETURN(LoopBatch first, regressionBatch(2 * index));
    MORPH_ASSIGN_OR_RETURN(const LoopBatch second, regressionBatch(2 * index + 1));
    for (auto &[name, tensor] : first.inputs)
      tensor = at::cat({tensor, second.inputs.at(name)});
    first.tokens *= 2;
    return first;
  };
  ASSERT_TRUE(train(*joined, pairs, options(two, 6)).ok());
  EXPECT_TRUE(at::allclose(accumulated->masters()["w"], joined->masters()["w"], 1e-5, 1e-6));
}

TEST(TrainLoop, AKilledRunGivesTheSameBits) {
  TemporaryFolder straightFolder, killedFolder;
  const auto straight = regressionExecutor();
  ASSERT_TRUE(train(*straight, regressionBatch, options(straightFolder, 23)).ok());
  // A process that dies at step 13 leaves the checkpoint of step 10 and metrics up to step 12.
  const auto killed = regressionExecutor();
  const BatchSource dying = [](int64_t index) -> StatusOr<LoopBatch> {
    if (index == 13)
      return Status::failed("killed");
    return regressionBatch(index);
  };
  ASSERT_FALSE(train(*killed, dying, options(killedFolder, 23)).ok());
  const auto resumed = regressionExecutor();
  const auto result = train(*resumed, regressionBatch, options(killedFolder, 23));
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_TRUE(at::equal(straight->masters()["w"], resumed->masters()["w"]));
  EXPECT_EQ(result->tokens, 23 * 8);
  EXPECT_EQ(metricsWithoutTime(straightFolder), metricsWithoutTime(killedFolder));
  // A finished stage has nothing left to do and keeps its numbers.
  const auto again = regressionExecutor();
  ASSERT_TRUE(train(*again, regressionBatch, options(killedFolder, 23)).ok());
  EXPECT_TRUE(at::equal(straight->masters()["w"], again->masters()["w"]));
}

TEST(TrainLoop, ACheckpointWithWrongValuesIsNamed) {
  TemporaryFolder folder;
  const std::string path = folder.file("checkpoint.safetensors");
  ASSERT_TRUE(train(*regressionExecutor(), regressionBatch, options(folder, 10)).ok());
  auto saved = readCheckpoint(path, "test");
  ASSERT_TRUE(saved.ok() && saved->has_value());
  (*saved)->state["interval_loss"] = "many";
  ASSERT_TRUE(writeCheckpoint(path, **saved).ok());
  const auto result = train(*regressionExecutor(), regressionBatch, options(folder, 20));
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.status().message().find("'" + path + "' is damaged: "), std::string::npos)
      << result.status().message();
}

TEST(TrainLoop, ASignalLeavesACheckpoint) {
  TemporaryFolder straightFolder, stoppedFolder;
  const auto straight = regressionExecutor(), stopped = regressionExecutor(), resumed = regressionExecutor();
  ASSERT_TRUE(train(*straight, regressionBatch, options(straightFolder, 20)).ok());
  const BatchSource signalled = [](int64_t index) {
    if (index == 7)
      requestInterrupt();
    return regressionBatch(index);
  };
  const auto first = train(*stopped, signalled, options(stoppedFolder, 20));
  requestInterrupt(false);
  ASSERT_TRUE(first.ok());
  EXPECT_TRUE(first->interrupted);
  EXPECT_EQ(first->steps, 8);
  const auto second = train(*resumed, regressionBatch, options(stoppedFolder, 20));
  ASSERT_TRUE(second.ok());
  EXPECT_FALSE(second->interrupted);
  EXPECT_TRUE(at::equal(straight->masters()["w"], resumed->masters()["w"]));
  EXPECT_EQ(metricsWithoutTime(straightFolder), metricsWithoutTime(stoppedFolder));
}

TEST(TrainLoop, RefusesALossThatIsNotFinite) {
  TemporaryFolder folder;
  const auto executor = regressionExecutor();
  const BatchSource broken = [](int64_t index) -> StatusOr<LoopBatch> {
    MORPH_ASSIGN_OR_RETURN(LoopBatch batch, regressionBatch(index));
    if (index == 6)
      batch.inputs["y"].fill_(std::nan(""));
    return batch;
  };
  const auto result = train(*executor, broken, options(folder, 20));
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().message(), "finetune: the loss of step 7 is not a number");
  EXPECT_NE(result.status().hint().find("lower the learning rate"), std::string::npos);
  EXPECT_NE(result.status().hint().find("the last checkpoint is kept"), std::string::npos);
  // The checkpoint of step 5 is there for another try.
  const auto saved = readCheckpoint(folder.file("checkpoint.safetensors"), "test");
  ASSERT_TRUE(saved.ok());
  EXPECT_EQ((**saved).step, 5);
}

TEST(TrainLoop, SaysWhatTheFirstLossMayComeFrom) {
  TemporaryFolder folder;
  const auto executor = regressionExecutor();
  const BatchSource broken = [](int64_t index) -> StatusOr<LoopBatch> {
    MORPH_ASSIGN_OR_RETURN(LoopBatch batch, regressionBatch(index));
    batch.inputs["y"].fill_(std::nan(""));
    return batch;
  };
  const auto result = train(*executor, broken, options(folder, 20));
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().message(), "finetune: the loss of step 1 is not a number");
  EXPECT_NE(result.status().hint().find("decays are logarithms"), std::string::npos);
  EXPECT_EQ(result.status().hint().find("checkpoint"), std::string::npos);
}

TEST(TrainLoop, StagesMayStopEarly) {
  TemporaryFolder folder;
  const auto executor = regressionExecutor();
  LoopHooks hooks;
  hooks.finished = [](int64_t step, NamedTensors &) -> StatusOr<bool> { return step == 8; };
  const auto result = train(*executor, regressionBatch, options(folder, 20), hooks);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->steps, 9);
  const auto again = train(*executor, regressionBatch, options(folder, 20), hooks);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->steps, 9);
}

} // namespace
} // namespace morph
