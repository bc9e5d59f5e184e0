// SPDX-License-Identifier: Apache-2.0
// Steps of several processes, which are threads here: they give what one process gives.

#include "runtime/train/Division.h"

#include "runtime/plan/UpdatePart.h"
#include "test/plan/PlanBuilder.h"
#include "test/processes/ProcessesTesting.h"
#include "test/train/TrainTesting.h"

namespace morph {
namespace {

LoopOptions options(const TemporaryFolder &folder, const std::shared_ptr<Processes> &processes,
                    const Executor &executor, int64_t steps, int64_t accumulate) {
  LoopOptions options;
  options.stage = "finetune";
  options.steps = steps;
  options.accumulate = accumulate;
  options.schedule.peak = 0.05;
  options.schedule.steps = 12;
  options.logEvery = 1;
  options.checkpointEvery = 0;
  options.metricsPath = folder.file("metrics.jsonl");
  options.checkpointPath = folder.file("checkpoint.safetensors");
  options.fingerprint = "test";
  options.quiet = true;
  options.division = Division(processes, executor, accumulate, 8);
  return options;
}

/// Trains to `steps` in `count` processes, from the checkpoint where there is one. Returns the leader's weight, which
/// is everybody's.
at::Tensor train(const TemporaryFolder &folder, int64_t count, int64_t steps, int64_t accumulate) {
  std::vector<at::Tensor> weights(static_cast<size_t>(count));
  std::vector<int64_t> tokens(static_cast<size_t>(count));
  runProcesses(count, [&](const std::shared_ptr<Processes> &all) {
    const auto executor = regressionExecutor();
    auto optimizer = Optimizer::create(*executor, all);
    ASSERT_TRUE(optimizer.ok()) << optimizer.status().message();
    const auto result = runTrainLoop(*optimizer, regressionBatch, options(folder, all, *executor, steps, accumulate));
    ASSERT_TRUE(result.ok()) << result.status().message();
    weights[static_cast<size_t>(all->rank())] = executor->masters().at("w").clone();
    tokens[static_cast<size_t>(all->rank())] = result->tokens;
  });
  for (int64_t rank = 0; rank < count; ++rank) {
    EXPECT_TRUE(at::equal(weights[static_cast<size_t>(rank)], weights[0])) << rank;
    EXPECT_EQ(tokens[static_cast<size_t>(rank)], 8 * steps * accumulate) << rank;
  }
  return weights[0];
}

void expectSameLosses(const TemporaryFolder &one, const TemporaryFolder &other) {
  std::istringstream first(fileText(one.file("metrics.jsonl"))), second(fileText(other.file("metrics.jsonl")));
  std::string a, b;
  int64_t lines = 0;
  for (; std::getline(first, a) && std::getline(second, b); ++lines)
    for (const char *key : {"step", "loss", "grad_norm", "tokens"})
      EXPECT_NEAR(Json::parse(a)[key].get<double>(), Json::parse(b)[key].get<double>(), 1e-6) << key << a << b;
  EXPECT_EQ(lines, 12);
  EXPECT_FALSE(std::getline(second, b)) << "lines of others than the leader";
}

TEST(Division, ProcessesGiveTheStepsOfOne) {
  for (int64_t accumulate : {1, 2, 4}) {
    TemporaryFolder alone;
    const at::Tensor expected = train(alone, 1, 12, accumulate);
    for (int64_t count : {2, 3}) {
      TemporaryFolder folder;
      EXPECT_TRUE(at::allclose(train(folder, count, 12, accumulate), expected, 1e-6, 1e-6)) << count;
      expectSameLosses(alone, folder);
    }
  }
}

TEST(Division, OtherNumbersOfProcessesGoOn) {
  TemporaryFolder alone, folder;
  const at::Tensor expected = train(alone, 1, 12, 4);
  train(folder, 2, 4, 4);
  train(folder, 3, 8, 4);
  EXPECT_TRUE(at::allclose(train(folder, 1, 12, 4), expected, 1e-6, 1e-6));
  expectSameLosses(alone, folder);
}

/// An update of three weights that clips by the norm of all gradients.
plan::Plan threeWeights() {
  PlanBuilder b("three");
  const int64_t x = b.input("x", {int64_t(2), int64_t(2)});
  for (const char *name : {"a", "b", "c"}) {
    const int64_t weight = b.weight(name, {2, 2}, true);
    b.output(std::string("grad.") + name, b.op("add", {weight, x}));
  }
  UpdateSettings settings;
  settings.clip = 1;
  return withUpdate(b.plan, settings);
}

TEST(Division, APartOfAnUpdateHasTheMomentsOfItsWeightsAlone) {
  const plan::Plan whole = threeWeights();
  for (const std::string owned : {"a", "c", ""}) {
    const plan::Plan part = plan::updatePart(*whole.update, [&](const std::string &name) { return name == owned; });
    EXPECT_TRUE(plan::validate(part).ok()) << plan::validate(part).message();
    std::vector<std::string> moments;
    for (const plan::NamedValue &input : part.inputs)
      if (input.name.rfind("exp_avg.", 0) == 0)
        moments.push_back(input.name);
    EXPECT_EQ(moments, owned.empty() ? std::vector<std::string>() : std::vector<std::string>{"exp_avg." + owned});
    EXPECT_EQ(part.weights.size(), owned.empty() ? 0U : 1U);
  }
}

TEST(Division, OwnersUpdateTheirWeightsAndGiveThemToTheOthers) {
  const plan::Plan plan = threeWeights();
  const NamedTensors first = {{"a", at::full({2, 2}, 1.0)}, {"b", at::full({2, 2}, 2.0)}, {"c", at::full({2, 2}, 3.0)}};
  const auto run = [&](const std::shared_ptr<Processes> &all, NamedTensors &masters, NamedTensors &state) {
    const auto executor = Executor::create(plan, WeightStore::inMemory(first), Precision::F32, 0);
    ASSERT_TRUE(executor.ok()) << executor.status().message();
    Optimizer optimizer = *Optimizer::create(**executor, all);
    for (int64_t step = 0; step < 3; ++step) {
      for (auto &[name, gradient] : optimizer.gradients())
        gradient.fill_(static_cast<double>(step + 1) * (name == "b" ? -1 : 1) / static_cast<double>(all->count()));
      ASSERT_TRUE(optimizer.sumGradients().ok());
      const auto norm = optimizer.step(0.1);
      ASSERT_TRUE(norm.ok()) << norm.status().message();
      EXPECT_NEAR(norm->item<double>(), static_cast<double>(step + 1) * std::sqrt(12), 1e-5);
    }
    for (const auto &[name, master] : (*executor)->masters())
      masters[name] = master.clone();
    auto gathered = optimizer.state();
    ASSERT_TRUE(gathered.ok()) << gathered.status().message();
    for (const auto &[name, moment] : *gathered)
      state[name] = moment.clone();
  };
  NamedTensors expected, moments;
  run(std::make_shared<Processes>(), expected, moments);
  ASSERT_EQ(moments.size(), 7U);
  NamedTensors masters[2], states[2];
  runProcesses(2, [&](const std::shared_ptr<Processes> &all) { run(all, masters[all->rank()], states[all->rank()]); });
  for (const auto &[name, master] : expected)
    for (const NamedTensors &own : masters)
      EXPECT_TRUE(at::allclose(own.at(name), master, 1e-6, 1e-6)) << name;
  for (const auto &[name, moment] : moments)
    EXPECT_TRUE(at::allclose(states[0].at(name), moment, 1e-6, 1e-6)) << name;
  EXPECT_EQ(states[1].size(), 3U) << "the moments of one weight, and the step";
}

TEST(Division, WhoseLossIsNotFiniteSaysSo) {
  // The sum of gradients is not finite in any process: the others miss one, and do not say that a gradient is wrong.
  TemporaryFolder folder;
  std::vector<std::string> errors(2);
  runProcesses(2, [&](const std::shared_ptr<Processes> &all) {
    const auto executor = regressionExecutor();
    Optimizer optimizer = *Optimizer::create(*executor, all);
    const BatchSource source = [](int64_t index) -> StatusOr<LoopBatch> {
      MORPH_ASSIGN_OR_RETURN(LoopBatch batch, regressionBatch(index));
      if (index == 5) // Of process 1 in step 3.
        batch.inputs["y"].fill_(std::nan(""));
      return batch;
    };
    const auto result = runTrainLoop(optimizer, source, options(folder, all, *executor, 12, /*accumulate=*/2));
    errors[static_cast<size_t>(all->rank())] = result.status().message();
    EXPECT_EQ(all->hasLostOthers(), all->isLeader());
  });
  EXPECT_EQ(errors[1], "finetune: the loss of step 3 is not a number");
  EXPECT_EQ(errors[0].find("process 0 of 2: a sum over processes"), 0u) << errors[0];
}

} // namespace
} // namespace morph
