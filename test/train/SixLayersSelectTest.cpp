// SPDX-License-Identifier: Apache-2.0
// The selectors on the model of six layers: whether they find the layers, and what they read, cost and remember.

#include "runtime/train/select/Halo.h"
#include "test/train/SixLayers.h"

#include <cmath>
#include <numeric>
#include <set>
#include <sstream>

namespace morph {
namespace {

/// Layers are full, lightning or none, of which the last two give the same here: nothing. Three are full.
void takeThreeCandidates(StageContext &run) {
  run.spec.space = makePlainSpace(kLayers, {"lightning", "none"}, 3);
  run.planPaths["score"] = planPath("score-three");
}

/// The choices that a run's selector had scored on tasks.
std::vector<Choice> scoredChoices(const StageContext &run) {
  std::vector<Choice> choices;
  const auto saved = readCheckpoint(run.outPath("checkpoint.choices-score.safetensors"), run.key);
  EXPECT_TRUE(saved.ok() && saved->has_value());
  if (saved.ok() && saved->has_value())
    for (const Json &entry : (*saved)->state.at("choices"))
      choices.push_back(entry.at("choice").get<Choice>());
  return choices;
}

TEST_F(SixLayers, HaveTheAnswerThatIsClaimed) {
  std::map<Layers, double> losses;
  for (int64_t a = 0; a < kLayers; ++a)
    for (int64_t b = a + 1; b < kLayers; ++b)
      losses[{a, b}] = lossOf("gates-forward", {a, b});
  for (const auto &[kept, loss] : losses) {
    if (kept != Layers{1, 4} && kept != Layers{1, 5}) {
      EXPECT_GT(loss, 2 * std::max(losses[{1, 4}], losses[{1, 5}])) << testing::PrintToString(kept);
    }
  }
}

TEST_F(SixLayers, SearchesFindTheBest) {
  for (const std::string method : {"greedy", "greedy:backward", "beam:2", "exhaustive", "random_search", "evolution"}) {
    SCOPED_TRACE(method);
    TemporaryFolder where;
    StageContext run;
    prepare(run, where, 1);
    run.spec.select.method = method;
    const auto selection = select(run);
    ASSERT_TRUE(selection.ok()) << selection.status().message();
    expectTheBest(fullLayers(selection->choice));
    EXPECT_EQ(*solve(run.spec.space, selection->values), selection->choice);
    // The same seed finds the same again, in a folder where nothing was measured before.
    TemporaryFolder elsewhere;
    StageContext repeat;
    prepare(repeat, elsewhere, 1);
    repeat.spec.select.method = method;
    const auto again = select(repeat);
    ASSERT_TRUE(again.ok());
    EXPECT_EQ(again->choice, selection->choice);
    EXPECT_EQ(again->scores, selection->scores);
    EXPECT_EQ(again->cost.tokens, selection->cost.tokens);
    // So it does with the file of what was measured.
    const auto known = select(run);
    ASSERT_TRUE(known.ok());
    EXPECT_EQ(known->choice, selection->choice);
    EXPECT_EQ(known->cost.tokens, selection->cost.tokens);
  }
}

// Layers 4 and 5 write the same: each alone is the best to have, and neither alone is missed.
TEST_F(SixLayers, ScoresOfSingleLayersSeeNoRedundance) {
  context.spec.select.method = "add";
  const auto added = select(context);
  ASSERT_TRUE(added.ok()) << added.status().message();
  EXPECT_EQ(fullLayers(added->choice), (Layers{4, 5}));
  EXPECT_EQ(added->standardErrors.size(), 6u);
  // All layers linear, and each layer alone; and the teacher.
  EXPECT_EQ(added->cost.tokens, (6 + 1 + 1) * 32 * 16);

  context.spec.select.method = "drop";
  const auto dropped = select(context);
  ASSERT_TRUE(dropped.ok()) << dropped.status().message();
  EXPECT_GT(dropped->scores[1], dropped->scores[4]);
  for (size_t layer = 0; layer < 6; ++layer) {
    EXPECT_EQ(dropped->values[layer][1], -dropped->scores[layer]);
    EXPECT_GT(dropped->standardErrors[layer], 0);
  }
}

// On text every layer is as strong as on the task: what the KL to the teacher falls most with, alone, are 4 and 5.
TEST_F(SixLayers, KlAndHaloReadText) {
  context.spec.select.method = "kl";
  const auto without = select(context);
  ASSERT_FALSE(without.ok());
  giveText();
  const auto added = select(context);
  ASSERT_TRUE(added.ok()) << added.status().message();
  EXPECT_EQ(fullLayers(added->choice), (Layers{4, 5}));
  EXPECT_EQ(added->cost.tokens, (6 + 1 + 1) * 32 * 12);
  for (size_t layer = 0; layer < 6; ++layer)
    EXPECT_GT(added->standardErrors[layer], 0);

  // The same shares of right tokens that the scorers tell, by the formula.
  context.spec.select.method = "halo";
  const auto chosen = select(context);
  ASSERT_TRUE(chosen.ok()) << chosen.status().message();
  EXPECT_EQ(chosen->cost.tokens, (6 + 1) * 32 * (16 + 12));
  SelectorContext scoring(context, context.spec.space, "");
  std::vector<std::vector<double>> recall, ability;
  for (int64_t dropped = 0; dropped < kLayers; ++dropped) {
    Choice choice(kLayers, 0);
    choice[static_cast<size_t>(dropped)] = 1;
    recall.push_back((*scoring.scorer(ScoredData::Tasks))->scores(choice)->correct);
    ability.push_back((*scoring.scorer(ScoredData::Text))->scores(choice)->correct);
  }
  const std::vector<MeanAndError> scores = haloScores(recall, ability);
  for (size_t layer = 0; layer < 6; ++layer) {
    EXPECT_EQ(chosen->scores[layer], scores[layer].mean) << layer;
    EXPECT_EQ(chosen->standardErrors[layer], scores[layer].standardError) << layer;
  }
}

// Half of the sequences that gates and scores see are windows of text; the others are the prompts that they were.
TEST_F(SixLayers, TextStandsBetweenThePrompts) {
  giveText();
  std::filesystem::create_directories(context.out);
  const auto scoresOf = [&](double taskFraction) {
    context.spec.select.taskFraction = taskFraction;
    context.key = std::to_string(taskFraction);
    SelectorContext scoring(context, context.spec.space, "");
    const auto scorer = scoring.scorer(ScoredData::Tasks);
    EXPECT_TRUE(scorer.ok()) << scorer.status().message();
    return (*scorer)->scores(keeping({1, 4}))->kl;
  };
  const std::vector<double> prompts = scoresOf(1), mixed = scoresOf(0.5);
  ASSERT_EQ(mixed.size(), prompts.size());
  for (size_t i = 0; i < mixed.size(); ++i) {
    EXPECT_EQ(mixed[i] == prompts[i], i % 2 == 1) << i;
  }

  // The cross-entropy, which is not 0 where all layers are full.
  SelectSpec &section = context.spec.select;
  section.loss = SelectSpec::Loss::Ce;
  for (const std::string suffix : {"", "-forward"})
    context.planPaths["gates" + suffix] = planPath("gates-ce" + suffix);
  section.pressure = SelectSpec::Pressure::Raw;
  section.steps = 2;
  section.logEvery = 1;
  section.lr = section.lrEnd = 1e-9;
  const auto selection = select(context);
  ASSERT_TRUE(selection.ok()) << selection.status().message();
  BatchStreamOptions data;
  data.batch = 1;
  data.stream = "select";
  data.sample.split = Split::Selection;
  data.taskFraction = section.taskFraction;
  data.textPositions = context.spec.distill.textPositions;
  const auto executor = context.executor("gates-forward");
  for (auto &[name, gate] : (*executor)->masters())
    if (name.rfind("gate.", 0) == 0)
      gate.fill_(1);
  const std::vector<double> losses = heldOutLoss(**executor, *batches(data), 2)->losses;
  std::istringstream lines(fileText(context.outPath("metrics.jsonl")));
  for (double loss : losses) {
    std::string line;
    ASSERT_TRUE(std::getline(lines, line));
    EXPECT_NEAR((*parseJson(line, "metrics"))["loss"].get<double>(), loss, 1e-6 * loss);
  }
}

TEST_F(SixLayers, EveryChoiceIsMeasured) {
  context.spec.select.method = "exhaustive";
  const auto selection = select(context);
  ASSERT_TRUE(selection.ok()) << selection.status().message();
  const auto &choices = selection->details["choices"];
  ASSERT_EQ(choices.size(), 15u);
  EXPECT_EQ(selection->cost.tokens, (15 + 1) * 32 * 16);
  std::set<Choice> seen;
  for (const auto &entry : choices)
    seen.insert(entry["choice"].get<Choice>());
  EXPECT_EQ(seen.size(), 15u);
  EXPECT_GT(selection->scores[1], selection->scores[0]);
  EXPECT_GT(selection->scores[4], selection->scores[0]);
  // A layer is in 5 of the 15 choices; the score is a mean over samples, and its error is over them.
  SelectorContext scoring(context, context.spec.space);
  const auto scorer = scoring.scorer();
  ASSERT_TRUE(scorer.ok()) << scorer.status().message();
  ASSERT_EQ(selection->standardErrors.size(), 6u);
  for (size_t layer = 0; layer < 6; ++layer) {
    std::vector<double> bySample(32, 0);
    for (const Choice &choice : seen) {
      const std::vector<double> kl = (*scorer)->scores(choice)->kl;
      ASSERT_EQ(kl.size(), bySample.size());
      for (size_t sample = 0; sample < kl.size(); ++sample)
        bySample[sample] += choice[layer] == 0 ? -kl[sample] / 5 : kl[sample] / 10;
    }
    const MeanAndError expected = meanAndError(bySample);
    EXPECT_NEAR(selection->scores[layer], expected.mean, 1e-9) << layer;
    EXPECT_NEAR(selection->standardErrors[layer], expected.standardError, 1e-9) << layer;
    EXPECT_GT(selection->standardErrors[layer], 0) << layer;
  }
}

TEST_F(SixLayers, SearchesSpendWhatTheyAreGiven) {
  SelectSpec &section = context.spec.select;
  for (const std::string method : {"random_search", "evolution"}) {
    TemporaryFolder where;
    StageContext run;
    prepare(run, where, 1);
    run.spec.select.method = method;
    run.spec.select.searchTokens = 3 * 32 * 16 + 100;
    const auto selection = select(run);
    ASSERT_TRUE(selection.ok()) << selection.status().message();
    EXPECT_EQ(selection->details["choices"], 3);
    EXPECT_EQ(selection->cost.tokens, (3 + 1) * 32 * 16);
  }
  section.method = "random_search";
  section.searchTokens = 32 * 16 - 1;
  const auto none = select(context);
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.status().message(), "select.search_tokens = 511 are less than the 512 that one choice takes");
}

TEST_F(SixLayers, SelectorsKeepPinsTiesAndPatterns) {
  giveText();
  const auto prepareWithText = [&](StageContext &run, const TemporaryFolder &where) {
    prepare(run, where, 1);
    run.runDir = context.runDir;
    run.spec.distill = context.spec.distill;
  };
  for (const std::string method : {"greedy", "greedy:backward", "beam", "exhaustive", "random_search", "evolution",
                                   "add", "drop", "kl", "halo", "layer_mse", "gates", "gates+refine", "random"}) {
    SCOPED_TRACE(method);
    // Random choices are any, and halo has shares of right tokens, which are alike here.
    const bool findsTheBest = method != "random" && method != "halo";
    TemporaryFolder where;
    StageContext run;
    prepareWithText(run, where);
    run.spec.select.method = method;
    run.spec.space.allowed = {{{"keep", ""}, {0}, {"full"}}, {{"linear", ""}, {1}, {"lightning"}}};
    const auto pinned = select(run);
    ASSERT_TRUE(pinned.ok()) << pinned.status().message();
    const Layers kept = fullLayers(pinned->choice);
    EXPECT_TRUE(satisfies(run.spec.space, pinned->choice)) << testing::PrintToString(kept);
    if (findsTheBest) {
      EXPECT_TRUE(kept == (Layers{0, 4}) || kept == (Layers{0, 5})) << testing::PrintToString(kept);
    }

    TemporaryFolder elsewhere;
    StageContext tied;
    prepareWithText(tied, elsewhere);
    tied.spec.select.method = method;
    tied.spec.space.ties = {{{"tie", ""}, {1, 2}}, {{"tie", ""}, {3, 4}}};
    const auto both = select(tied);
    ASSERT_TRUE(both.ok()) << both.status().message();
    EXPECT_TRUE(satisfies(tied.spec.space, both->choice));
    EXPECT_EQ(both->choice[1], both->choice[2]);
    EXPECT_EQ(both->choice[3], both->choice[4]);

    // One full layer of each half.
    TemporaryFolder third;
    StageContext halves;
    prepareWithText(halves, third);
    halves.spec.select.method = method;
    CandidateCount half = halves.spec.space.counts.front();
    half.least = half.most = 1;
    half.layers = {0, 1, 2};
    halves.spec.space.counts = {half};
    half.layers = {3, 4, 5};
    halves.spec.space.counts.push_back(half);
    const auto one = select(halves);
    ASSERT_TRUE(one.ok()) << one.status().message();
    EXPECT_TRUE(satisfies(halves.spec.space, one->choice));
    if (findsTheBest) {
      expectTheBest(fullLayers(one->choice));
    }
  }
}

// What a seed gives it gives again where nothing was kept. Another seed's samples are others.
TEST_F(SixLayers, TheSameSeedGivesTheSameScores) {
  giveText();
  for (const std::string method : {"gates", "gates+refine", "drop", "add", "kl", "halo", "layer_mse"}) {
    SCOPED_TRACE(method);
    std::vector<Selection> found;
    for (const uint64_t seed : {5, 5, 6}) {
      TemporaryFolder where;
      StageContext run;
      prepare(run, where, 1);
      run.runDir = context.runDir;
      run.spec.distill = context.spec.distill;
      run.seed = seed;
      run.spec.select.method = method;
      const auto selection = select(run);
      ASSERT_TRUE(selection.ok()) << selection.status().message();
      found.push_back(*selection);
    }
    EXPECT_EQ(found[0].choice, found[1].choice);
    EXPECT_EQ(found[0].scores, found[1].scores);
    EXPECT_EQ(found[0].standardErrors, found[1].standardErrors);
    EXPECT_EQ(found[0].cost.tokens, found[1].cost.tokens);
    if (method != "halo") { // Every token is right here with any layer made linear.
      EXPECT_NE(found[0].scores, found[2].scores);
    }
  }
}

TEST_F(SixLayers, BackwardEndsWhereOtherLayersFitWithAnyCandidates) {
  // Three full layers fit where the others cost 10 each: with candidates that pins ask for, or beside dearer ones.
  for (const bool pins : {true, false}) {
    SCOPED_TRACE(pins);
    TemporaryFolder where;
    StageContext run;
    prepare(run, where, 1);
    takeThreeCandidates(run);
    run.spec.select.method = "greedy:backward";
    run.spec.space.counts.clear();
    const std::vector<int64_t> costs = {100, pins ? 10 : 50, 10};
    run.spec.space.budgets = {
        {{"bytes", ""}, "cache_bytes", "bytes", 4096, 330, std::vector<std::vector<int64_t>>(kLayers, costs)}};
    const Layers pinned = {0, 2, 3};
    if (pins)
      run.spec.space.allowed = {{{"pin", ""}, pinned, {"full", "none"}}};
    const auto selection = select(run);
    ASSERT_TRUE(selection.ok()) << selection.status().message();
    const Choice &choice = selection->choice;
    EXPECT_EQ(fullLayers(choice).size(), 3u) << testing::PrintToString(choice);
    EXPECT_EQ(choice[1], 0);
    EXPECT_TRUE(choice[4] == 0 || choice[5] == 0);
    EXPECT_EQ(selection->cost.tokens, (1 + 6 + 5 + 4) * 32 * 16);
    // The first candidate is taken where it is allowed and fits.
    for (size_t layer = 0; layer < kLayers; ++layer) {
      const bool isPinned = std::count(pinned.begin(), pinned.end(), static_cast<int64_t>(layer)) > 0;
      EXPECT_TRUE(choice[layer] == 0 || choice[layer] == (pins && !isPinned ? 1 : 2)) << layer;
    }
  }
}

TEST_F(SixLayers, NoCandidateIsScoredThatPinsForbid) {
  for (const std::string method : {"greedy", "greedy:backward", "beam:2", "add", "drop"}) {
    SCOPED_TRACE(method);
    TemporaryFolder where;
    StageContext run;
    prepare(run, where, 1);
    takeThreeCandidates(run);
    run.spec.select.method = method;
    run.spec.space.allowed = {{{"pin", ""}, {0, 4}, {"full", "none"}}};
    const auto selection = select(run);
    ASSERT_TRUE(selection.ok()) << selection.status().message();
    const std::vector<std::vector<bool>> allowed = run.spec.space.allowedMask();
    const std::vector<Choice> scored = scoredChoices(run);
    EXPECT_GT(scored.size(), 6u);
    for (const Choice &choice : scored)
      for (size_t layer = 0; layer < kLayers; ++layer)
        EXPECT_TRUE(allowed[layer][static_cast<size_t>(choice[layer])]) << testing::PrintToString(choice);
    // A layer whose first candidate is forbidden has a score by the other.
    if (method == "drop") {
      EXPECT_GT(selection->scores[4], 0);
    }
  }
}

TEST_F(SixLayers, APinnedLayerIsWorthWhatIsLostWithoutIt) {
  context.spec.select.method = "add";
  context.spec.space.allowed = {{{"keep", ""}, {4}, {"full"}}};
  const auto selection = select(context);
  ASSERT_TRUE(selection.ok()) << selection.status().message();
  EXPECT_EQ(selection->cost.tokens, (6 + 1 + 1) * 32 * 16);
  SelectorContext scoring(context, context.spec.space);
  const auto scorer = scoring.scorer();
  ASSERT_TRUE(scorer.ok()) << scorer.status().message();
  const auto kl = [&](const Layers &kept) { return *(*scorer)->kl(keeping(kept)); };
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    const double expected = layer == 4 ? kl({}) - kl({4}) : kl({4}) - kl(layer < 4 ? Layers{layer, 4} : Layers{4, 5});
    EXPECT_NEAR(selection->scores[static_cast<size_t>(layer)], expected, 1e-9) << layer;
  }
  EXPECT_GT(selection->scores[4], 0);
}

TEST_F(SixLayers, PartnersOfAPinnedLayerAreJudgedBesideIt) {
  // 4 is pinned: 5, which alone is the best to have, adds nothing to it; 1 does.
  for (const std::string method : {"greedy", "beam:1", "add"}) {
    TemporaryFolder where;
    StageContext run;
    prepare(run, where, 1);
    run.spec.select.method = method;
    run.spec.space.allowed = {{{"keep", ""}, {4}, {"full"}}};
    const auto selection = select(run);
    ASSERT_TRUE(selection.ok()) << selection.status().message();
    EXPECT_EQ(fullLayers(selection->choice), (Layers{1, 4})) << method;
  }
}

TEST_F(SixLayers, AreRankedByTheirBranchesErrors) {
  context.spec.select.method = "layer_mse";
  const auto selection = select(context);
  ASSERT_TRUE(selection.ok()) << selection.status().message();
  // What the layers add falls as the stream before them grows: layer 5 comes after layer 4.
  const std::vector<double> &scores = selection->scores;
  ASSERT_EQ(scores.size(), 6u);
  EXPECT_GT(scores[4], scores[5]);
  EXPECT_GT(scores[1], scores[5]);
  EXPECT_GT(scores[5], 20 * std::max({scores[0], scores[2], scores[3]}));
  EXPECT_EQ(fullLayers(selection->choice), (Layers{1, 4}));
  ASSERT_EQ(selection->standardErrors.size(), 6u);
  EXPECT_TRUE(selection->drift.empty());
  for (size_t layer = 0; layer < 6; ++layer) {
    EXPECT_GT(selection->standardErrors[layer], 0);
    EXPECT_LT(selection->standardErrors[layer], scores[layer] / 4);
  }
  EXPECT_EQ(selection->cost.tokens, 32 * 16);
}

TEST_F(SixLayers, SelectorsReadWhatNoTrainingStageReads) {
  context.spec.tasks[0].valueLength = 2; // 64 values: enough to divide.
  BatchStreamOptions data;
  data.batch = 1;
  data.sample.split = Split::Selection;
  const auto lossesOn = [&](const std::string &name, int64_t count, const std::string &plan, double gates) {
    data.stream = name;
    const auto executor = context.executor(plan);
    EXPECT_TRUE(executor.ok()) << executor.status().message();
    for (auto &[master, gate] : (*executor)->masters())
      if (master.rfind("gate.", 0) == 0)
        gate.fill_(gates);
    return *heldOutLoss(**executor, *batches(data), count);
  };
  SelectSpec &section = context.spec.select;
  section.samples = 4;
  section.method = "layer_mse";
  const auto ranked = select(context);
  ASSERT_TRUE(ranked.ok()) << ranked.status().message();
  data.length = 16;
  EXPECT_EQ(ranked->scores, lossesOn("held-out/layer_mse", 4, "align-forward", 0).layerLoss);
  data.length = 0;

  // The cross-entropy, which is not 0 where all layers are full.
  section.method = "gates+refine";
  section.loss = SelectSpec::Loss::Ce;
  for (const std::string suffix : {"", "-forward"})
    context.planPaths["gates" + suffix] = planPath("gates-ce" + suffix);
  section.steps = section.logEvery = 1;
  section.lr = section.lrEnd = 1e-9;
  const auto selection = select(context);
  ASSERT_TRUE(selection.ok()) << selection.status().message();
  const MeanAndError rise = pairedDifference(lossesOn("select/unit", 16, "gates-forward", 0).losses,
                                             lossesOn("select/unit", 16, "gates-forward", 1).losses);
  const auto &unit = selection->details["objective_unit"];
  EXPECT_NEAR(unit["value"].get<double>(), rise.mean / 6, 1e-12);
  EXPECT_NEAR(unit["standard_error"].get<double>(), rise.standardError / 6, 1e-12);
  const Json line = *parseJson(fileText(context.outPath("metrics.jsonl")), "metrics");
  EXPECT_EQ(line["loss"].get<double>(), lossesOn("select", 1, "gates-forward", 1).loss);
  // Exchanges go by the KL, whatever the gates lowered.
  context.planPaths["gates-forward"] = planPath("gates-forward");
  const auto executor = context.executor("gates-forward");
  const auto space = GateSpace::create((*executor)->plan(), context.spec.space, section.parametrization);
  space->setChoice((*executor)->masters(), {0, 0, 1, 1, 1, 1});
  data.stream = "select/score";
  const double kl = heldOutLoss(**executor, *batches(data), 4)->loss;
  EXPECT_NEAR(selection->details["refine"]["objective_before"].get<double>(), kl, 1e-5 * kl);
}

/// One step at a rate of nothing: every gate stays at 1, so the first two layers are kept, and the exchanges alone find
/// the best ones.
void onlyExchange(SelectSpec &section) {
  section.steps = 1;
  section.lr = section.lrEnd = 1e-9;
  section.batch = 2;
  section.method = "gates+refine";
}

TEST_F(SixLayers, ExchangesFindTheLayers) {
  for (SelectSpec::Loss loss : {SelectSpec::Loss::Kl, SelectSpec::Loss::FinalHidden}) {
    TemporaryFolder where;
    StageContext run;
    prepare(run, where, 1);
    onlyExchange(run.spec.select);
    run.spec.select.loss = loss;
    if (loss == SelectSpec::Loss::FinalHidden)
      for (const std::string suffix : {"", "-forward"})
        run.planPaths["gates" + suffix] = planPath("gates-hidden" + suffix);
    const auto selection = select(run);
    ASSERT_TRUE(selection.ok()) << selection.status().message();
    const auto &swap = selection->details["refine"];
    EXPECT_EQ(swap["choice_before"].get<Choice>(), (Choice{0, 0, 1, 1, 1, 1}));
    expectTheBest(fullLayers(selection->choice));
    EXPECT_NEAR(swap["gain"].get<double>(),
                swap["objective_before"].get<double>() - swap["objective_after"].get<double>(), 1e-9);
    EXPECT_GT(swap["gain"].get<double>(), 3 * swap["gain_standard_error"].get<double>());
  }
}

TEST_F(SixLayers, ExchangesAfterGatesAreThoseThatTheGatesLeaveOpen) {
  std::set<int64_t> counts;
  for (double reach : {0.15, 0.5}) {
    SCOPED_TRACE(reach);
    TemporaryFolder where;
    StageContext run;
    prepare(run, where, 1);
    run.spec.select.method = "gates+refine";
    run.spec.select.refineErrors = 1e9; // None is taken: all are of the gates' own choice.
    run.spec.select.refineReach = reach;
    const auto selection = select(run);
    ASSERT_TRUE(selection.ok()) << selection.status().message();
    int64_t open = 0;
    for (int64_t in : fullLayers(selection->choice))
      for (size_t out = 0; out < kLayers; ++out)
        open +=
            selection->choice[out] != 0 && selection->scores[static_cast<size_t>(in)] - selection->scores[out] <= reach;
    const int64_t all = 2 * (kLayers - 2);
    EXPECT_LT(open, all);
    EXPECT_EQ(selection->details["refine"]["evaluations"], 1 + open);
    counts.insert(open);
  }
  EXPECT_EQ(counts.size(), 2u);
}

TEST_F(SixLayers, WhatBytesAloneAdmitIsKept) {
  // Two layers' bytes, and nothing that says how many.
  for (const std::string method : {"greedy", "greedy:backward", "beam", "drop", "add", "gates"}) {
    SCOPED_TRACE(method);
    TemporaryFolder where;
    StageContext run;
    prepare(run, where, 1);
    run.spec.select.method = method;
    run.spec.space.counts.clear();
    run.spec.space.budgets = {{{"bytes", ""},
                               "cache_bytes",
                               "bytes",
                               4096,
                               2 * 100 + 4 * 10,
                               std::vector<std::vector<int64_t>>(kLayers, {100, 10})}};
    const auto selection = select(run);
    ASSERT_TRUE(selection.ok()) << selection.status().message();
    EXPECT_EQ(fullLayers(selection->choice).size(), 2u);
    if (method != "drop" && method != "add") // These see no redundance (above).
      expectTheBest(fullLayers(selection->choice));
  }
}

TEST_F(SixLayers, AJudgeGivesTheGatesObjective) {
  const auto executor = context.executor("gates-forward");
  ASSERT_TRUE(executor.ok());
  const auto space = GateSpace::create((*executor)->plan(), context.spec.space, GateParametrization::Clamp);
  ASSERT_TRUE(space.ok());
  const auto stream = batches();
  // The teacher once and the relaxed model alone, or both each time: the same KL of each sequence.
  const auto judge = ChoiceJudge::create(context, executor->get(), context.spec.space, *stream, 8);
  ASSERT_TRUE(judge.ok()) << judge.status().message();
  MeasureCost cost;
  const auto scores = (*judge)->measure(keeping({1, 4}), 0, 8, cost);
  ASSERT_TRUE(scores.ok()) << scores.status().message();
  // A part of the batches gives these batches' scores.
  MeasureCost partCost;
  const auto part = (*judge)->measure(keeping({1, 4}), 3, 5, partCost);
  ASSERT_TRUE(part.ok());
  EXPECT_EQ(part->kl, (std::vector<double>{scores->kl[3], scores->kl[4]}));
  EXPECT_EQ(partCost.tokens, 2 * 16);
  // They share the gates that one sets.
  EXPECT_EQ(space->shares((*executor)->masters()), (CandidateTable{{0, 1}, {1, 0}, {0, 1}, {0, 1}, {1, 0}, {0, 1}}));
  const auto whole = heldOutLoss(**executor, *stream, 8);
  ASSERT_TRUE(whole.ok());
  ASSERT_EQ(scores->kl.size(), 8u);
  for (size_t sample = 0; sample < 8; ++sample) {
    EXPECT_NEAR(scores->kl[sample], whole->losses[sample], 1e-5 * whole->losses[sample]);
    EXPECT_GE(scores->correct[sample], 0);
    EXPECT_LE(scores->correct[sample], 1);
  }
  EXPECT_EQ((*judge)->teacherCost().tokens, 8 * 16);
  EXPECT_GT((*judge)->teacherCost().flops, 0);
  EXPECT_EQ(cost.tokens, 8 * 16);
  EXPECT_LT(cost.flops, 0.8 * whole->flops);
}

TEST_F(SixLayers, SelectorsFindWhatOthersHaveMeasured) {
  TemporaryFolder shared;
  const auto run = [&](const std::string &method, bool shares) {
    TemporaryFolder where;
    StageContext own;
    prepare(own, where, 1);
    own.spec.select.method = method;
    if (shares) {
      own.choicesDir = shared.file("");
      own.choicesKey = "key";
    }
    const auto selection = select(own);
    EXPECT_TRUE(selection.ok()) << selection.status().message();
    return *selection;
  };
  const auto known = [&] {
    const auto saved = readCheckpoint(shared.file("score.safetensors"), "key");
    return saved.ok() && *saved ? (*saved)->step : -1;
  };
  EXPECT_EQ(known(), -1);
  run("drop", true);
  EXPECT_EQ(known(), kLayers); // One choice a layer, though all took less than the file waits for.
  // Its first six choices are there; it chooses and costs as it would alone.
  const Selection with = run("greedy:backward", true), without = run("greedy:backward", false);
  EXPECT_EQ(known(), 6 + 5 + 4 + 3);
  EXPECT_EQ(with.choice, without.choice);
  EXPECT_EQ(with.cost.tokens, without.cost.tokens);
}

TEST_F(SixLayers, AreJudgedAgainstTheBaseItself) {
  const auto kl = [&](const Layers &kept) {
    const auto stream = batches();
    const auto judge = ChoiceJudge::create(context, nullptr, context.spec.space, *stream, 4);
    EXPECT_TRUE(judge.ok()) << judge.status().message();
    MeasureCost cost;
    return meanAndError((*judge)->measure(keeping(kept), 0, 4, cost)->kl).mean;
  };
  EXPECT_NEAR(kl({0, 1, 2, 3, 4, 5}), 0, 1e-7);
  const double without = kl({0, 2, 3, 4, 5});
  EXPECT_GT(without, 1e-3);
  // Where training has changed what the base has, too, the teacher does not follow: a layer that it made add nothing
  // is as one with its linear branch.
  auto trained = weights(1);
  const std::string name = "model.layers.1.self_attn.o_proj.weight", file = folder.file("trained.safetensors");
  ASSERT_TRUE(writeSafetensors(file, {{name, at::zeros_like(trained[name])}}).ok());
  context.weightPaths.push_back(file);
  EXPECT_NEAR(kl({0, 1, 2, 3, 4, 5}), without, 1e-6);
}

TEST_F(SixLayers, AnEmptyChoiceIsTheTeacherItself) {
  const auto stream = batches();
  const auto judge = ChoiceJudge::create(context, nullptr, context.spec.space, *stream, 64);
  ASSERT_TRUE(judge.ok()) << judge.status().message();
  MeasureCost cost, none;
  const auto full = (*judge)->measure(keeping({0, 1, 2, 3, 4, 5}), 0, 64, cost);
  const auto teacher = (*judge)->measure(Choice(), 0, 64, none), part = (*judge)->measure(Choice(), 1, 3, none);
  ASSERT_TRUE(full.ok() && teacher.ok() && part.ok());
  // The base answers as the relaxed model does with all layers full.
  EXPECT_EQ(teacher->correct, full->correct);
  EXPECT_EQ(teacher->kl, std::vector<double>(64, 0));
  EXPECT_EQ(part->correct, (std::vector<double>{teacher->correct[1], teacher->correct[2]}));
  // It has run before.
  EXPECT_EQ(none.tokens, 0);
  EXPECT_EQ(none.flops, 0);
}

TEST_F(SixLayers, ExchangesGoOnWhereTheyWereStopped) {
  onlyExchange(context.spec.select);
  TemporaryFolder other;
  StageContext stopped;
  prepare(stopped, other, 1);
  onlyExchange(stopped.spec.select);
  const auto straight = select(context);
  ASSERT_TRUE(straight.ok());
  requestInterrupt(); // The loop's last step is not stopped; the exchanges are.
  EXPECT_EQ(select(stopped).status().code(), StatusCode::Interrupted);
  requestInterrupt(false);
  const auto second = select(stopped);
  ASSERT_TRUE(second.ok()) << second.status().message();
  EXPECT_EQ(second->choice, straight->choice);
  EXPECT_EQ(second->scores, straight->scores);
  EXPECT_EQ(second->details, straight->details);
  EXPECT_EQ(second->cost.tokens, straight->cost.tokens);
  // What the stopped one had of lower layers is gone.
  EXPECT_GE(second->cost.flops, straight->cost.flops);
}

TEST_F(SixLayers, PartsOfTheSamplesAreWholeBatches) {
  context.spec.select.batch = 3;
  context.spec.select.samples = 9;
  SelectorContext selector(context, context.spec.space);
  const auto scorer = selector.scorer();
  ASSERT_TRUE(scorer.ok()) << scorer.status().message();
  const int64_t teacher = (*scorer)->cost().tokens; // Of all nine.
  const auto scores = (*scorer)->scores(keeping({1, 4}), 4);
  ASSERT_TRUE(scores.ok());
  EXPECT_EQ(scores->kl.size(), 6u);
  EXPECT_EQ((*scorer)->cost().tokens - teacher, teacher * 6 / 9);
}

TEST_F(SixLayers, AChoiceGoesOnFromTheFirstLayerThatDiffers) {
  const auto executor = context.executor("gates");
  ASSERT_TRUE(executor.ok()) << executor.status().message();
  const auto stream = batches();
  auto judge = [&] {
    auto made = ChoiceJudge::create(context, executor->get(), context.spec.space, *stream, 3);
    EXPECT_TRUE(made.ok()) << made.status().message();
    return *std::move(made);
  };
  const auto going = judge();
  double before = 0;
  // Subsets, and how many of the six layers are as before.
  const std::vector<std::pair<Layers, double>> subsets = {{{1, 4}, 0},    {{1, 5}, 4}, {{0, 1}, 0},
                                                          {{0, 1, 2}, 2}, {{4}, 0},    {{4}, 6}};
  for (const auto &[kept, same] : subsets) {
    SCOPED_TRACE(testing::PrintToString(kept));
    MeasureCost cost, fresh;
    const auto values = going->measure(keeping(kept), 0, 3, cost), alone = judge()->measure(keeping(kept), 0, 3, fresh);
    ASSERT_TRUE(values.ok() && alone.ok()) << values.status().message() << alone.status().message();
    EXPECT_EQ(values->kl, alone->kl);
    EXPECT_EQ(values->correct, alone->correct);
    EXPECT_EQ(cost.tokens, fresh.tokens);
    if (before == 0)
      EXPECT_EQ(cost.flops, fresh.flops);
    else
      EXPECT_LT(cost.flops, (6 - same + 1.2) / 6 * fresh.flops) << "layers below the difference were computed again";
    before = cost.flops;
  }
}

} // namespace
} // namespace morph
