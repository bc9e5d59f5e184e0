// SPDX-License-Identifier: Apache-2.0
// The selectors on real plans: those that the compiler makes of a model of six layers whose weights are chosen so that
// the answer is known.
//
// The residual stream is (1, s_1 ... s_7, noise that tells tokens apart). The attention of layer l adds c_l times the
// first component of the normalised stream to s_{d_l}; its linear branch adds nothing; there is no feed-forward. So a
// gate a_l scales what the layer adds. Layers 4 and 5 add much to the same component: the last norm makes either of
// them nearly as good as both. Layer 1 alone fills another; layers 0, 2 and 3 hardly matter. Of two layers, the best
// are 1 and one of 4 and 5.

#include "runtime/base/AtomicFile.h"
#include "runtime/train/HeldOut.h"
#include "runtime/train/Interrupt.h"
#include "runtime/train/KeptResults.h"
#include "runtime/train/Stages.h"
#include "runtime/train/select/ChoiceJudge.h"
#include "runtime/train/select/Selector.h"
#include "test/plan/WithBf16.h"
#include "test/processes/ProcessesTesting.h"
#include "test/train/TrainTesting.h"

#include <cmath>
#include <numeric>
#include <set>
#include <sstream>

namespace morph {
namespace {

using Layers = std::vector<int64_t>;

constexpr int64_t kLayers = 6;

/// Full attention in these layers, the linear branch in the others.
Choice keeping(const Layers &kept) {
  Choice choice(kLayers, 1);
  for (int64_t layer : kept)
    choice[static_cast<size_t>(layer)] = 0;
  return choice;
}

/// c_l and d_l.
constexpr double kStrength[kLayers] = {0.1, 1, 0.1, 0.1, 4, 4};
constexpr int64_t kComponent[kLayers] = {2, 1, 3, 4, 5, 5};

std::string planPath(const std::string &name) { return std::string(MORPH_SIX_LAYERS) + "/" + name + ".json"; }

at::Tensor noise(at::IntArrayRef shape, double scale, const std::string &name) {
  const at::Tensor values = at::empty(shape);
  Random random(7, name, 0);
  for (int64_t i = 0; i < values.numel(); ++i)
    values.data_ptr<float>()[i] = static_cast<float>(random.uniform(-scale, scale));
  return values;
}

/// The model's weights; `strength` scales all c_l.
std::map<std::string, at::Tensor> weights(double strength) {
  const int64_t hidden = 16, vocabulary = 32;
  std::map<std::string, at::Tensor> result;
  at::Tensor embedding = noise({vocabulary, hidden}, 0.5, "embedding");
  embedding.slice(1, 0, 1).fill_(1);
  embedding.slice(1, 1, 8).zero_();
  result["model.embed_tokens.weight"] = embedding;
  result["lm_head.weight"] = noise({vocabulary, hidden}, 0.8, "head");
  result["model.norm.weight"] = at::ones({hidden});
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    for (const char *name : {"input_layernorm.weight", "post_attention_layernorm.weight"})
      result[prefix + name] = at::ones({hidden});
    for (const char *name : {"mlp.gate_proj.weight", "mlp.up_proj.weight"})
      result[prefix + name] = at::zeros({8, hidden});
    result[prefix + "mlp.down_proj.weight"] = at::zeros({hidden, 8});
    result[prefix + "self_attn.q_proj.weight"] = at::zeros({16, hidden});
    result[prefix + "self_attn.k_proj.weight"] = at::zeros({8, hidden});
    at::Tensor value = at::zeros({8, hidden}), output = at::zeros({hidden, 16});
    value[0][0].fill_(1);
    output[kComponent[layer]][0].fill_(strength * kStrength[layer]);
    result[prefix + "self_attn.v_proj.weight"] = value;
    result[prefix + "self_attn.o_proj.weight"] = output;
    result[prefix + "linear_attn.o_proj.weight"] = at::zeros({hidden, 16});
  }
  return result;
}

class SixLayers : public testing::Test {
protected:
  void SetUp() override { prepare(context, folder, 1); }
  void TearDown() override { requestInterrupt(false); }

  /// A context of stage select in `where`.
  static void prepare(StageContext &context, const TemporaryFolder &where, double strength) {
    const std::string file = where.file("model.safetensors");
    ASSERT_TRUE(writeSafetensors(file, weights(strength)).ok());
    context.weightPaths = {file};
    context.out = where.file("select.partial");
    for (const char *name :
         {"align", "align-forward", "gates", "gates-forward", "distill", "distill-forward", "score", "logits"})
      context.planPaths[name] = planPath(name);
    ResolvedSpec &spec = context.spec;
    spec.seed = 5;
    spec.model.threads = 1;
    spec.modelInfo.layers = kLayers;
    spec.modelInfo.vocab = 32;
    spec.space = makePlainSpace(kLayers, {"lightning"}, 2);
    TaskSpec &task = spec.tasks.emplace_back();
    task.name = "recall";
    task.kind = TaskSpec::Kind::Mqar;
    task.space = TaskSpec::Space::Tokens;
    task.length = {16};
    task.needles = task.queries = 2;
    task.hops = 1;
    task.valueLength = 1;
    task.depth = {0, 1};
    task.background = TaskSpec::Background::Noise;
    task.keyTokens = {8, 16};
    task.valueTokens = {16, 24};
    task.noiseTokens = {0, 8};
    spec.align.length = 16;
    spec.align.tasks = {"recall"};
    spec.align.taskFraction = 1;
    SelectSpec &select = spec.select;
    select.method = "gates";
    select.loss = SelectSpec::Loss::Kl;
    select.pressure = SelectSpec::Pressure::Budget;
    select.steps = 80;
    select.batch = select.accumulate = 1;
    select.tasks = {"recall"};
    select.lr = select.lrEnd = 0.05;
    select.betas = {0.9, 0.999};
    select.lambda = 0.1;
    select.anneal = 0.6;
    select.unitSamples = 16;
    select.refineErrors = 3;
    select.searchTokens = 1000000;
    select.samples = 32;
    select.checkpointEvery = select.logEvery = 20;
    ASSERT_TRUE(context.prepare().ok());
  }

  static StatusOr<Selection> select(const StageContext &context) {
    const auto name = parseSelectorName(context.spec.select.method);
    EXPECT_TRUE(name.ok()) << name.status().message();
    SelectorContext selector(context, context.spec.space, name->option);
    return choose(selector, *name->info);
  }

  /// The loss of a plan on batch 0 with full attention in `kept`.
  double lossOf(const std::string &plan, const Layers &kept) {
    const auto executor = context.executor(plan);
    EXPECT_TRUE(executor.ok()) << executor.status().message();
    for (auto &[name, gate] : (*executor)->masters())
      if (name.rfind("gate.", 0) == 0)
        gate.fill_(std::count(kept.begin(), kept.end(), std::stoll(name.substr(5))) ? 1.0 : 0.0);
    const auto loss = heldOutLoss(**executor, *batches(), 32);
    EXPECT_TRUE(loss.ok()) << loss.status().message();
    return loss->loss;
  }

  std::unique_ptr<BatchStream> batches(BatchStreamOptions options = {}) {
    if (options.stream.empty())
      options.stream = "test";
    auto stream = context.stream(options, {"recall"});
    EXPECT_TRUE(stream.ok()) << stream.status().message();
    return *std::move(stream);
  }

  TemporaryFolder folder;
  StageContext context;
};

/// 1 and one of 4 and 5.
void expectTheBest(const Layers &kept) {
  EXPECT_TRUE(kept == (Layers{1, 4}) || kept == (Layers{1, 5})) << testing::PrintToString(kept);
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
    // The same seed finds the same again, from the file of what was measured: nothing runs a second time.
    const auto again = select(run);
    ASSERT_TRUE(again.ok());
    EXPECT_EQ(again->choice, selection->choice);
    EXPECT_EQ(again->cost.tokens, selection->cost.tokens);
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

TEST_F(SixLayers, SearchesKeepPinsTiesAndPatterns) {
  for (const std::string method :
       {"greedy", "greedy:backward", "beam", "exhaustive", "random_search", "evolution", "add", "drop"}) {
    SCOPED_TRACE(method);
    TemporaryFolder where;
    StageContext run;
    prepare(run, where, 1);
    run.spec.select.method = method;
    run.spec.space.allowed = {{{"keep", ""}, {0}, {"full"}}, {{"linear", ""}, {1}, {"lightning"}}};
    const auto pinned = select(run);
    ASSERT_TRUE(pinned.ok()) << pinned.status().message();
    const Layers kept = fullLayers(pinned->choice);
    EXPECT_TRUE(kept == (Layers{0, 4}) || kept == (Layers{0, 5})) << testing::PrintToString(kept);

    TemporaryFolder elsewhere;
    StageContext tied;
    prepare(tied, elsewhere, 1);
    tied.spec.select.method = method;
    tied.spec.space.ties = {{{"tie", ""}, {1, 2}}, {{"tie", ""}, {3, 4}}};
    const auto both = select(tied);
    ASSERT_TRUE(both.ok()) << both.status().message();
    EXPECT_TRUE(satisfies(tied.spec.space, both->choice));
    EXPECT_EQ(both->choice[1], both->choice[2]);
    EXPECT_EQ(both->choice[3], both->choice[4]);
  }
}

TEST_F(SixLayers, PartnersOfAPinnedLayerAreJudgedBesideIt) {
  // 4 is pinned: 5, which alone is the best to have, adds nothing to it; 1 does.
  for (const std::string method : {"greedy", "beam:1"}) {
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

TEST_F(SixLayers, PartsOfABatchAddUp) {
  // Means over sequences, over weights of rows, and ratios of sums; sequences that are no multiple of the processes,
  // rows that do not all weigh the same, and a sequence without any.
  for (const std::string program : {"align", "gates", "distill", "gates-hidden"}) {
    context.planPaths["program"] = planPath(program);
    context.precision = Precision::F64;
    BatchStreamOptions data;
    data.batch = 5;
    const auto stream = batches(data);
    for (int64_t emptied : {0, 1}) {
      if (emptied && program == "align")
        continue; // It reads all tokens.
      const auto run = [&](const std::shared_ptr<Processes> &all, NamedTensors &gradients, double &loss) {
        const auto executor = context.executor("program");
        ASSERT_TRUE(executor.ok()) << executor.status().message();
        for (auto &[name, master] : (*executor)->masters())
          if (name.rfind("gate.", 0) == 0)
            master.fill_(0.5); // All full attention would have no error.
        const Division division(all, **executor, 1, data.batch);
        EXPECT_EQ(division.idle(), 0) << program;
        Optimizer optimizer = *Optimizer::create(**executor, all);
        const BatchSource source = division.attachTo([&](int64_t index) -> StatusOr<LoopBatch> {
          MORPH_ASSIGN_OR_RETURN(Batch batch, stream->batch(static_cast<uint64_t>(index)));
          LoopBatch result = loopBatch(batch, (*executor)->plan());
          const int64_t rows = emptied ? batch.positions.numel() / 5 : 0; // Those of the first sequence.
          for (const char *name : {"positions", "targets", "weights"})
            if (auto found = result.inputs.find(name); found != result.inputs.end())
              found->second = found->second.slice(0, rows).contiguous();
          if (auto weights = result.inputs.find("weights"); weights != result.inputs.end())
            weights->second = weights->second * at::arange(1, weights->second.numel() + 1);
          return result;
        });
        ASSERT_TRUE(division.owns(0));
        const auto batch = source(0);
        ASSERT_TRUE(batch.ok()) << batch.status().message();
        double own = 0;
        if (batch->share > 0) {
          const auto outputs =
              division.run(*batch, [&] { return optimizer.addBatch(batch->inputs, batch->share, batch->given); });
          ASSERT_TRUE(outputs.ok()) << outputs.status().message();
          own = outputs->at("loss").item<double>() * batch->share;
        }
        ASSERT_TRUE(optimizer.sumGradients().ok());
        const auto sum = all->sum({own});
        ASSERT_TRUE(sum.ok());
        loss = (*sum)[0];
        for (const auto &[name, gradient] : optimizer.gradients())
          gradients[name] = gradient.clone();
      };
      NamedTensors expected;
      double loss = 0;
      run(std::make_shared<Processes>(), expected, loss);
      ASSERT_FALSE(expected.empty());
      EXPECT_GT(std::abs(loss), 1e-3) << program;
      for (int64_t count : {2, 3, 5}) {
        std::vector<NamedTensors> gradients(static_cast<size_t>(count));
        std::vector<double> losses(static_cast<size_t>(count));
        runProcesses(count, [&](const std::shared_ptr<Processes> &all) {
          const auto rank = static_cast<size_t>(all->rank());
          run(all, gradients[rank], losses[rank]);
        });
        EXPECT_NEAR(losses.back(), loss, 1e-12 + 1e-9 * std::abs(loss)) << program << " " << count;
        for (const auto &[name, gradient] : expected)
          EXPECT_LE((gradients.back().at(name) - gradient).abs().max().item<double>(),
                    1e-12 + 1e-9 * gradient.abs().max().item<double>())
              << program << " " << count << " " << name;
      }
    }
  }
}

TEST_F(SixLayers, ForwardPlansGiveTheSameLossAndNoGradient) {
  for (const std::string program : {"align", "gates", "distill"})
    for (bool half : {false, true}) {
      std::set<std::string> trained;
      for (const std::string &name : {program, program + "-forward"}) {
        plan::Plan plan = *plan::readPlan(planPath(name));
        for (const plan::Weight &weight : plan.weights)
          if (weight.trainable)
            trained.insert(weight.name);
        context.planPaths[name] = folder.file(name + ".json");
        ASSERT_TRUE(plan::writePlan(half ? withBf16(plan, trained) : plan, context.planPaths[name]).ok());
      }
      const auto training = context.executor(program);
      ASSERT_TRUE(training.ok()) << training.status().message();
      const auto forward = context.executor(program + "-forward", training->get());
      ASSERT_TRUE(forward.ok()) << forward.status().message();
      for (const plan::Instruction &instruction : (*forward)->plan().instructions)
        EXPECT_EQ(instruction.op.find("_grad"), std::string::npos) << instruction.op;
      EXPECT_LT((*forward)->plan().instructions.size(), (*training)->plan().instructions.size());
      // What is trained is read where it is trained.
      for (auto &[name, master] : (*training)->masters())
        master.mul_(0.75);
      Optimizer optimizer = *Optimizer::create(**training);
      for (uint64_t i = 0; i < 3; ++i) {
        const Batch batch = *batches()->batch(i);
        const at::Tensor whole =
            optimizer.addBatch(loopBatch(batch, (*training)->plan()).inputs, 1)->at("loss").clone();
        const NamedTensors alone = *(*forward)->run(loopBatch(batch, (*forward)->plan()).inputs);
        EXPECT_TRUE(at::equal(whole, alone.at("loss"))) << program << (half ? " in bf16" : "");
        for (const auto &[name, value] : alone)
          EXPECT_EQ(name.find("grad."), std::string::npos) << name;
      }
    }
}

TEST_F(SixLayers, APlanOfAnotherProgramIsAnError) {
  for (const auto &[name, output] : {std::pair("score", "nll"), {"logits", "logits"}, {"gates", "loss"}}) {
    context.planPaths[name] = planPath(name == std::string("gates") ? "score" : "gates");
    const auto executor = context.executor(name);
    ASSERT_FALSE(executor.ok()) << name;
    EXPECT_EQ(executor.status().code(), StatusCode::InvalidInput);
    EXPECT_NE(executor.status().message().find(std::string("no output '") + output + "'"), std::string::npos)
        << executor.status().message();
  }
}

TEST_F(SixLayers, OutputsHaveTheShapeOfTheirName) {
  // Stages read as many numbers as they asked for rows: of a weight they would read what lies behind it.
  for (const std::string name : {"score", "logits", "decode", "gates", "align"}) {
    Json plan = *readJson(planPath(name == "decode" ? "logits" : name));
    const Json good = plan["outputs"];
    for (size_t output = 0; output < good.size(); ++output) {
      const std::string called = good[output]["name"];
      // The executor compares gradients with their weights; what goes into layers is read by nobody.
      if (called.rfind("grad.", 0) == 0 || called.find(".") != std::string::npos)
        continue;
      plan["outputs"] = good;
      plan["outputs"][output]["value"] = plan["weights"][0]["value"];
      const std::string file = folder.file(name + ".json");
      ASSERT_TRUE(writeFile(file, plan.dump()).ok());
      context.planPaths[name] = file;
      const auto executor = context.executor(name);
      ASSERT_FALSE(executor.ok()) << name << ": " << called;
      EXPECT_EQ(executor.status().code(), StatusCode::InvalidInput);
      EXPECT_NE(executor.status().message().find("whose output '" + called + "' has another shape or type"),
                std::string::npos)
          << executor.status().message();
    }
  }
}

TEST_F(SixLayers, GatesFindTheLayers) {
  for (GateParametrization parametrization :
       {GateParametrization::Clamp, GateParametrization::Softmax, GateParametrization::Sparsemax}) {
    TemporaryFolder where;
    StageContext run;
    prepare(run, where, 1);
    run.spec.select.parametrization = parametrization;
    run.spec.select.lr = run.spec.select.lrEnd = parametrization == GateParametrization::Softmax ? 0.2 : 0.05;
    const auto selection = select(run);
    ASSERT_TRUE(selection.ok()) << selection.status().message();
    expectTheBest(fullLayers(selection->choice));
    EXPECT_NEAR(std::accumulate(selection->scores.begin(), selection->scores.end(), 0.0), 2, 0.9)
        << toWord(parametrization);
    // One run: how far it still moved is known, errors over data are not.
    EXPECT_EQ(selection->drift.size(), 6u);
    EXPECT_TRUE(selection->standardErrors.empty());
    EXPECT_TRUE(
        std::all_of(selection->drift.begin(), selection->drift.end(), [](double d) { return d >= 0 && d < 1; }));
  }
}

TEST_F(SixLayers, DriftIsOfTheRunsLastQuarter) {
  context.spec.select.logEvery = 1;
  const auto selection = select(context);
  ASSERT_TRUE(selection.ok()) << selection.status().message();
  std::istringstream lines(fileText(context.outPath("metrics.jsonl")));
  std::vector<std::vector<double>> gates;
  for (std::string line; std::getline(lines, line);) {
    std::vector<double> &full = gates.emplace_back();
    const Json metrics = *parseJson(line, "metrics");
    for (const Json &row : metrics["gates"])
      full.push_back(row[0]);
  }
  ASSERT_EQ(gates.size(), 80u);
  for (size_t layer = 0; layer < 6; ++layer) {
    double mean = 0;
    std::vector<double> last;
    for (size_t step = 0; step < 80; ++step) {
      mean += gates[step][layer] / 80;
      if (step >= 60)
        last.push_back(gates[step][layer]);
    }
    const auto [least, most] = std::minmax_element(last.begin(), last.end());
    EXPECT_DOUBLE_EQ(selection->drift[layer], *most - *least) << layer;
    EXPECT_NEAR(selection->details["mean_gates"][layer].get<double>(), mean, 1e-12) << layer;
  }
}

TEST_F(SixLayers, TheUnitOfThePressureIsMeasuredWithItsError) {
  context.spec.select.steps = 2;
  testing::internal::CaptureStderr();
  const auto selection = select(context);
  EXPECT_EQ(testing::internal::GetCapturedStderr().find("within its noise"), std::string::npos);
  ASSERT_TRUE(selection.ok()) << selection.status().message();
  EXPECT_EQ(selection->cost.tokens, (2 + 16) * 16);
  const auto &unit = selection->details["objective_unit"];
  EXPECT_EQ(unit["samples"], 16);
  const double value = unit["value"], error = unit["standard_error"];
  EXPECT_GT(error, 0);
  EXPECT_LT(error, value / 2);
  EXPECT_NEAR(value, (lossOf("gates-forward", {}) - lossOf("gates-forward", {0, 1, 2, 3, 4, 5})) / 6, 5 * error);
  // More sequences, less error: by the root of eight, give or take.
  TemporaryFolder other;
  StageContext longer;
  prepare(longer, other, 1);
  longer.spec.select.steps = 2;
  longer.spec.select.unitSamples = 128;
  const auto second = select(longer);
  ASSERT_TRUE(second.ok());
  EXPECT_LT(second->details["objective_unit"]["standard_error"].get<double>(), error / 1.7);
}

TEST_F(SixLayers, AUnitThatIsNotPositiveIsAnError) {
  TemporaryFolder other;
  StageContext dead;
  prepare(dead, other, 0); // The attention adds nothing, so its linear branches lose nothing.
  const auto selection = select(dead);
  ASSERT_FALSE(selection.ok());
  EXPECT_NE(selection.status().message().find("making every layer linear raises the objective 'kl' by 0 +- 0 over 16"),
            std::string::npos)
      << selection.status().message();
  EXPECT_NE(selection.status().hint().find("raw"), std::string::npos);
  // The paper's objective needs no unit.
  dead.spec.select.pressure = SelectSpec::Pressure::Raw;
  EXPECT_TRUE(select(dead).ok());
}

TEST_F(SixLayers, AUnitWithinItsNoiseIsSaid) {
  TemporaryFolder other;
  StageContext faint;
  prepare(faint, other, 0.003);
  faint.planPaths["gates"] = planPath("gates-ce");
  faint.planPaths["gates-forward"] = planPath("gates-ce-forward");
  faint.spec.select.loss = SelectSpec::Loss::Ce;
  faint.spec.select.steps = 1;
  // The sign of such a difference is chance: one seed in two has a positive one.
  bool positive = false;
  for (int seed = 0; seed < 8 && !positive; ++seed) {
    faint.seed = static_cast<uint64_t>(seed);
    testing::internal::CaptureStderr();
    positive = select(faint).ok();
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_EQ(said.find("within its noise") != std::string::npos, positive) << said;
  }
  EXPECT_TRUE(positive);
}

TEST_F(SixLayers, RawPressureIsThePapersObjective) {
  // The gradient of lambda times the sum is lambda, whatever the objective's scale.
  context.spec.select.pressure = SelectSpec::Pressure::Raw;
  const auto selection = select(context);
  ASSERT_TRUE(selection.ok()) << selection.status().message();
  EXPECT_FALSE(selection->details.contains("objective_unit"));
  expectTheBest(fullLayers(selection->choice));
}

TEST_F(SixLayers, PinsStay) {
  context.spec.space.allowed = {{{"keep", ""}, {0}, {"full"}}, {{"linear", ""}, {1}, {"lightning"}}};
  const auto selection = select(context);
  ASSERT_TRUE(selection.ok()) << selection.status().message();
  EXPECT_EQ(selection->scores[0], 1);
  EXPECT_EQ(selection->scores[1], 0);
  const Layers kept = fullLayers(selection->choice);
  EXPECT_TRUE(kept == (Layers{0, 4}) || kept == (Layers{0, 5}));
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
  section.method = "gates";
  section.loss = SelectSpec::Loss::Ce;
  for (const std::string suffix : {"", "-forward"})
    context.planPaths["gates" + suffix] = planPath("gates-ce" + suffix);
  section.steps = section.logEvery = 1;
  section.refine = true;
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

TEST_F(SixLayers, ProbesReadWhatIsNotTrainedOn) {
  context.spec.tasks[0].valueLength = 2;
  const auto once = [](auto &section) {
    section.steps = section.accumulate = 1;
    section.batch = 4;
    section.betas = {0.9, 0.99};
    section.lr = section.lrEnd = 1e-12;
  };
  once(context.spec.align);
  once(context.spec.distill);
  DistillSpec &distill = context.spec.distill;
  distill.length = 16;
  distill.tasks = {"recall"};
  distill.taskFraction = 1;
  BatchStreamOptions data;
  data.batch = 4;
  data.length = 16;
  data.sample.split = Split::Selection;
  const auto lossesOn = [&](const std::string &name, const std::string &plan) {
    data.stream = name;
    return heldOutLoss(**context.executor(plan), *batches(data), 2)->losses;
  };
  ASSERT_TRUE(runAlign(context).ok());
  const double aligned = (*readJson(context.outPath("align.json")))["held_out_loss"];
  EXPECT_NEAR(aligned, meanAndError(lossesOn("held-out/align", "align-forward")).mean, 1e-6 * aligned);
  context.out = folder.file("distill.partial");
  std::filesystem::create_directories(context.out);
  const auto outcome = runDistill(context);
  ASSERT_TRUE(outcome.ok()) << outcome.status().message();
  const Json summary = *readJson(context.outPath("distill.json"));
  EXPECT_EQ(summary["held_out_before"]["tasks"]["batches"].get<std::vector<double>>(),
            lossesOn("held-out/distill/tasks", "distill-forward"));
}

/// What a section needs to train a little, on batches of 4 samples.
template <typename Section> void trainBriefly(Section &section, int64_t steps) {
  section.steps = steps;
  section.accumulate = 1;
  section.batch = 4;
  section.betas = {0.9, 0.99};
  section.lr = section.lrEnd = 1e-2;
  section.length = 16;
  section.tasks = {"recall"};
  section.taskFraction = 1;
  section.checkpointEvery = section.logEvery = 100;
}

/// The plan distill-other, of another selection, as distill, with what of the teacher is in `teacher`.
StageContext otherVariant(const StageContext &context, const std::string &out, const std::string &teacher) {
  StageContext result = context;
  result.out = out;
  result.planPaths["distill"] = planPath("distill-other");
  result.planPaths["distill-forward"] = planPath("distill-other-forward");
  result.teacherDir = teacher;
  result.teacherKey = "key";
  std::filesystem::create_directories(out);
  return result;
}

TEST_F(SixLayers, TheTeacherRunsOnceForAllVariants) {
  BatchStreamOptions data;
  data.batch = 4;
  data.length = 16;
  const auto stream = batches(data);
  KeptResults kept(folder.file("teacher"), "key", {"teacher"});
  auto run = [&](const std::string &plan, bool keeps, int64_t &computed) {
    context.planPaths[plan] = planPath(plan);
    const auto executor = context.executor(plan);
    EXPECT_TRUE(executor.ok()) << executor.status().message();
    computed = 0;
    (*executor)->observe([&](size_t, double) { ++computed; });
    const BatchSource source = batchSource(*stream, (*executor)->plan());
    Optimizer optimizer = *Optimizer::create(**executor);
    const LoopBatch batch = *(keeps ? kept.attachTo(source, "train") : source)(0);
    NamedTensors outputs = *optimizer.addBatch(batch.inputs, 1, batch.given);
    if (batch.keep) {
      EXPECT_TRUE(batch.keep(outputs).ok());
    }
    outputs.erase("teacher");
    for (auto &[name, tensor] : outputs)
      tensor = tensor.clone();
    return outputs;
  };
  // Of the first variant nothing is left out; of the second all that is the teacher's but its head.
  int64_t alone = 0, first = 0, whole = 0, second = 0;
  run("distill", false, alone);
  run("distill", true, first);
  EXPECT_EQ(first, alone);
  const NamedTensors expected = run("distill-other", false, whole), actual = run("distill-other", true, second);
  const auto ofTeacher = context.executor("logits"); // The teacher's instructions, of which the head has two.
  ASSERT_TRUE(ofTeacher.ok());
  EXPECT_GE(whole - second, static_cast<int64_t>((*ofTeacher)->plan().instructions.size()) / 2);
  ASSERT_EQ(actual.size(), expected.size());
  for (const auto &[name, value] : expected)
    EXPECT_TRUE(at::equal(actual.at(name), value)) << name;
}

TEST_F(SixLayers, VariantsEndWithTheSameBitsWhereTheTeacherIsKept) {
  trainBriefly(context.spec.distill, 5);
  context.teacherDir = folder.file("teacher");
  context.teacherKey = "key";
  context.out = folder.file("distill");
  std::filesystem::create_directories(context.out);
  ASSERT_TRUE(runDistill(context).ok());
  EXPECT_TRUE(std::filesystem::exists(folder.file("teacher/teacher/train-4.safetensors")));
  EXPECT_TRUE(std::filesystem::exists(folder.file("teacher/teacher/held-out-tasks-1.safetensors")));

  const StageContext alone = otherVariant(context, folder.file("alone"), "");
  const StageContext given = otherVariant(context, folder.file("given"), context.teacherDir);
  ASSERT_TRUE(runDistill(alone).ok());
  requestInterrupt(); // Every start makes one step.
  for (int start = 0; start < 2; ++start)
    EXPECT_EQ(*runDistill(given), StageOutcome::Interrupted);
  requestInterrupt(false);
  std::filesystem::remove(folder.file("teacher/teacher/train-3.safetensors"));
  ASSERT_TRUE(runDistill(given).ok());
  EXPECT_EQ(fileText(given.outPath("weights.safetensors")), fileText(alone.outPath("weights.safetensors")));
  EXPECT_NE(fileText(given.outPath("weights.safetensors")), fileText(context.outPath("weights.safetensors")));
  const Json expected = *readJson(alone.outPath("distill.json")), actual = *readJson(given.outPath("distill.json"));
  for (const char *name : {"first_loss", "last_loss", "held_out_before", "held_out_after"})
    EXPECT_EQ(actual[name], expected[name]) << name;
}

TEST_F(SixLayers, WavesBeginWhereTheOnesBeforeEnded) {
  trainBriefly(context.spec.align, 4);
  context.out = folder.file("whole");
  std::filesystem::create_directories(context.out);
  ASSERT_TRUE(runAlign(context).ok());

  StageContext waves = context;
  waves.out = folder.file("waves");
  std::filesystem::create_directories(waves.out);
  for (const char *name : {"align-1", "align-2", "align-3"}) {
    waves.planPaths[name] = planPath(name);
    waves.planPaths[std::string(name) + "-forward"] = planPath(std::string(name) + "-forward");
  }
  const std::string streams = waves.outPath("checkpoint.streams/");
  requestInterrupt(); // Every start makes one step; the last of a wave goes on to the first of the next.
  for (int start = 0; start < 5; ++start)
    EXPECT_EQ(*runAlign(waves), StageOutcome::Interrupted);
  // Wave 2 has had two steps, on what wave 1 has left of all.
  EXPECT_TRUE(std::filesystem::exists(streams + "stream.2/train-3.safetensors"));
  EXPECT_TRUE(std::filesystem::exists(streams + "stream.4/train-1.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(streams + "stream.4/train-2.safetensors"));
  requestInterrupt(false);
  ASSERT_TRUE(runAlign(waves).ok());
  EXPECT_EQ(fileText(waves.outPath("branches.safetensors")), fileText(context.outPath("branches.safetensors")));
  EXPECT_FALSE(std::filesystem::exists(streams + "stream.2"));
  EXPECT_FALSE(std::filesystem::exists(streams + "stream.4"));
}

TEST_F(SixLayers, AWaveThatIsGivenItsStreamComputesNothingBelow) {
  KeptResults kept(folder.file("kept"), "", {"stream.2"});
  const auto stream = batches();
  auto flopsOf = [&](const std::string &name) {
    context.planPaths[name] = planPath(name);
    const auto executor = context.executor(name);
    EXPECT_TRUE(executor.ok()) << executor.status().message();
    const LoopBatch batch = *kept.attachTo(batchSource(*stream, (*executor)->plan()), "train")(0);
    EXPECT_TRUE(runBatch(**executor, batch).ok());
    return *batchFlops((*executor)->plan(), batch.inputs, (*executor)->steps());
  };
  flopsOf("align-1-forward");
  const double given = flopsOf("align-2-forward");
  kept.forget("stream.2");
  const double all = flopsOf("align-2-forward");
  // Of four layers in all, two with their candidates; attention is most of a layer here.
  EXPECT_GT(given, 0.5 * all);
  EXPECT_LT(given, 0.8 * all);
}

// The next token depends on the one before alone: a wrong token is followed by another than the true one would be.
TEST_F(SixLayers, GenerateAnswersOfTheEvaluationAfterTheirOwnTokens) {
  TaskSpec &task = context.spec.tasks[0];
  task.valueLength = 3;
  task.length = {24};
  EvaluateSpec &section = context.spec.evaluate;
  section.tasks = {"recall"};
  section.samples = 8;
  section.generateSamples = 6;
  section.batch = 4;
  context.planPaths["score"] = planPath("score-base");
  context.planPaths["decode"] = planPath("decode");
  const auto outcome = runEvaluate(context, {"teacher", "selection"});
  ASSERT_TRUE(outcome.ok()) << outcome.status().message();
  const Json rows = *readJson(context.outPath("rows.json"));
  ASSERT_EQ(rows.size(), 1u);
  const Json &generated = rows[0]["generated"], &forced = rows[0]["teacher_forced"];
  ASSERT_EQ(generated["written"].size(), 6u);
  ASSERT_EQ(forced["by_sample"].size(), 8u);

  const auto tasks = context.tasks({"recall"}, nullptr);
  const auto executor = context.executor("logits");
  ASSERT_TRUE(tasks.ok() && executor.ok());
  const auto next = [&](const std::vector<int64_t> &tokens) {
    const at::Tensor row = at::tensor(tokens, at::kLong).view({1, -1});
    return (*executor)
        ->run({{"tokens", row}, {"positions", at::tensor({row.numel() - 1}, at::kLong)}})
        ->at("logits")
        .argmax()
        .item<int64_t>();
  };
  const uint64_t stream = Random::streamSeed(context.seed, "evaluate/recall/24/drawn");
  bool differs = false;
  double right = 0, rightForced = 0;
  for (uint64_t index = 0; index < 8; ++index) {
    const Sample sample = *(*tasks)[0]->sample(stream, index, 24, {std::nullopt, Split::Evaluation});
    std::vector<int64_t> own = sample.tokens;
    std::vector<int64_t> written, afterTrue;
    for (int64_t position : sample.positions) {
      const auto before = [&](const std::vector<int64_t> &tokens) {
        return std::vector<int64_t>(tokens.begin(), tokens.begin() + position + 1);
      };
      own[static_cast<size_t>(position) + 1] = next(before(own));
      written.push_back(own[static_cast<size_t>(position) + 1]);
      afterTrue.push_back(next(before(sample.tokens)));
    }
    for (size_t i = 0; i < sample.targets.size(); ++i)
      rightForced += afterTrue[i] == sample.targets[i];
    if (index >= 6)
      continue;
    EXPECT_EQ(generated["written"][index].get<std::vector<int64_t>>(), written) << index;
    differs |= written != afterTrue;
    for (size_t answer = 0; answer < 2; ++answer)
      right += std::equal(written.begin() + 3 * answer, written.begin() + 3 * answer + 3,
                          sample.targets.begin() + 3 * answer);
  }
  EXPECT_TRUE(differs) << "the test does not test";
  EXPECT_DOUBLE_EQ(generated["answers"].get<double>(), right / 12);
  EXPECT_DOUBLE_EQ(forced["tokens"].get<double>(), rightForced / 48);
}

TEST_F(SixLayers, HeldOutBatchesAreNotMeasuredTwice) {
  const auto executor = context.executor("gates-forward");
  ASSERT_TRUE(executor.ok());
  const HeldOutCheckpoint checkpoint = {folder.file("batches.safetensors"), "test", "test"};
  for (auto &[name, gate] : (*executor)->masters())
    gate.fill_(0.5);
  const auto straight = heldOutLoss(**executor, *batches(), 8);
  const auto first = heldOutLoss(**executor, *batches(), 3, &checkpoint);
  requestInterrupt();
  const auto stopped = heldOutLoss(**executor, *batches(), 8, &checkpoint);
  ASSERT_TRUE(stopped.ok());
  EXPECT_TRUE(stopped->interrupted);
  requestInterrupt(false);
  const auto resumed = heldOutLoss(**executor, *batches(), 8, &checkpoint);
  ASSERT_TRUE(straight.ok() && first.ok() && resumed.ok());
  EXPECT_EQ(straight->losses, resumed->losses);
  EXPECT_EQ(straight->standardError, resumed->standardError);
  EXPECT_EQ(straight->tokens, resumed->tokens);
  EXPECT_EQ(straight->flops, resumed->flops);
  // With other gates every batch would have another loss: what is in the file stays.
  for (auto &[name, gate] : (*executor)->masters())
    gate.fill_(0.25);
  EXPECT_EQ(heldOutLoss(**executor, *batches(), 8, &checkpoint)->losses, straight->losses);
  EXPECT_NE(heldOutLoss(**executor, *batches(), 8)->losses, straight->losses);
}

/// One step at a rate of nothing: every gate stays at 1, so the first two layers are kept, and the exchanges alone find
/// the best ones.
void onlyExchange(SelectSpec &section) {
  section.steps = 1;
  section.lr = section.lrEnd = 1e-9;
  section.batch = 2;
  section.refine = true;
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
  const auto scores = (*judge)->measure(keeping({1, 4}), cost);
  ASSERT_TRUE(scores.ok()) << scores.status().message();
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

TEST_F(SixLayers, GatesGoOnWhereTheyWereStopped) {
  for (GateParametrization parametrization :
       {GateParametrization::Clamp, GateParametrization::Softmax, GateParametrization::Sparsemax}) {
    TemporaryFolder where[2];
    StageContext straight, stopped;
    for (StageContext *run : {&straight, &stopped}) {
      prepare(*run, where[run == &stopped], 1);
      run->spec.select.steps = 12;
      run->spec.select.parametrization = parametrization;
    }
    const auto expected = select(straight);
    ASSERT_TRUE(expected.ok());
    requestInterrupt(); // Every start makes one step.
    for (int start = 0; start < 3; ++start) {
      EXPECT_EQ(select(stopped).status().code(), StatusCode::Interrupted);
    }
    requestInterrupt(false);
    const auto actual = select(stopped);
    ASSERT_TRUE(actual.ok());
    EXPECT_EQ(actual->scores, expected->scores);
    EXPECT_EQ(actual->drift, expected->drift);
    EXPECT_EQ(actual->details, expected->details);
    EXPECT_EQ(actual->cost.tokens, expected->cost.tokens);
    EXPECT_EQ(actual->cost.flops, expected->cost.flops);
  }
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
    const auto values = going->measure(keeping(kept), cost), alone = judge()->measure(keeping(kept), fresh);
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

TEST_F(SixLayers, GatesThatLeaveCandidatesOutGiveTheSameGradients) {
  const auto executor = context.executor("gates");
  ASSERT_TRUE(executor.ok()) << executor.status().message();
  const NamedTensors inputs = loopBatch(*batches()->batch(0), (*executor)->plan()).inputs;
  auto run = [&](float low, float high, int64_t &computed) {
    int64_t layer = 0;
    for (auto &[name, gate] : (*executor)->masters())
      gate.fill_(layer++ % 2 ? low : high);
    computed = 0;
    (*executor)->observe([&](size_t, double) { ++computed; });
    Optimizer optimizer = *Optimizer::create(**executor); // Without gradients of before.
    NamedTensors outputs = *optimizer.addBatch(inputs, 1);
    for (auto &[name, tensor] : outputs)
      tensor = tensor.clone();
    return outputs;
  };
  int64_t some = 0, all = 0;
  // The nearest numbers that leave every candidate a share.
  const NamedTensors exact = run(0, 1, some), near = run(1e-20f, 1 - 1e-7f, all);
  EXPECT_LT(some, all);
  for (const auto &[name, value] : near)
    EXPECT_TRUE(at::allclose(exact.at(name), value, 1e-4, 1e-6)) << name << exact.at(name) << value;
}

} // namespace
} // namespace morph
