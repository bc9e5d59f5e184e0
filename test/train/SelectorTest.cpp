// SPDX-License-Identifier: Apache-2.0

#include "runtime/base/AtomicFile.h"
#include "runtime/train/Interrupt.h"
#include "runtime/train/Stages.h"
#include "runtime/train/select/GateSpace.h"
#include "runtime/train/select/MeasuredSubsets.h"
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
  // A choice that measures nothing knows no errors; zeros would claim that it is exact.
  EXPECT_TRUE(selection->standardErrors.empty());
  EXPECT_TRUE(selection->drift.empty());
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
    "scores": [1, 0, 0, 1, 0, 0], "cost": {"tokens": 0, "flops": 0, "seconds": 0}, "seed": 3})"));
}

TEST(SelectionFile, NamesErrorsAndDriftWhereThereAreSome) {
  Selection selection;
  selection.kept = {1};
  selection.scores = {0.25, 0.75};
  selection.drift = {0.125, 0.5};
  auto json = selectionJson(selection, request(2, 1), "gates", 0, {});
  EXPECT_EQ(json["drift"].get<std::vector<double>>(), selection.drift);
  EXPECT_FALSE(json.contains("standard_errors"));
  selection.drift.clear();
  selection.standardErrors = {0.1, 0.2};
  json = selectionJson(selection, request(2, 1), "layer_mse", 0, {});
  EXPECT_EQ(json["standard_errors"].get<std::vector<double>>(), selection.standardErrors);
  EXPECT_FALSE(json.contains("drift"));
}

/// Two samples at a value, without noise.
std::vector<double> exactly(double value) { return {value, value}; }

TEST(SwapSearch, FindsTheBestPair) {
  // Layers 1 and 4 only help together; 0 alone looks best.
  const SubsetObjective objective = [](const Layers &kept) -> StatusOr<std::vector<double>> {
    double value = 10;
    for (int64_t layer : kept)
      value -= layer == 0 ? 2 : layer == 4 ? 1.5 : layer == 1 ? 1 : 0.1;
    if (kept == Layers{1, 4})
      value -= 5;
    return exactly(value);
  };
  const auto result = searchSwaps({0, 3}, {5, 1, 0, 2, 1.5}, request(5, 2), 3, objective);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->kept, (Layers{1, 4}));
  EXPECT_LE(result->evaluations, 10);
  EXPECT_LT(result->objective, result->firstObjective);
  // A pinned layer stays.
  const auto pinned = searchSwaps({0, 3}, {5, 1, 0, 2, 1.5}, request(5, 2, {0}), 3, objective);
  ASSERT_TRUE(pinned.ok());
  EXPECT_EQ(pinned->kept, (Layers{0, 4}));
}

TEST(SwapSearch, IsNotFooledByNoise) {
  // Every subset is as good as any other; on 64 samples their means differ by chance.
  const auto noisy = [](double gain) -> SubsetObjective {
    return [gain](const Layers &kept) -> StatusOr<std::vector<double>> {
      std::string name = "subset";
      for (int64_t layer : kept)
        name += " " + std::to_string(layer);
      Random random(1, name, 0), difficulty(1, "samples", 0);
      std::vector<double> values;
      for (int sample = 0; sample < 64; ++sample)
        // How hard a sample is, is common to all subsets: it falls out of paired differences.
        values.push_back(10 * difficulty.uniform() + random.uniform(-1, 1) - (kept == Layers{2, 6} ? gain : 0));
      return values;
    };
  };
  const std::vector<double> scores = {8, 7, 6, 5, 4, 3, 2, 1};
  const auto noise = searchSwaps({0, 2}, scores, request(8, 2), 3, noisy(0));
  ASSERT_TRUE(noise.ok());
  EXPECT_EQ(noise->swaps, 0);
  EXPECT_EQ(noise->kept, (Layers{0, 2}));
  EXPECT_EQ(noise->evaluations, 13);
  // Taking what looks better, as errors = 0 does, follows the noise.
  const auto fooled = searchSwaps({0, 2}, scores, request(8, 2), 0, noisy(0));
  ASSERT_TRUE(fooled.ok());
  EXPECT_GT(fooled->swaps, 0);
  // A difference beyond it is found, though the samples' own spread is far larger.
  const auto found = searchSwaps({0, 2}, scores, request(8, 2), 3, noisy(0.8));
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->kept, (Layers{2, 6}));
  EXPECT_EQ(found->swaps, 1);
  EXPECT_NEAR(found->gain, 0.8, 4 * found->gainStandardError);
  EXPECT_LT(found->gainStandardError, 0.15);
}

TEST(SwapSearch, NeedsTwoSamples) {
  const auto result = searchSwaps({0}, {1, 2}, request(2, 1), 3, [](const Layers &) -> StatusOr<std::vector<double>> {
    return std::vector<double>{1};
  });
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.status().hint().find("swap_samples"), std::string::npos);
}

TEST(MeasuredSubsets, AFileWithWrongValuesIsNamed) {
  TemporaryFolder folder;
  const std::string path = folder.file("subsets");
  Checkpoint checkpoint;
  checkpoint.fingerprint = "a";
  checkpoint.state = {{"flops", 1.0}, {"subsets", {{{"kept", "all"}, {"values", {1.0}}}}}};
  ASSERT_TRUE(writeCheckpoint(path, checkpoint).ok());
  const auto opened = MeasuredSubsets::open(path, "a", {});
  ASSERT_FALSE(opened.ok());
  EXPECT_NE(opened.status().message().find("'" + path + "' is damaged: "), std::string::npos)
      << opened.status().message();
}

TEST(MeasuredSubsets, GoOnWhereTheyWereStopped) {
  TemporaryFolder folder;
  const std::vector<double> scores = {8, 7, 6, 5, 4, 3, 2, 1};
  int64_t measured = 0, stopAt = -1;
  const auto search = [&](const std::string &file, const std::string &fingerprint) -> StatusOr<SwapResult> {
    MORPH_ASSIGN_OR_RETURN(
        MeasuredSubsets subsets,
        MeasuredSubsets::open(folder.file(file), fingerprint,
                              [&](const Layers &kept, MeasureCost &cost) -> StatusOr<std::vector<double>> {
                                if (++measured == stopAt)
                                  requestInterrupt();
                                cost.tokens += 100;
                                // Doubles that have no short decimal form come back exactly.
                                double value = 1.0 / 3;
                                for (int64_t layer : kept)
                                  value += std::sin(static_cast<double>(layer * layer)) / 7;
                                return std::vector<double>{value, value + 0.1};
                              }));
    MORPH_ASSIGN_OR_RETURN(
        const SwapResult result,
        searchSwaps({0, 1}, scores, request(8, 2), 3, [&](const Layers &kept) { return subsets.values(kept); }));
    EXPECT_EQ(subsets.cost().tokens, 100 * (result.interrupted ? stopAt : result.evaluations));
    return result;
  };
  const auto straight = search("straight", "a");
  ASSERT_TRUE(straight.ok());
  ASSERT_GT(straight->swaps, 1);
  EXPECT_EQ(measured, straight->evaluations);
  for (int64_t stop : {1, 5, 9}) {
    measured = 0;
    stopAt = stop;
    const std::string file = "stopped " + std::to_string(stop);
    const auto first = search(file, "a");
    ASSERT_TRUE(first.ok());
    ASSERT_TRUE(first->interrupted);
    requestInterrupt(false);
    stopAt = -1;
    const auto second = search(file, "a");
    ASSERT_TRUE(second.ok());
    // Together they measured what the straight search did, and found the same.
    EXPECT_EQ(measured, straight->evaluations);
    EXPECT_EQ(second->kept, straight->kept);
    EXPECT_EQ(second->swaps, straight->swaps);
    EXPECT_EQ(second->objective, straight->objective);
    EXPECT_EQ(second->evaluations, straight->evaluations);
  }
  EXPECT_FALSE(search("straight", "another spec").ok());
}

TEST(Gates, PressureIsRawOrInTheObjectivesUnit) {
  GatePressure pressure;
  pressure.lambda = 0.5;
  pressure.unit = 0.4;
  pressure.kind = SelectSpec::Pressure::Relative;
  EXPECT_DOUBLE_EQ(pressure.next(0, 10), 0.2);
  pressure.kind = SelectSpec::Pressure::Raw;
  EXPECT_DOUBLE_EQ(pressure.next(0, 10), 0.5);
}

TEST(Gates, PressureOfTheBudgetGrowsWhileTheSumIsTooLarge) {
  GatePressure pressure;
  pressure.kind = SelectSpec::Pressure::Budget;
  pressure.unit = 0.4;
  pressure.layers = 30;
  pressure.budget = 4;
  pressure.steps = 100;
  EXPECT_NEAR(pressure.next(98, 14), 4, 1e-9);
  EXPECT_NEAR(pressure.next(99, 14), 4.4, 1e-9);
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

/// The gate of one layer with `branches` linear branches.
static StatusOr<GateSpace> spaceOfOneGate(int64_t branches, GateParametrization parametrization) {
  plan::Plan plan;
  plan::Weight weight;
  weight.name = "gate.0";
  weight.gate = true;
  weight.layer = 0;
  weight.shape = {branches};
  plan.weights = {weight};
  return GateSpace::create(plan, request(1, 0), parametrization);
}

TEST(Gates, LogitsHaveTheGradientsOfTheirGates) {
  auto space = spaceOfOneGate(1, GateParametrization::Sigmoid);
  ASSERT_TRUE(space.ok());
  NamedTensors masters = {{"gate.0", at::ones({1})}}, gradients = {{"gate.0", at::full({1}, 2.0)}};
  space->begin(masters);
  const double share = masters.at("gate.0").item<float>();
  EXPECT_NEAR(share, 0.95, 1e-6);
  space->beforeUpdate(masters, gradients, 0.5);
  EXPECT_NEAR(gradients.at("gate.0").item<float>(), 2.5 * share * (1 - share), 1e-6);
  EXPECT_NEAR(masters.at("gate.0").item<float>(), std::log(share / (1 - share)), 1e-4);
}

TEST(Gates, OfThreeCandidatesStayOnTheSimplex) {
  auto space = spaceOfOneGate(2, GateParametrization::Clamp);
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
  // All linear is the first candidate where no choice was made, and the choice where one was.
  const auto isSet = [&](const Layers &kept, const Layers &chosen) {
    space->setSubset(masters, kept, chosen);
    return std::vector<float>(gate.data_ptr<float>(), gate.data_ptr<float>() + 2);
  };
  EXPECT_EQ(isSet({}, {}), (std::vector<float>{0, 1}));
  EXPECT_EQ(isSet({}, {0}), (std::vector<float>{0, 1}));
  EXPECT_EQ(isSet({}, {1}), (std::vector<float>{0, 0})); // The last candidate has what the others leave.
  EXPECT_EQ(isSet({0}, {}), (std::vector<float>{1, 0}));
}

} // namespace
} // namespace morph
