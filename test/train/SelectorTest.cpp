// SPDX-License-Identifier: Apache-2.0

#include "runtime/base/AtomicFile.h"
#include "runtime/base/Json.h"
#include "runtime/spec/SpaceJson.h"
#include "runtime/train/Interrupt.h"
#include "runtime/train/Stages.h"
#include "runtime/train/select/GatePressure.h"
#include "runtime/train/select/GateSpace.h"
#include "runtime/train/select/Halo.h"
#include "runtime/train/select/MeasuredChoices.h"
#include "runtime/train/select/SwapSearch.h"

#include "test/train/TrainTesting.h"

#include <cmath>
#include <filesystem>
#include <limits>
#include <set>

namespace morph {
namespace {

using Layers = std::vector<int64_t>;

/// A reach of exchanges that is none.
constexpr double kEverywhere = std::numeric_limits<double>::infinity();

/// A plain space with layers pinned to full attention and to their linear branch.
ChoiceSpace request(int64_t layers, int64_t budget, Layers keep = {}, Layers linear = {}) {
  ChoiceSpace space = makePlainSpace(layers, {"gla"}, budget);
  if (!keep.empty())
    space.allowed.push_back({{"keep", ""}, std::move(keep), {kFullAttention}});
  if (!linear.empty())
    space.allowed.push_back({{"linear", ""}, std::move(linear), {"gla"}});
  return space;
}

StatusOr<Selection> selectBy(const std::string &method, const ChoiceSpace &space, uint64_t seed = 0) {
  StageContext context;
  context.seed = seed;
  const auto name = parseSelectorName(method);
  EXPECT_TRUE(name.ok()) << name.status().message();
  SelectorContext selector(context, space, name->option);
  return choose(selector, *name);
}

Layers choose(const std::string &method, const ChoiceSpace &space, uint64_t seed = 0) {
  const auto selection = selectBy(method, space, seed);
  EXPECT_TRUE(selection.ok());
  EXPECT_EQ(selection->scores.size(), space.layers.size());
  EXPECT_TRUE(satisfies(space, selection->choice));
  // A choice that measures nothing knows no errors; zeros would claim that it is exact.
  EXPECT_TRUE(selection->standardErrors.empty());
  EXPECT_TRUE(selection->drift.empty());
  return fullLayers(selection->choice);
}

TEST(Selectors, AreRegistered) {
  for (const SelectorInfo &info : selectors())
    EXPECT_TRUE(findSelector(info)) << info.name;
}

TEST(Selectors, SayWhichChoicesTheyHaveScored) {
  for (const SelectorInfo &info : selectors())
    EXPECT_EQ(info.visits != SelectorVisits::NoChoices, needsScores({&info, ""})) << info.name;
  EXPECT_EQ(beamWidth(""), 4);
  EXPECT_EQ(beamWidth("0"), 1);
  EXPECT_EQ(beamWidth("12"), 12);
}

// Model 0 is the better one at both; R of model 1 is 1/2 of one and zero samples, C 1/8 of 1/4 and zero.
TEST(Selectors, HaloIsRecallLostOverAbilityLost) {
  const auto scores = haloScores({{1, 1}, {1, 0}}, {{0.5, 0.5}, {0.25, 0}});
  ASSERT_EQ(scores.size(), 2u);
  EXPECT_EQ(scores[0].mean, 0);
  EXPECT_EQ(scores[0].standardError, 0);
  EXPECT_NEAR(scores[1].mean, 0.5 / 0.375, 1e-4);
  // Of resamples of two, R loses 0, 1/2 and 1 and C loses 1/4, 3/8 and 1/2, the middle ones half of the time: the mean
  // of the score is 17/12, of its square .375 * 77/9. A thousand resamples give the deviation within some percent.
  EXPECT_NEAR(scores[1].standardError, std::sqrt(0.375 * 77 / 9 - 17.0 / 12 * 17 / 12), 0.05);
  const auto again = haloScores({{1, 1}, {1, 0}}, {{0.5, 0.5}, {0.25, 0}});
  EXPECT_EQ(again[1].standardError, scores[1].standardError);
  // Who loses no ability is worth what 1e-6 makes of it.
  EXPECT_NEAR(haloScores({{1}, {0.5}}, {{0.5}, {0.5}})[1].mean, 0.5e6, 1);
}

// Eight models answer alike, each right by chance half of the time. Which of them is the best one of 64 samples is
// chance, too: the score of one that happens to be is 0, and not without error, as an error by leaving samples out is
// for it.
TEST(Selectors, HaloErrorsKnowThatAnotherModelMayBeTheBest) {
  constexpr size_t kModels = 8, kSamples = 64;
  constexpr uint64_t kSets = 100;
  std::vector<std::vector<double>> ability(kModels, {0.5, 0.5});
  ability.back() = {1, 1}; // So that the first model loses 1/2.
  std::vector<double> scores, errors;
  int64_t best = 0;
  for (uint64_t set = 0; set < kSets; ++set) {
    std::vector<std::vector<double>> recall(kModels, std::vector<double>(kSamples));
    for (size_t model = 0; model < kModels; ++model) {
      Random random(set, "recall", model);
      for (double &right : recall[model])
        right = static_cast<double>(random.below(2));
    }
    const MeanAndError first = haloScores(recall, ability).front();
    scores.push_back(first.mean);
    errors.push_back(first.standardError);
    best += first.mean == 0;
    EXPECT_GT(first.standardError, 0.04) << set;
  }
  EXPECT_GT(best, 5);
  // What is told is what other data give.
  const double spread = meanAndError(scores).standardError * std::sqrt(static_cast<double>(kSets));
  EXPECT_NEAR(meanAndError(errors).mean, spread, 0.1 * spread);
}

TEST(Selectors, UniformTakesFloorOfIByLOverK) {
  EXPECT_EQ(choose("uniform", request(30, 8)), (Layers{0, 3, 7, 11, 15, 18, 22, 26}));
  EXPECT_EQ(choose("uniform", request(30, 4)), (Layers{0, 7, 15, 22}));
  EXPECT_EQ(choose("uniform", request(10, 3)), (Layers{0, 3, 6}));
  EXPECT_EQ(choose("uniform", request(4, 4)), (Layers{0, 1, 2, 3}));
  EXPECT_EQ(choose("uniform", request(4, 0)), (Layers{}));
}

TEST(Selectors, UniformTakesOffsetsAndMiddles) {
  EXPECT_EQ(choose("uniform:0", request(30, 4)), choose("uniform", request(30, 4)));
  EXPECT_EQ(choose("uniform:3", request(30, 4)), (Layers{3, 10, 18, 25}));
  EXPECT_EQ(choose("uniform:7", request(30, 4)), (Layers{7, 14, 22, 29}));
  EXPECT_EQ(choose("uniform:middle", request(30, 4)), (Layers{3, 11, 18, 26}));
  EXPECT_EQ(choose("uniform:middle", request(10, 3)), (Layers{1, 5, 8}));
  EXPECT_FALSE(selectBy("uniform:8", request(30, 4)).ok());
  EXPECT_EQ(choose("uniform:middle", request(4, 4)), (Layers{0, 1, 2, 3}));
}

TEST(Selectors, FixedTakesWhatIsNamed) {
  StageContext context;
  const auto fixed = [&](const ChoiceSpace &space) {
    SelectorContext selector(context, space);
    return choose(selector, *parseSelectorName("fixed"));
  };
  context.spec.select.layers = {5, 2};
  const auto selection = fixed(request(6, 2));
  ASSERT_TRUE(selection.ok()) << selection.status().message();
  EXPECT_EQ(fullLayers(selection->choice), (Layers{2, 5}));
  EXPECT_EQ(*solve(request(6, 2), selection->values), selection->choice);
  EXPECT_EQ(fixed(request(6, 3)).status().message(),
            "select.method: the fixed choice, which keeps layers 2 5, is not one that [budget] or the arch allows");
  EXPECT_FALSE(fixed(request(6, 2, {0})).ok());
  EXPECT_EQ(fixed(request(4, 2)).status().message(), "select.layers: there is no layer 5");
  // What another run chose.
  TemporaryFolder folder;
  context.spec.select.layers.clear();
  context.spec.select.from = folder.file("selection.json");
  const Json json = selectionJson(*selection, request(6, 2), "fixed", 0);
  ASSERT_TRUE(writeFile(*context.spec.select.from, json.dump()).ok());
  const auto again = fixed(request(6, 2));
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again->choice, selection->choice);
  EXPECT_NE(fixed(request(5, 2)).status().message().find("is of 6 layers, and the model has 5"), std::string::npos);
  EXPECT_FALSE(fixed(makePlainSpace(6, {"kda"}, 2)).ok()) << "another candidate";
}

TEST(Selectors, FixedGivesTheOtherLayersWhatTheSpaceAdmits) {
  StageContext context;
  context.spec.select.layers = {1, 2};
  const auto fixed = [&](const ChoiceSpace &space) {
    SelectorContext selector(context, space);
    const auto selection = choose(selector, *parseSelectorName("fixed"));
    EXPECT_TRUE(selection.ok()) << selection.status().message();
    EXPECT_TRUE(!selection.ok() || satisfies(space, selection->choice));
    return selection.ok() ? selection->choice : Choice();
  };
  // The first candidate that a layer may take, if budgets admit it.
  ChoiceSpace space = makePlainSpace(5, {"a", "b"}, 2);
  space.allowed = {{{"pin", ""}, {0}, {"full", "b"}}};
  EXPECT_EQ(fixed(space), (Choice{2, 0, 0, 1, 1}));
  space.budgets = {
      {{"bytes", ""}, "cache_bytes", "bytes", 4096, 240, std::vector<std::vector<int64_t>>(5, {100, 50, 10})}};
  EXPECT_EQ(fixed(space), (Choice{2, 0, 0, 2, 2}));
  // What is pinned to full attention or tied to a named layer stays full.
  space = makePlainSpace(5, {"a", "b"}, 3);
  space.allowed = {{{"pin", ""}, {4}, {"full"}}};
  EXPECT_EQ(fixed(space), (Choice{1, 0, 0, 1, 0}));
  space = makePlainSpace(5, {"a", "b"}, 3);
  space.ties = {{{"tie", ""}, {2, 3}}};
  EXPECT_EQ(fixed(space), (Choice{1, 0, 0, 0, 1}));
  // A named layer that may not be full, and bytes for less.
  space = makePlainSpace(5, {"a", "b"}, 2);
  space.allowed = {{{"pin", ""}, {2}, {"a", "b"}}};
  SelectorContext selector(context, space);
  EXPECT_EQ(choose(selector, *parseSelectorName("fixed")).status().message(),
            "select.method: the fixed choice, which keeps layers 1 2, is not one that [budget] or the arch allows");
  space.allowed.clear();
  space.budgets = {
      {{"bytes", ""}, "cache_bytes", "bytes", 4096, 229, std::vector<std::vector<int64_t>>(5, {100, 50, 10})}};
  EXPECT_FALSE(choose(selector, *parseSelectorName("fixed")).ok());
}

TEST(Selectors, NamesHaveOptions) {
  EXPECT_EQ(parseSelectorName("greedy:backward")->option, "backward");
  EXPECT_EQ(parseSelectorName("beam:12")->option, "12");
  EXPECT_EQ(parseSelectorName("greedy")->option, "");
  EXPECT_FALSE(parseSelectorName("greedy:backward")->refines);
  for (const char *refined : {"gates+refine", "beam:12+refine"})
    EXPECT_TRUE(parseSelectorName(refined)->refines) << refined;
  EXPECT_EQ(parseSelectorName("beam:12+refine")->option, "12");
  EXPECT_EQ(parseSelectorName("gredy").status().message(), "there is no selector 'gredy'");
  EXPECT_EQ(parseSelectorName("greedy:sideways").status().message(), "selector 'greedy' has no option 'sideways'");
  EXPECT_EQ(parseSelectorName("greedy:sideways").status().hint(),
            "what may stand after the colon is: forward | backward");
  for (const char *wrong : {"beam:", "beam:-1", "beam:1234567", "gates:1", "uniform:mid", "", ":", "uniform:middle:2",
                            "gates+", "+refine", "gates+refine+refine", "uniform:*"})
    EXPECT_FALSE(parseSelectorName(wrong).ok()) << wrong;
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

TEST(Selectors, ObeyAllThatASpaceAsks) {
  // One full in every five, the first two layers alike, three kinds, a budget of bytes.
  ChoiceSpace space = makePlainSpace(10, {"kda", "sliding_window"}, 2);
  space.counts = {{{"pattern", ""}, {0, 1, 2, 3, 4}, "full", 1, 1}, {{"pattern", ""}, {5, 6, 7, 8, 9}, "full", 1, 1}};
  space.ties = {{{"tie", ""}, {0, 1}}};
  space.budgets = {
      {{"bytes", ""}, "cache_bytes", "bytes", 4096, 230, std::vector<std::vector<int64_t>>(10, {100, 1, 10})}};
  EXPECT_EQ(choose("uniform", space), (Layers{2, 5}));
  bool windows = false;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    choose("random", space, seed);
    const auto selection = selectBy("random", space, seed);
    windows |= std::count(selection->choice.begin(), selection->choice.end(), 2) > 0;
  }
  EXPECT_TRUE(windows);
  // Without a number of layers, as many as the bytes admit.
  space.counts.clear();
  space.budgets[0].limit = 310;
  EXPECT_EQ(choose("uniform", space).size(), 3u);
}

TEST(Selectors, KlOfTrainedLayersKeepsTheLowest) {
  TemporaryFolder folder;
  StageContext context;
  context.runDir = folder.file("run");
  const std::vector<double> kl = {0.3, 0.1, 0.2, 0.4};
  // The second sample is the easier one for the last model, from which the others differ by .3 and -.1, .3 and .3, .3
  // and .1: of two the error is half of their difference.
  const std::vector<std::vector<double>> bySample = {{0.2, 0.4}, {0.2, 0}, {0.2, 0.2}, {0.5, 0.3}};
  const std::vector<double> errors = {0.2, 0, 0.1, 0};
  for (size_t layer = 0; layer < kl.size(); ++layer) {
    const std::string where = context.runDir + "/" + aloneStage(layer);
    std::filesystem::create_directories(where);
    const Json text = {{"kl", kl[layer]}, {"standard_error", 0.01}, {"by_sample", bySample[layer]}};
    const Json summary = {{"held_out_after", {{"text", text}}},
                          {"tokens", 100},
                          {"flops", 1e6},
                          {"held_out_tokens", 10},
                          {"held_out_flops", 1e5},
                          {"seconds", 1.0}};
    ASSERT_TRUE(writeFile(where + "/distill.json", summary.dump()).ok());
  }
  const auto kept = [&](const ChoiceSpace &space, const std::vector<double> &scores,
                        const std::vector<double> &scoresErrors, int64_t models) {
    SelectorContext selector(context, space, "trained");
    const auto selection = choose(selector, *parseSelectorName("kl:trained"));
    EXPECT_TRUE(selection.ok()) << selection.status().message();
    for (size_t layer = 0; layer < scores.size(); ++layer)
      EXPECT_DOUBLE_EQ(selection->scores[layer], scores[layer]) << layer;
    for (size_t layer = 0; layer < scores.size(); ++layer)
      EXPECT_NEAR(selection->standardErrors[layer], scoresErrors[layer], 1e-12) << layer;
    EXPECT_EQ(selection->cost.tokens, 110 * models);
    EXPECT_DOUBLE_EQ(selection->cost.flops, 1.1e6 * static_cast<double>(models));
    return fullLayers(selection->choice);
  };
  const std::vector<double> single = {0.4 - 0.3, 0.4 - 0.1, 0.4 - 0.2, 0};
  EXPECT_EQ(kept(request(4, 1), single, errors, 4), (Layers{1}));
  // As many as bytes admit, where nothing says how many.
  ChoiceSpace space = request(4, 2);
  space.counts.clear();
  space.budgets = {{{"bytes", ""}, "cache_bytes", "bytes", 4096, 220, std::vector<std::vector<int64_t>>(4, {100, 10})}};
  EXPECT_EQ(kept(space, single, errors, 4), (Layers{1, 2}));
  // Two tied layers that gain .1 together are worth less than two of which one alone gains .2.
  space = request(4, 2);
  space.ties = {{{"tie", ""}, {0, 1}}};
  EXPECT_EQ(kept(space, {(0.4 - 0.3) / 2, (0.4 - 0.3) / 2, 0.4 - 0.2, 0}, {0.1, 0.1, 0.1, 0}, 3), (Layers{2, 3}));
}

TEST(SelectionFile, HasTheKeysThatScriptsRelyOn) {
  TemporaryFolder folder;
  StageContext context;
  context.spec.seed = 3;
  context.spec.modelInfo.layers = 6;
  context.spec.modelInfo.vocab = 16;
  context.spec.space = makePlainSpace(6, {"gla"}, 2);
  context.spec.select.method = "uniform";
  context.out = folder.file("select.partial");
  ASSERT_TRUE(context.prepare().ok());
  const auto outcome = runSelect(context);
  ASSERT_TRUE(outcome.ok()) << outcome.status().message();
  const auto json = readJson(context.outPath("selection.json"));
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(parseSpace(json->at("space").dump(), "space")->layerCount(), 6);
  Json rest = *json;
  rest.erase("space");
  EXPECT_EQ(rest, Json::parse(R"({"version": 1, "method": "uniform", "layers": 6, "budget": 2, "kept": [0, 3],
    "choice": ["full", "gla", "gla", "full", "gla", "gla"], "values": [[1, 0], [0, 0], [0, 0], [1, 0], [0, 0], [0, 0]],
    "scores": [1, 0, 0, 1, 0, 0], "cost": {"tokens": 0, "flops": 0, "seconds": 0}, "seed": 3})"));
}

TEST(SelectionFile, IsRefusedForAnotherModel) {
  TemporaryFolder folder;
  StageContext context;
  context.spec.modelInfo.layers = 6;
  context.spec.modelInfo.vocab = 16;
  context.spec.space = makePlainSpace(5, {"gla"}, 2);
  context.out = folder.file("select.partial");
  ASSERT_TRUE(context.prepare().ok());
  EXPECT_FALSE(runSelect(context).ok());
}

TEST(SelectionFile, NamesErrorsAndDriftWhereThereAreSome) {
  Selection selection;
  selection.choice = {1, 0};
  selection.scores = {0.25, 0.75};
  selection.drift = {0.125, 0.5};
  auto json = selectionJson(selection, request(2, 1), "gates", 0);
  EXPECT_EQ(json["drift"].get<std::vector<double>>(), selection.drift);
  EXPECT_FALSE(json.contains("standard_errors"));
  selection.drift.clear();
  selection.standardErrors = {0.1, 0.2};
  json = selectionJson(selection, request(2, 1), "layer_mse", 0);
  EXPECT_EQ(json["standard_errors"].get<std::vector<double>>(), selection.standardErrors);
  EXPECT_FALSE(json.contains("drift"));
}

/// Values of full attention, the other candidate's being 0.
CandidateTable ofFull(const std::vector<double> &scores) {
  CandidateTable values;
  for (double score : scores)
    values.push_back({score, 0});
  return values;
}

/// Two samples at a value, without noise.
std::vector<double> exactly(double value) { return {value, value}; }

TEST(SwapSearch, FindsTheBestPair) {
  // Layers 1 and 4 only help together; 0 alone looks best.
  const ChoiceObjective objective = [](const Choice &choice, int64_t) -> StatusOr<std::vector<double>> {
    const Layers kept = fullLayers(choice);
    double value = 10;
    for (int64_t layer : kept)
      value -= layer == 0 ? 2 : layer == 4 ? 1.5 : layer == 1 ? 1 : 0.1;
    if (kept == Layers{1, 4})
      value -= 5;
    return exactly(value);
  };
  const auto result =
      searchSwaps({0, 1, 1, 0, 1}, ofFull({5, 1, 0, 2, 1.5}), request(5, 2), kEverywhere, 3, 2, objective);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(fullLayers(result->choice), (Layers{1, 4}));
  EXPECT_LE(result->evaluations, 10);
  EXPECT_LT(result->objective, result->firstObjective);
  // A pinned layer stays.
  const auto pinned =
      searchSwaps({0, 1, 1, 0, 1}, ofFull({5, 1, 0, 2, 1.5}), request(5, 2, {0}), kEverywhere, 3, 2, objective);
  ASSERT_TRUE(pinned.ok());
  EXPECT_EQ(fullLayers(pinned->choice), (Layers{0, 4}));
}

TEST(SwapSearch, GoesNoFurtherThanItsReach) {
  // {2, 3} is best, and each step from {0, 1} to it is better than the one before.
  std::set<Layers> asked;
  const ChoiceObjective objective = [&](const Choice &choice, int64_t) -> StatusOr<std::vector<double>> {
    const Layers kept = fullLayers(choice);
    asked.insert(kept);
    return exactly(-static_cast<double>(kept[0] + kept[1]));
  };
  const auto search = [&](double reach) {
    asked.clear();
    return fullLayers(
        searchSwaps({0, 0, 1, 1}, ofFull({0.75, 0.625, 0.5, 0.125}), request(4, 2), reach, 3, 2, objective)->choice);
  };
  EXPECT_EQ(search(kEverywhere), (Layers{2, 3}));
  EXPECT_EQ(search(0), (Layers{0, 1}));
  EXPECT_EQ(asked.size(), 1u);
  // The reach is counted from the first choice: {0, 2} is 1/8 below it, {1, 2} 1/4, what comes next 1/2 and more.
  EXPECT_EQ(search(0.125), (Layers{0, 2}));
  EXPECT_EQ(search(0.25), (Layers{1, 2}));
  EXPECT_EQ(search(0.375), (Layers{1, 2}));
  EXPECT_EQ(asked, (std::set<Layers>{{0, 1}, {0, 2}, {1, 2}}));
}

TEST(SwapSearch, IsNotFooledByNoise) {
  // Every subset is as good as any other; on 64 samples their means differ by chance.
  const auto noisy = [](double gain) -> ChoiceObjective {
    return [gain](const Choice &choice, int64_t samples) -> StatusOr<std::vector<double>> {
      const Layers kept = fullLayers(choice);
      std::string name = "subset";
      for (int64_t layer : kept)
        name += " " + std::to_string(layer);
      Random random(1, name, 0), difficulty(1, "samples", 0);
      std::vector<double> values;
      for (int64_t sample = 0; sample < samples; ++sample)
        // How hard a sample is, is common to all subsets: it falls out of paired differences.
        values.push_back(10 * difficulty.uniform() + random.uniform(-1, 1) - (kept == Layers{2, 6} ? gain : 0));
      return values;
    };
  };
  const CandidateTable scores = ofFull({8, 7, 6, 5, 4, 3, 2, 1});
  const auto noise = searchSwaps({0, 1, 0, 1, 1, 1, 1, 1}, scores, request(8, 2), kEverywhere, 3, 64, noisy(0));
  ASSERT_TRUE(noise.ok());
  EXPECT_EQ(noise->swaps, 0);
  EXPECT_EQ(fullLayers(noise->choice), (Layers{0, 2}));
  EXPECT_EQ(noise->evaluations, 13);
  // What is no better takes on average less than half of the samples to show it.
  EXPECT_LT(noise->samples, 13 * 32);
  // Taking what looks better, as errors = 0 does, follows the noise.
  const auto fooled = searchSwaps({0, 1, 0, 1, 1, 1, 1, 1}, scores, request(8, 2), kEverywhere, 0, 64, noisy(0));
  ASSERT_TRUE(fooled.ok());
  EXPECT_GT(fooled->swaps, 0);
  // A difference beyond it is found, though the samples' own spread is far larger.
  const auto found = searchSwaps({0, 1, 0, 1, 1, 1, 1, 1}, scores, request(8, 2), kEverywhere, 3, 64, noisy(0.8));
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(fullLayers(found->choice), (Layers{2, 6}));
  EXPECT_EQ(found->swaps, 1);
  EXPECT_NEAR(found->gain, 0.8, 4 * found->gainStandardError);
  EXPECT_LT(found->gainStandardError, 0.15);
}

TEST(SwapSearch, SeldomDropsWhatWouldPass) {
  // One exchange, which is better by about five standard errors of all samples: 97 of 100 pass on all of them.
  int64_t found = 0;
  constexpr int64_t kRaces = 400;
  for (int64_t race = 0; race < kRaces; ++race) {
    const ChoiceObjective objective = [race](const Choice &choice, int64_t samples) -> StatusOr<std::vector<double>> {
      Random random(static_cast<uint64_t>(race), choice[0] == 0 ? "first" : "second", 0);
      std::vector<double> values;
      for (int64_t sample = 0; sample < samples; ++sample)
        values.push_back(random.uniform(-1, 1) - (choice[0] == 0 ? 0 : 0.5));
      return values;
    };
    const auto result = searchSwaps({0, 1}, ofFull({2, 1}), request(2, 1), kEverywhere, 3, 64, objective);
    ASSERT_TRUE(result.ok());
    found += result->swaps;
  }
  EXPECT_GT(found, 0.9 * kRaces);
}

TEST(SwapSearch, MeasuresWhatIsFarWorseOnFewSamples) {
  std::map<Choice, int64_t> most;
  const ChoiceObjective objective = [&](const Choice &choice, int64_t samples) -> StatusOr<std::vector<double>> {
    most[choice] = std::max(most[choice], samples);
    Random random(1, "samples", 0);
    std::vector<double> values;
    // Layer 1 is worth much; 3 and 5 are nearly alike.
    for (int64_t sample = 0; sample < samples; ++sample)
      values.push_back(random.uniform() + (choice[1] == 0 ? 0 : 2 + random.uniform()) +
                       (choice[3] == 0 ? 0 : 0.01 * random.uniform(-1, 1.2)));
    return values;
  };
  const auto result =
      searchSwaps({1, 0, 1, 0, 1, 1}, ofFull({0, 5, 0, 4, 0, 3}), request(6, 2), kEverywhere, 3, 64, objective);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(fullLayers(result->choice), (Layers{1, 3}));
  int64_t all = 0;
  for (const auto &[choice, samples] : most) {
    all += samples;
    EXPECT_TRUE(samples == 8 || choice[1] == 0) << testing::PrintToString(choice);
  }
  EXPECT_EQ(result->samples, all);
  EXPECT_EQ(result->evaluations, 9);
}

TEST(SwapSearch, ExchangesKindsTooWithinTheSpace) {
  // Layers 0 and 1 are tied; the best has windows in them, which the bytes admit only beside one kda less costly.
  ChoiceSpace space = makePlainSpace(4, {"kda", "sliding_window"}, 1);
  space.ties = {{{"tie", ""}, {0, 1}}};
  space.budgets = {
      {{"bytes", ""}, "cache_bytes", "bytes", 4096, 125, std::vector<std::vector<int64_t>>(4, {100, 1, 10})}};
  std::set<Choice> asked;
  const ChoiceObjective objective = [&](const Choice &choice, int64_t) -> StatusOr<std::vector<double>> {
    EXPECT_TRUE(satisfies(space, choice));
    asked.insert(choice);
    const Choice best = {2, 2, 1, 0};
    double value = 0;
    for (size_t layer = 0; layer < 4; ++layer)
      value += choice[layer] != best[layer];
    return exactly(value);
  };
  const auto result = searchSwaps({1, 1, 0, 1}, CandidateTable(4, {1, 0.5, 0.75}), space, kEverywhere, 3, 2, objective);
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->choice, (Choice{2, 2, 1, 0}));
  EXPECT_EQ(result->evaluations, static_cast<int64_t>(asked.size())); // What was asked for before counts once.
}

TEST(SwapSearch, NeedsTwoSamples) {
  const auto result =
      searchSwaps({0, 1}, ofFull({1, 2}), request(2, 1), kEverywhere, 3, 1,
                  [](const Choice &, int64_t) -> StatusOr<std::vector<double>> { return std::vector<double>{1}; });
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.status().hint().find("select.samples"), std::string::npos);
}

TEST(MeasuredChoices, AFileWithWrongValuesIsNamed) {
  TemporaryFolder folder;
  const std::string path = folder.file("subsets");
  Checkpoint checkpoint;
  checkpoint.fingerprint = "a";
  checkpoint.state = {{"flops", 1.0}, {"choices", {{{"choice", "all"}, {"kl", {1.0}}}}}};
  ASSERT_TRUE(writeCheckpoint(path, checkpoint).ok());
  const auto opened = MeasuredChoices::open(path, "a", {});
  ASSERT_FALSE(opened.ok());
  EXPECT_NE(opened.status().message().find("'" + path + "' is damaged: "), std::string::npos)
      << opened.status().message();
}

TEST(MeasuredChoices, CostWhatTheyWouldWithoutWhatOthersHaveMeasured) {
  TemporaryFolder folder;
  int64_t measured = 0;
  const auto open = [&] {
    return *MeasuredChoices::open(
        folder.file("shared"), "key",
        [&](const Choice &choice, int64_t begin, int64_t end, MeasureCost &cost) -> StatusOr<ChoiceScores> {
          ChoiceScores scores;
          for (int64_t sample = begin; sample < end; ++sample, ++measured) {
            scores.kl.push_back(static_cast<double>(sample + choice[0]));
            scores.correct.push_back(1);
            cost += {100, 1e3, 0};
          }
          return scores;
        });
  };
  MeasuredChoices first = open();
  ASSERT_TRUE(first.scores({0, 1}, 8).ok() && first.scores({1, 0}, 2).ok());
  EXPECT_EQ(first.cost().tokens, 1000);
  ASSERT_TRUE(first.flush().ok());
  // Fewer samples than are known are these alone; what is beyond them is measured.
  MeasuredChoices second = open();
  EXPECT_EQ(second.count(), 0);
  EXPECT_EQ(second.cost().tokens, 0);
  EXPECT_EQ(second.scores({0, 1}, 2)->kl, (std::vector<double>{0, 1}));
  EXPECT_EQ(measured, 10);
  EXPECT_EQ(second.cost().tokens, 200);
  EXPECT_EQ(second.cost().flops, 2e3);
  EXPECT_EQ(second.scores({1, 0}, 4)->kl, (std::vector<double>{1, 2, 3, 4}));
  EXPECT_EQ(measured, 12);
  EXPECT_EQ(second.cost().tokens, 600);
  EXPECT_EQ(second.count(), 2);
}

TEST(MeasuredChoices, GoOnWhereTheyWereStopped) {
  TemporaryFolder folder;
  const CandidateTable scores = ofFull({8, 7, 6, 5, 4, 3, 2, 1});
  int64_t measured = 0, stopAt = -1;
  bool goesOn = false; // Whether a choice was measured on further samples.
  const auto search = [&](const std::string &file, const std::string &fingerprint) -> StatusOr<SwapResult> {
    MORPH_ASSIGN_OR_RETURN(MeasuredChoices subsets,
                           MeasuredChoices::open(folder.file(file), fingerprint,
                                                 [&](const Choice &choice, int64_t begin, int64_t end,
                                                     MeasureCost &cost) -> StatusOr<ChoiceScores> {
                                                   measured += end - begin;
                                                   goesOn |= begin > 0;
                                                   cost.tokens += 100 * (end - begin);
                                                   // Doubles that have no short decimal form come back exactly.
                                                   double value = 1.0 / 3;
                                                   for (int64_t layer : fullLayers(choice))
                                                     value += std::sin(static_cast<double>(layer * layer)) / 7;
                                                   ChoiceScores scores;
                                                   for (int64_t sample = begin; sample < end; ++sample) {
                                                     const double own = std::sin(value * static_cast<double>(sample));
                                                     scores.kl.push_back(value + 0.01 * own);
                                                     scores.correct.push_back(1 - scores.kl.back());
                                                   }
                                                   return scores;
                                                 }));
    auto result = searchSwaps({0, 0, 1, 1, 1, 1, 1, 1}, scores, request(8, 2), kEverywhere, 3, 16,
                              [&](const Choice &choice, int64_t samples) -> StatusOr<std::vector<double>> {
                                if (measured == stopAt)
                                  return Status::interrupted();
                                MORPH_ASSIGN_OR_RETURN(const ChoiceScores found, subsets.scores(choice, samples));
                                EXPECT_EQ(found.kl.size(), static_cast<size_t>(samples));
                                for (size_t sample = 0; sample < found.kl.size(); ++sample)
                                  EXPECT_EQ(found.correct[sample], 1 - found.kl[sample]);
                                return found.kl;
                              });
    EXPECT_TRUE(subsets.flush().ok());
    EXPECT_EQ(subsets.cost().tokens, 100 * (result.ok() ? result->samples : stopAt));
    return result;
  };
  const auto straight = search("straight", "a");
  ASSERT_TRUE(straight.ok());
  ASSERT_GT(straight->swaps, 1);
  EXPECT_EQ(measured, straight->samples);
  // After a whole choice, and in the middle of one and its rival.
  for (int64_t stop : {2, 6, 12, 40}) {
    SCOPED_TRACE(stop);
    measured = 0;
    goesOn = false;
    stopAt = stop;
    const std::string file = "stopped " + std::to_string(stop);
    EXPECT_EQ(search(file, "a").status().code(), StatusCode::Interrupted);
    stopAt = -1;
    const auto second = search(file, "a");
    ASSERT_TRUE(second.ok());
    // Together they measured what the straight search did, and found the same.
    EXPECT_TRUE(goesOn);
    EXPECT_EQ(measured, straight->samples);
    EXPECT_EQ(second->choice, straight->choice);
    EXPECT_EQ(second->swaps, straight->swaps);
    EXPECT_EQ(second->objective, straight->objective);
    EXPECT_EQ(second->evaluations, straight->evaluations);
  }
  EXPECT_FALSE(search("straight", "another spec").ok());
}

/// The pressure on full attention of layer 0 where the gates of all layers have the same share of it.
double pressureAt(GatePressure &pressure, int64_t step, int64_t layers, double share) {
  return pressure.next(step, CandidateTable(static_cast<size_t>(layers), {share, 1 - share}))[0][0];
}

TEST(Gates, PressureIsRawOrInTheObjectivesUnit) {
  GatePressure relative(request(30, 4), SelectSpec::Pressure::Relative, 0.5, 0.6, 100);
  relative.setUnit(0.4);
  EXPECT_DOUBLE_EQ(pressureAt(relative, 0, 30, 1), 0.2);
  GatePressure raw(request(30, 4), SelectSpec::Pressure::Raw, 0.5, 0.6, 100);
  raw.setUnit(0.4);
  EXPECT_DOUBLE_EQ(pressureAt(raw, 0, 30, 1), 0.5);
}

TEST(Gates, PressureOfTheBudgetGrowsWhileTheSumIsTooLarge) {
  GatePressure pressure(request(30, 4), SelectSpec::Pressure::Budget, 0.1, 0.6, 100);
  pressure.setUnit(0.4);
  pressure.begin(CandidateTable(30, {1, 0}));
  EXPECT_NEAR(pressureAt(pressure, 98, 30, 14.0 / 30), 4, 1e-9);
  EXPECT_NEAR(pressureAt(pressure, 99, 30, 14.0 / 30), 4.4, 1e-9);
  // A number of layers is met from below, too.
  EXPECT_LT(pressureAt(pressure, 99, 30, 0), 4);
}

TEST(Gates, TargetFallsOverTheFirstPart) {
  GatePressure pressure(request(30, 4), SelectSpec::Pressure::Budget, 0.1, 0.6, 100);
  pressure.begin(CandidateTable(30, {1, 0}));
  const PressedBudget &budget = pressure.budgets().front();
  EXPECT_NEAR(pressure.target(budget, 29), 17, 1e-9);
  EXPECT_NEAR(pressure.target(budget, 59), 4, 1e-9);
  EXPECT_NEAR(pressure.target(budget, 99), 4, 1e-9);
}

TEST(Gates, ABudgetOfBytesPressesByWhatEachCandidateCosts) {
  ChoiceSpace space = makePlainSpace(2, {"kda", "sliding_window"}, 1);
  space.counts.clear();
  space.budgets = {{{"bytes", ""}, "cache_bytes", "bytes", 4096, 130, {{101, 1, 11}, {101, 1, 11}}}};
  GatePressure pressure(space, SelectSpec::Pressure::Budget, 0.1, 0.5, 10);
  pressure.begin(CandidateTable(2, {1, 0, 0}));
  // In units of a layer of full attention above the cheapest: of 2 to begin with, 1.28 are left.
  ASSERT_EQ(pressure.budgets().size(), 1u);
  EXPECT_NEAR(pressure.budgets()[0].start, 2, 1e-12);
  EXPECT_NEAR(pressure.target(pressure.budgets()[0], 9), 1.28, 1e-12);
  const CandidateTable over = pressure.next(9, CandidateTable(2, {1, 0, 0}));
  EXPECT_NEAR(over[0][0], 0.72, 1e-12);
  EXPECT_NEAR(over[0][1], 0, 1e-12);
  EXPECT_NEAR(over[0][2], 0.072, 1e-12);
  // What is kept does not pull.
  GatePressure fresh(space, SelectSpec::Pressure::Budget, 0.1, 0.5, 10);
  fresh.begin(CandidateTable(2, {1, 0, 0}));
  EXPECT_EQ(fresh.next(9, CandidateTable(2, {0, 1, 0}))[0][0], 0);
}

/// Gates of layers that all have these candidates beside full attention.
static StatusOr<GateSpace> gatesOf(const ChoiceSpace &space, GateParametrization parametrization) {
  plan::Plan plan;
  for (size_t layer = 0; layer < space.layers.size(); ++layer) {
    plan::Weight weight;
    weight.name = "gate." + std::to_string(layer);
    weight.gate = true;
    weight.layer = static_cast<int64_t>(layer);
    weight.shape = {static_cast<int64_t>(space.layers[layer].size()) - 1};
    if (space.layers[layer].size() > 1)
      plan.weights.push_back(weight);
  }
  return GateSpace::create(plan, space, parametrization);
}

TEST(Gates, OfAnotherNumberOfCandidatesAreRefused) {
  const ChoiceSpace two = makePlainSpace(1, {"gla"}, 0), three = makePlainSpace(1, {"gla", "kda"}, 0);
  plan::Plan plan;
  plan.weights.emplace_back();
  plan.weights[0].name = "gate.0";
  plan.weights[0].gate = true;
  plan.weights[0].layer = 0;
  plan.weights[0].shape = {1};
  EXPECT_TRUE(GateSpace::create(plan, two, GateParametrization::Clamp).ok());
  EXPECT_FALSE(GateSpace::create(plan, three, GateParametrization::Clamp).ok());
  plan.weights.clear();
  EXPECT_FALSE(GateSpace::create(plan, two, GateParametrization::Clamp).ok());
}

/// What the gates' gradients must be: those of the loss sum_i c_i s_i by the variables, by finite differences.
TEST(Gates, VariablesHaveTheGradientsOfTheirGates) {
  for (auto parametrization : {GateParametrization::Softmax, GateParametrization::Sparsemax}) {
    SCOPED_TRACE(toWord(parametrization));
    auto space = gatesOf(makePlainSpace(1, {"gla", "kda"}, 0), parametrization);
    ASSERT_TRUE(space.ok());
    NamedTensors masters = {{"gate.0", at::tensor({1.0f, 0.0f})}};
    space->begin(masters);
    EXPECT_NEAR(masters.at("gate.0")[0].item<float>(), 0.95, 1e-5);
    EXPECT_NEAR(masters.at("gate.0")[1].item<float>(), 0.025, 1e-5);
    const at::Tensor middle = at::tensor({0.3f, 0.2f});
    const auto lossAt = [&](const at::Tensor &variables) {
      NamedTensors some = {{"gate.0", variables.clone()}};
      GateSpace copy = *space;
      copy.afterUpdate(some);
      const std::vector<double> row = copy.shares(some)[0];
      return 2 * row[0] - row[1]; // The last one's coefficient is 0.
    };
    // To the middle, where the gates' gradient is (2, -1).
    masters.at("gate.0").copy_(middle);
    space->afterUpdate(masters);
    NamedTensors gradients = {{"gate.0", at::tensor({1.5f, -1.0f})}};
    space->beforeUpdate(masters, gradients, {{0.5, 0, 0}});
    EXPECT_TRUE(at::allclose(masters.at("gate.0"), middle));
    for (int64_t i = 0; i < 2; ++i) {
      at::Tensor up = middle.clone(), down = middle.clone();
      up[i] += 1e-2;
      down[i] -= 1e-2;
      EXPECT_NEAR(gradients.at("gate.0")[i].item<float>(), (lossAt(up) - lossAt(down)) / 2e-2, 1e-3);
    }
  }
}

TEST(Gates, WhatIsNotAllowedHasNoShareAndTiedLayersHaveOneDistribution) {
  ChoiceSpace choices = makePlainSpace(4, {"gla", "kda"}, 0);
  choices.layers[3] = {{"full", ""}};
  choices.allowed = {{{"pin", ""}, {2}, {"full", "kda"}}}; // And so layer 1, which is tied to it.
  choices.ties = {{{"tie", ""}, {1, 2}}};
  for (auto parametrization :
       {GateParametrization::Clamp, GateParametrization::Softmax, GateParametrization::Sparsemax}) {
    SCOPED_TRACE(toWord(parametrization));
    auto space = gatesOf(choices, parametrization);
    ASSERT_TRUE(space.ok()) << space.status().message();
    NamedTensors masters, gradients;
    for (const std::string name : {"gate.0", "gate.1", "gate.2"})
      masters[name] = at::tensor({1.0f, 0.0f});
    space->begin(masters);
    for (int step = 0; step < 40; ++step) {
      gradients = {{"gate.0", at::tensor({1.0f, -1.0f})},
                   {"gate.1", at::tensor({3.0f, -9.0f})},
                   {"gate.2", at::tensor({-1.0f, -9.0f})}};
      space->beforeUpdate(masters, gradients, CandidateTable(4, {0, 0, 0}));
      EXPECT_TRUE(at::equal(gradients.at("gate.1"), gradients.at("gate.2")));
      for (auto &[name, gate] : masters)
        gate.sub_(gradients.at(name), 0.2);
      space->afterUpdate(masters);
    }
    const CandidateTable shares = space->shares(masters);
    EXPECT_EQ(shares[1], shares[2]);
    EXPECT_NEAR(shares[1][1], 0, 1e-6);
    EXPECT_LT(shares[1][0], 0.9); // Together they are pushed down, by 2.
    EXPECT_GT(shares[0][1], 0.1);
    EXPECT_EQ(shares[3], (std::vector<double>{1}));
  }
}

TEST(Gates, OfThreeCandidatesStayOnTheSimplex) {
  auto space = gatesOf(makePlainSpace(1, {"gla", "kda"}, 0), GateParametrization::Clamp);
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
  EXPECT_EQ(gate[1].item<float>(), 0);
  const auto isSet = [&](int64_t candidate) {
    space->setChoice(masters, {candidate});
    return std::vector<float>(gate.data_ptr<float>(), gate.data_ptr<float>() + 2);
  };
  EXPECT_EQ(isSet(0), (std::vector<float>{1, 0}));
  EXPECT_EQ(isSet(1), (std::vector<float>{0, 1}));
  EXPECT_EQ(isSet(2), (std::vector<float>{0, 0})); // The last candidate has what the others leave.
}

} // namespace
} // namespace morph
