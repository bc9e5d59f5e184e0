// SPDX-License-Identifier: Apache-2.0
// Real plans, those that the compiler makes, of a model of six layers whose weights are chosen so that the best layers
// are known.
//
// The residual stream is (1, s_1 ... s_7, noise that tells tokens apart). The attention of layer l adds c_l times the
// first component of the normalised stream to s_{d_l}; its linear branch adds nothing; there is no feed-forward. So a
// gate a_l scales what the layer adds. Layers 4 and 5 add much to the same component: the last norm makes either of
// them nearly as good as both. Layer 1 alone fills another; layers 0, 2 and 3 hardly matter. Of two layers, the best
// are 1 and one of 4 and 5.

#ifndef MORPH_TEST_TRAIN_SIXLAYERS_H
#define MORPH_TEST_TRAIN_SIXLAYERS_H

#include "runtime/base/AtomicFile.h"
#include "runtime/train/HeldOut.h"
#include "runtime/train/Interrupt.h"
#include "runtime/train/Stages.h"
#include "runtime/train/select/Selector.h"
#include "test/train/TrainTesting.h"

namespace morph {

using Layers = std::vector<int64_t>;

inline constexpr int64_t kLayers = 6;

/// Full attention in these layers, the linear branch in the others.
inline Choice keeping(const Layers &kept) {
  Choice choice(kLayers, 1);
  for (int64_t layer : kept)
    choice[static_cast<size_t>(layer)] = 0;
  return choice;
}

/// c_l and d_l.
inline constexpr double kStrength[kLayers] = {0.1, 1, 0.1, 0.1, 4, 4};
inline constexpr int64_t kComponent[kLayers] = {2, 1, 3, 4, 5, 5};

inline std::string planPath(const std::string &name) { return std::string(MORPH_SIX_LAYERS) + "/" + name + ".json"; }

inline at::Tensor noise(at::IntArrayRef shape, double scale, const std::string &name) {
  const at::Tensor values = at::empty(shape);
  Random random(7, name, 0);
  for (int64_t i = 0; i < values.numel(); ++i)
    values.data_ptr<float>()[i] = static_cast<float>(random.uniform(-scale, scale));
  return values;
}

/// The model's weights; `strength` scales all c_l.
inline std::map<std::string, at::Tensor> weights(double strength) {
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
    task.keyLength = 2;
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
    select.taskFraction = 1;
    select.lr = select.lrEnd = 0.05;
    select.betas = {0.9, 0.999};
    select.lambda = 0.1;
    select.anneal = 0.6;
    select.unitSamples = 16;
    select.refineErrors = 3;
    select.refineReach = 0.5;
    select.searchTokens = 1000000;
    select.samples = 32;
    select.checkpointEvery = select.logEvery = 20;
    ASSERT_TRUE(context.prepare().ok());
  }

  /// A run's text, of windows of 12 tokens read at their last four.
  void giveText() {
    context.runDir = folder.file("run");
    std::filesystem::create_directories(context.dataDir());
    std::string tokens;
    Random random(7, "text", 0);
    for (int64_t i = 0; i < 2048; ++i)
      tokens += {static_cast<char>(random.below(32)), 0};
    ASSERT_TRUE(writeFile(context.dataDir() + "/text.tokens", tokens).ok());
    ASSERT_TRUE(writeFile(context.dataDir() + "/text.json",
                          R"({"dtype": "u16", "count": 2048, "documents": 1, "holdout": 0.5})")
                    .ok());
    ASSERT_TRUE(writeFile(context.dataDir() + "/text.documents", std::string(8, '\0')).ok());
    context.spec.distill.length = 12;
    context.spec.distill.textPositions = 4;
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

/// What the run's selector chooses.
inline StatusOr<Selection> select(const StageContext &context) {
  const auto name = parseSelectorName(context.spec.select.method);
  EXPECT_TRUE(name.ok()) << name.status().message();
  SelectorContext selector(context, context.spec.space, name->option);
  return choose(selector, *name);
}

/// 1 and one of 4 and 5.
inline void expectTheBest(const Layers &kept) {
  EXPECT_TRUE(kept == (Layers{1, 4}) || kept == (Layers{1, 5})) << testing::PrintToString(kept);
}

} // namespace morph

#endif // MORPH_TEST_TRAIN_SIXLAYERS_H
