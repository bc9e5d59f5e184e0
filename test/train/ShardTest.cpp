// SPDX-License-Identifier: Apache-2.0
// Frozen weights that processes, which are threads here, divide.

#include "test/plan/PlanBuilder.h"
#include "test/processes/ProcessesTesting.h"
#include "test/train/TrainTesting.h"

namespace morph {
namespace {

NamedTensors smallWeights() {
  return {{"embed.weight", at::arange(66, at::kFloat).view({11, 6}).sin()},
          {"cube", at::arange(66, at::kFloat).view({1, 11, 6}).exp()},
          {"norm.weight", at::ones({6})},
          {"proj.weight", at::arange(36, at::kFloat).view({6, 6}).cos() * 0.3},
          {"head.weight", at::arange(66, at::kFloat).view({11, 6}).cos()}};
}

NamedTensors inputs(int64_t index = 0) {
  return {{"tokens", at::arange(index, index + 8, at::kLong).remainder(11).view({2, 4})},
          {"positions", at::tensor({1, 3, 6}, at::kLong)},
          {"weights", at::ones({3})},
          {"teacher_logits", at::arange(33, at::kFloat).view({3, 11}).sin()}};
}

StatusOr<std::unique_ptr<Executor>> make(const plan::Plan &plan, const std::shared_ptr<Processes> &all,
                                         NamedTensors values = smallWeights(), const Executor *sharing = nullptr,
                                         Precision precision = Precision::F32) {
  return Executor::create(plan, WeightStore::inMemory(std::move(values)), precision, 1, sharing, at::kCPU, all);
}

/// The head's product, and a view of a weight that is read after it.
plan::Plan forwardPlan() {
  PlanBuilder b("forward");
  const int64_t cube = b.weight("cube", {1, 11, 6}), view = b.op("split_heads", {cube}, {{"heads", int64_t(2)}});
  const int64_t x = b.op("embedding", {b.input("tokens", {std::string("B"), std::string("T")}, plan::DType::I64),
                                       b.weight("embed.weight", {11, 6})});
  b.output("y", b.op("linear", {x, b.weight("head.weight", {11, 6}), -1}));
  b.output("z", b.op("scale", {view}, {{"factor", 2.0}}));
  return b.plan;
}

void expectEqual(const NamedTensors &actual, const NamedTensors &expected, const std::string &what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (const auto &[name, tensor] : expected)
    EXPECT_TRUE(at::equal(actual.at(name), tensor)) << what << " " << name;
}

NamedTensors copies(NamedTensors outputs) {
  for (auto &[name, tensor] : outputs)
    tensor = tensor.clone();
  return outputs;
}

NamedTensors resultsAlone(const plan::Plan &plan, const NamedTensors &given, Precision precision = Precision::F32) {
  return copies(*(*make(plan, std::make_shared<Processes>(), smallWeights(), nullptr, precision))->run(given));
}

TEST(Shard, ResultsHaveTheBitsOfWholeWeights) {
  for (Precision precision : {Precision::F32, Precision::F64}) {
    const NamedTensors expected = resultsAlone(smallTrainingPlan(), inputs(), precision);
    for (int64_t count : {2, 3})
      runProcesses(count, [&](const std::shared_ptr<Processes> &all) {
        const auto executor = make(smallTrainingPlan(), all, smallWeights(), nullptr, precision);
        ASSERT_TRUE(executor.ok()) << executor.status().message();
        for (int64_t run = 0; run < 3; ++run) {
          const auto results = (*executor)->run(inputs());
          ASSERT_TRUE(results.ok()) << results.status().message();
          expectEqual(*results, expected, std::to_string(count) + " processes");
        }
        EXPECT_EQ((*executor)->runRecording(inputs()).status().message(),
                  "program 'distill': autograd records whole weights alone");
        EXPECT_TRUE(all->leave().ok());
      });
  }
}

TEST(Shard, ProcessesNeedNotRunTheSame) {
  std::vector<NamedTensors> expected, forward;
  for (int64_t i = 0; i < 8; ++i) {
    expected.push_back(resultsAlone(smallTrainingPlan(), inputs(i)));
    forward.push_back(resultsAlone(forwardPlan(), {{"tokens", inputs(i).at("tokens")}}));
  }
  runProcesses(3, [&](const std::shared_ptr<Processes> &all) {
    const auto executor = make(smallTrainingPlan(), all);
    ASSERT_TRUE(executor.ok()) << executor.status().message();
    auto other = make(forwardPlan(), all, smallWeights(), executor->get());
    ASSERT_TRUE(other.ok()) << other.status().message();
    const auto check = [&](int64_t i, bool trains) {
      const auto results = trains ? (*executor)->run(inputs(i)) : (*other)->run({{"tokens", inputs(i).at("tokens")}});
      ASSERT_TRUE(results.ok()) << results.status().message();
      expectEqual(*results, (trains ? expected : forward)[static_cast<size_t>(i)], std::to_string(all->rank()));
    };
    // Nothing, one run or many between two calls of all, of either program in any order.
    for (int64_t i = 0; i < 8; ++i) {
      for (int64_t run = 0; run < (i + all->rank()) % 3; ++run)
        check(i, (i + run + all->rank()) % 2 == 0);
      const auto sum = all->sum({1});
      ASSERT_TRUE(sum.ok()) << sum.status().message();
      EXPECT_EQ((*sum)[0], 3);
    }
    // Who is done first with a program gives the others what they read of it.
    if (all->rank() != 1)
      check(0, false);
    other->reset();
    if (all->rank() == 2)
      check(1, true);
    EXPECT_TRUE(all->leave().ok());
  });
}

TEST(Shard, ADivergedPartIsNamedByItsProcess) {
  NamedTensors values = smallWeights();
  values["head.weight"][10][5].fill_(NAN);
  runProcesses(2, [&](const std::shared_ptr<Processes> &all) {
    const auto executor = make(smallTrainingPlan(), all, values);
    ASSERT_FALSE(executor.ok());
    EXPECT_EQ(all->hasLostOthers(), all->rank() == 0);
    if (all->rank() == 1) {
      EXPECT_NE(executor.status().message().find("weight 'head.weight' of 'memory' holds 1 of 33 values that are NaN"),
                std::string::npos)
          << executor.status().message();
    }
  });
}

TEST(Shard, ProcessesWithOtherPlansAreRefused) {
  runProcesses(2, [&](const std::shared_ptr<Processes> &all) {
    const auto executor = make(all->rank() == 0 ? smallTrainingPlan() : forwardPlan(), all);
    ASSERT_FALSE(executor.ok());
    EXPECT_NE(executor.status().message().find("the processes have divided other weights"), std::string::npos);
  });
}

TEST(Shard, OneThatIsGoneIsAnErrorOfTheOthers) {
  runProcesses(3, [&](const std::shared_ptr<Processes> &all) {
    const auto executor = make(smallTrainingPlan(), all);
    ASSERT_TRUE(executor.ok()) << executor.status().message();
    if (all->rank() == 1)
      return;
    const Status status = (*executor)->run(inputs()).status();
    ASSERT_FALSE(status.ok());
    EXPECT_NE(status.message().find("of 3: a gathering of weights: "), std::string::npos) << status.message();
    EXPECT_TRUE(all->hasLostOthers());
  });
}

} // namespace
} // namespace morph
