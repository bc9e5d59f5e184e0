// SPDX-License-Identifier: Apache-2.0

#include "runtime/base/AtomicFile.h"
#include "runtime/train/Optimizer.h"
#include "runtime/train/Stages.h"
#include "runtime/train/select/GateSpace.h"
#include "runtime/train/select/SwapSearch.h"
#include "test/train/TrainTesting.h"

#include <cmath>

namespace morph {
namespace {

using Layers = std::vector<int64_t>;

SelectionRequest request(int64_t layers, int64_t budget, Layers keep = {}, Layers linear = {}) {
  SelectionRequest result;
  result.layers = layers;
  result.budget = budget;
  result.keep = std::move(keep);
  result.linear = std::move(linear);
  return result;
}

Layers choose(const std::string &method, const SelectionRequest &request, uint64_t seed = 0) {
  StageContext context;
  context.seed = seed;
  const Selector *selector = findSelector(method);
  EXPECT_NE(selector, nullptr);
  auto selection = (*selector)(context, request);
  EXPECT_TRUE(selection.ok());
  EXPECT_EQ(selection->scores.size(), static_cast<size_t>(request.layers));
  EXPECT_EQ(selection->standardErrors.size(), static_cast<size_t>(request.layers));
  return selection->kept;
}

TEST(Selectors, AreRegistered) {
  std::vector<std::string> words = getWords<SelectSpec::Method>();
  std::sort(words.begin(), words.end());
  EXPECT_EQ(selectorNames(), words);
}

TEST(Selectors, UniformTakesFloorOfIByLOverK) {
  EXPECT_EQ(choose("uniform", request(30, 8)), (Layers{0, 3, 7, 11, 15, 18, 22, 26}));
  EXPECT_EQ(choose("uniform", request(30, 4)), (Layers{0, 7, 15, 22}));
  EXPECT_EQ(choose("uniform", request(10, 3)), (Layers{0, 3, 6}));
  EXPECT_EQ(choose("uniform", request(4, 4)), (Layers{0, 1, 2, 3}));
  EXPECT_EQ(choose("uniform", request(4, 0)), (Layers{}));
}

TEST(Selectors, UniformRespectsPins) {
  EXPECT_EQ(choose("uniform", request(10, 3, {5})), (Layers{0, 3, 5}));
  EXPECT_EQ(choose("uniform", request(10, 3, {}, {0})), (Layers{1, 3, 6}));
  EXPECT_EQ(choose("uniform", request(4, 2, {3}, {0, 1})), (Layers{2, 3}));
}

TEST(Selectors, RandomIsAFunctionOfTheSeed) {
  const Layers first = choose("random", request(30, 4, {2}, {7}), 1);
  EXPECT_EQ(first, choose("random", request(30, 4, {2}, {7}), 1));
  EXPECT_NE(first, choose("random", request(30, 4, {2}, {7}), 2));
  EXPECT_EQ(first.size(), 4u);
  EXPECT_TRUE(std::count(first.begin(), first.end(), 2));
  EXPECT_FALSE(std::count(first.begin(), first.end(), 7));
}

TEST(LargestLayers, BreakTiesByMeanThenByLayer) {
  EXPECT_EQ(largestLayers({1, 1, 0.5, 1}, {0.1, 0.3, 0.9, 0.3}, request(4, 2)), (Layers{1, 3}));
  EXPECT_EQ(largestLayers({1, 1, 1, 1}, {}, request(4, 2)), (Layers{0, 1}));
  EXPECT_EQ(largestLayers({4, 3, 2, 1}, {}, request(4, 2, {3}, {0})), (Layers{1, 3}));
}

TEST(SelectionRequest, ThatCannotBeMetIsRefused) {
  const auto read = [](int64_t full, Layers keep, Layers linear) {
    BudgetSpec budget;
    budget.fullLayers = full;
    budget.keep = std::move(keep);
    budget.linear = std::move(linear);
    return readSelectionRequest(budget, 4);
  };
  EXPECT_TRUE(read(2, {1}, {0}).ok());
  EXPECT_FALSE(read(5, {}, {}).ok());
  EXPECT_FALSE(read(1, {1, 2}, {}).ok());
  EXPECT_FALSE(read(2, {1}, {1}).ok());
  EXPECT_FALSE(read(2, {4}, {}).ok());
  EXPECT_FALSE(read(3, {}, {0, 1}).ok());
}

TEST(SelectionFile, HasTheKeysThatScriptsRelyOn) {
  TemporaryFolder folder;
  StageContext context;
  context.spec.seed = 3;
  context.spec.modelInfo.layers = 6;
  context.spec.modelInfo.vocab = 16;
  context.spec.budget.fullLayers = 2;
  context.spec.select.method = SelectSpec::Method::Uniform;
  context.out = folder.file("select.partial");
  ASSERT_TRUE(context.prepare().ok());
  const auto outcome = runSelect(context);
  ASSERT_TRUE(outcome.ok()) << outcome.status().message();
  const auto json = readJson(context.outPath("selection.json"));
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(*json, Json::parse(R"({"version": 1, "method": "uniform", "layers": 6, "budget": 2, "kept": [0, 3],
    "scores": [1, 0, 0, 1, 0, 0], "standard_errors": [0, 0, 0, 0, 0, 0],
    "cost": {"tokens": 0, "flops": 0, "seconds": 0}, "seed": 3})"));
}

TEST(SwapSearch, FindsTheBestPair) {
  // Layers 1 and 4 only help together; 0 alone looks best.
  const SubsetObjective objective = [](const Layers &kept) -> StatusOr<double> {
    double value = 10;
    for (int64_t layer : kept)
      value -= layer == 0 ? 2 : layer == 4 ? 1.5 : layer == 1 ? 1 : 0.1;
    if (kept == Layers{1, 4})
      value -= 5;
    return value;
  };
  const auto result = searchSwaps({0, 3}, {5, 1, 0, 2, 1.5}, request(5, 2), objective);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->kept, (Layers{1, 4}));
  EXPECT_LE(result->evaluations, 10);
  EXPECT_LT(result->objective, result->firstObjective);
  // A pinned layer stays.
  const auto pinned = searchSwaps({0, 3}, {5, 1, 0, 2, 1.5}, request(5, 2, {0}), objective);
  ASSERT_TRUE(pinned.ok());
  EXPECT_EQ(pinned->kept, (Layers{0, 4}));
}

/// Gates on a synthetic objective: sum_l c_l (1 - a_l)^2 + 3 max(0, 1 - a_2 - a_5)^2, whose last term makes one of the
/// layers 2 and 5 needed, and both no better than one.
struct SyntheticGates {
  std::vector<double> c;
  NamedTensors masters;
  GateSpace space;
  GatePressure pressure;

  SyntheticGates(std::vector<double> weights, int64_t budget, GateParametrization parametrization,
                 const SelectionRequest &asked)
      : c(std::move(weights)) {
    plan::Plan plan;
    for (size_t layer = 0; layer < c.size(); ++layer) {
      plan::Weight gate;
      gate.name = "gate." + std::to_string(layer);
      gate.gate = true;
      gate.layer = static_cast<int64_t>(layer);
      gate.shape = {1};
      plan.weights.push_back(gate);
      masters[gate.name] = at::ones({1});
    }
    auto made = GateSpace::create(plan, asked, parametrization);
    EXPECT_TRUE(made.ok());
    space = *std::move(made);
    space.begin(masters);
    pressure.layers = asked.layers;
    pressure.budget = budget;
  }
  std::vector<double> run(int64_t steps, double rate) {
    pressure.steps = steps;
    AdamW optimizer{AdamWOptions()};
    for (int64_t step = 0; step < steps; ++step) {
      const std::vector<double> a = space.fullShares(masters);
      double sum = 0;
      NamedTensors gradients;
      for (size_t l = 0; l < a.size(); ++l) {
        sum += a[l];
        double gradient = -2 * c[l] * (1 - a[l]);
        if (l == 2 || l == 5)
          gradient -= 6 * std::max(0.0, 1 - a[2] - a[5]);
        gradients["gate." + std::to_string(l)] = at::full({1}, gradient, at::kFloat);
      }
      space.beforeUpdate(masters, gradients, pressure.next(step, sum));
      EXPECT_TRUE(optimizer.step(masters, gradients, rate).ok());
      space.afterUpdate(masters);
      for (double share : space.fullShares(masters)) {
        EXPECT_GE(share, 0);
        EXPECT_LE(share, 1);
      }
    }
    return space.fullShares(masters);
  }
};

const std::vector<double> importances = {0.02, 0.01, 0.05, 0.3, 0.01, 0.04, 0.02, 0.6, 0.03, 0.01};

TEST(Gates, AreDrivenToTheBudgetInTheirSum) {
  for (GateParametrization parametrization : {GateParametrization::Clamp, GateParametrization::Sigmoid}) {
    const SelectionRequest asked = request(10, 3);
    SyntheticGates gates(importances, 3, parametrization, asked);
    gates.pressure.unit = 4.1 / 10; // the objective with all gates at 0, a layer
    const std::vector<double> shares = gates.run(200, parametrization == GateParametrization::Clamp ? 0.05 : 0.2);
    double sum = 0;
    for (double share : shares)
      sum += share;
    EXPECT_NEAR(sum, 3, 0.7);
    const Layers kept = largestLayers(shares, {}, asked);
    EXPECT_TRUE(std::count(kept.begin(), kept.end(), 7));
    EXPECT_TRUE(std::count(kept.begin(), kept.end(), 3));
    EXPECT_EQ(std::count(kept.begin(), kept.end(), 2) + std::count(kept.begin(), kept.end(), 5), 1);
  }
}

TEST(Gates, FixedPressureIsInTheObjectivesUnit) {
  const SelectionRequest asked = request(10, 3);
  SyntheticGates gates(importances, 3, GateParametrization::Clamp, asked);
  gates.pressure.fixed = true;
  gates.pressure.lambda = 0.5;
  gates.pressure.unit = 0.4;
  EXPECT_DOUBLE_EQ(gates.pressure.next(0, 10), 0.2);
  const Layers kept = largestLayers(gates.run(300, 0.05), {}, asked);
  EXPECT_TRUE(std::count(kept.begin(), kept.end(), 7));
  EXPECT_TRUE(std::count(kept.begin(), kept.end(), 3));
}

TEST(Gates, StayWhereTheyArePinned) {
  const SelectionRequest asked = request(10, 3, {0}, {7});
  for (GateParametrization parametrization : {GateParametrization::Clamp, GateParametrization::Sigmoid}) {
    SyntheticGates gates(importances, 3, parametrization, asked);
    const std::vector<double> shares = gates.run(50, 0.05);
    EXPECT_EQ(shares[0], 1);
    EXPECT_EQ(shares[7], 0);
  }
}

TEST(Gates, TargetFallsOverTheFirstPart) {
  GatePressure pressure;
  pressure.layers = 30;
  pressure.budget = 4;
  pressure.steps = 100;
  EXPECT_NEAR(pressure.target(29), 17, 1e-9);
  EXPECT_NEAR(pressure.target(59), 4, 1e-9);
  EXPECT_NEAR(pressure.target(99), 4, 1e-9);
}

TEST(Gates, OfThreeCandidatesStayOnTheSimplex) {
  plan::Plan plan;
  plan::Weight weight;
  weight.name = "gate.0";
  weight.gate = true;
  weight.layer = 0;
  weight.shape = {2};
  plan.weights = {weight};
  auto space = GateSpace::create(plan, request(1, 0), GateParametrization::Clamp);
  ASSERT_TRUE(space.ok());
  at::Tensor gate = at::empty({2});
  NamedTensors masters = {{"gate.0", gate}};
  const auto set = [&](float a, float b) {
    gate.data_ptr<float>()[0] = a;
    gate.data_ptr<float>()[1] = b;
    space->afterUpdate(masters);
  };
  set(0.9f, 0.5f);
  EXPECT_NEAR(gate[0].item<float>(), 0.7, 1e-6);
  EXPECT_NEAR(gate[1].item<float>(), 0.3, 1e-6);
  set(1.5f, 0.2f);
  EXPECT_NEAR(gate[0].item<float>(), 1, 1e-6);
  EXPECT_NEAR(gate[1].item<float>(), 0, 1e-6);
  set(0.2f, -0.1f);
  EXPECT_NEAR(gate[0].item<float>(), 0.2, 1e-6);
  EXPECT_EQ(space->bestCandidates(masters), (Layers{1}));
  space->setSubset(masters, {}, {0});
  EXPECT_EQ(gate[1].item<float>(), 1);
}

} // namespace
} // namespace morph
