// SPDX-License-Identifier: Apache-2.0
// The sources are transformers' configuration_<name>.py and modeling_<name>.py, version 5.23.

#include "frontends/huggingface/Families.h"

#include <cmath>

using namespace morph;

/// Attention scores and logits are bounded within these; a query's scale is below 1.
static constexpr NumberRange kCapRange{1e-3, 1e6};
static constexpr NumberRange kScalarRange{1e-6, 1e9};

/// The bound that a member says: `fallback` where config.json does not have it, 0 where it is null.
static std::optional<double> readCap(const JsonFile &config, llvm::StringRef path, double fallback) {
  if (!config.has(path))
    return config.isNull(path) ? 0 : fallback;
  return config.getNumber(path, kCapRange);
}

/// Gemma's scale of scores: `query_pre_attn_scalar` ^ -0.5; and that attention is causal. False after an error.
static bool readGemma(const JsonFile &config, ModelConfig &model) {
  std::optional<bool> bidirectional = config.getBoolean("use_bidirectional_attention", false);
  std::optional<double> scalar = config.getNumber("query_pre_attn_scalar", kScalarRange, 256);
  if (!bidirectional || !scalar)
    return false;
  if (*bidirectional) {
    config.error("use_bidirectional_attention", "'use_bidirectional_attention' true is not supported",
                 "a model that sees what follows is no language model");
    return false;
  }
  model.attentionScale = 1 / std::sqrt(*scalar);
  return true;
}

static bool readGemma2(const JsonFile &config, ModelConfig &model) {
  std::optional<double> ofScores = readCap(config, "attn_logit_softcapping", 50);
  std::optional<double> ofLogits = readCap(config, "final_logit_softcapping", 30);
  if (!readGemma(config, model) || !ofScores || !ofLogits)
    return false;
  model.attentionSoftcap = *ofScores;
  model.logitSoftcap = *ofLogits;
  return true;
}

static bool readGemma3(const JsonFile &config, ModelConfig &model) {
  // transformers reads, but does not use, a cap of scores.
  std::optional<double> ofLogits = readCap(config, "final_logit_softcapping", 0);
  if (!readGemma(config, model) || !ofLogits)
    return false;
  model.logitSoftcap = *ofLogits;
  return true;
}

/// `no_rope_layers` has a 1 for each layer with rotary positions, or every `no_rope_layer_interval`-th has none.
/// Without `layer_types` the windows are those of layers without positions.
static bool readSmolLM3(const JsonFile &config, ModelConfig &model) {
  std::optional<int64_t> interval = config.getInteger("no_rope_layer_interval", {1, INT32_MAX}, 4);
  if (!interval)
    return false;
  const llvm::json::Value *given = config.find("no_rope_layers");
  const llvm::json::Array *list = given ? given->getAsArray() : nullptr;
  if (given && (!list || list->size() < model.layers.size())) {
    config.error("no_rope_layers", "'no_rope_layers' is not a list of " + llvm::Twine(model.layers.size()) +
                                       " numbers or more, one for each layer");
    return false;
  }
  for (auto [index, layer] : llvm::enumerate(model.layers)) {
    std::optional<int64_t> rotates = int64_t((index + 1) % static_cast<size_t>(*interval) != 0);
    if (list)
      rotates = (*list)[index].getAsInteger();
    if (!rotates || *rotates < 0 || *rotates > 1) {
      config.error("no_rope_layers", "'no_rope_layers' has neither 0 nor 1 for layer " + llvm::Twine(index));
      return false;
    }
    if (*rotates == 0)
      layer.rope.reset();
  }
  if (config.has("layer_types"))
    return true;
  std::optional<bool> used = config.getBoolean("use_sliding_window", false);
  std::optional<int64_t> window = config.getInteger("sliding_window", kOptionalWindowRange, 0);
  for (LayerConfig &layer : model.layers)
    layer.window = used && *used && window && !layer.rope ? *window : 0;
  return used && window;
}

/// Experts of all layers together. Each has tensors of its own in a checkpoint, all of which the IR names; the largest
/// models that are known have 12 thousand.
static constexpr int64_t kMaxExperts = 1 << 17;

/// The layers whose feed-forward network is a mixture of experts: every `decoder_sparse_step`-th but for those that
/// `mlp_only_layers` names. False after an error.
static bool readExpertLayers(const JsonFile &config, ModelConfig &model) {
  std::optional<int64_t> step = config.getInteger("decoder_sparse_step", {1, INT32_MAX}, 1);
  const llvm::json::Value *given = config.find("mlp_only_layers");
  const llvm::json::Array *dense = given ? given->getAsArray() : nullptr;
  if (!step)
    return false;
  std::vector<bool> &layers = model.experts->layers;
  for (size_t layer = 0; layer < model.layers.size(); ++layer)
    layers.push_back((layer + 1) % static_cast<size_t>(*step) == 0);
  if (given && !dense && !config.isNull("mlp_only_layers")) {
    config.error("mlp_only_layers", "'mlp_only_layers' is not a list of layers");
    return false;
  }
  for (size_t i = 0; dense && i < dense->size(); ++i) {
    std::optional<int64_t> layer = (*dense)[i].getAsInteger();
    if (!layer || *layer < 0 || *layer >= model.getLayerCount()) {
      config.error("mlp_only_layers", "'mlp_only_layers' names no layer of 0 to " +
                                          llvm::Twine(model.getLayerCount() - 1) + " at place " + llvm::Twine(i));
      return false;
    }
    layers[static_cast<size_t>(*layer)] = false;
  }
  return true;
}

/// Experts, and that a window, where one is used, is that of all layers.
static bool readQwen3Moe(const JsonFile &config, ModelConfig &model) {
  // transformers 5 writes the first, Qwen's own checkpoints have the second.
  std::string path = config.has("num_local_experts") ? "num_local_experts" : "num_experts";
  std::optional<int64_t> count = config.getInteger(path, kExpertRange, 128);
  std::optional<int64_t> active = config.getInteger("num_experts_per_tok", kExpertRange, 8);
  std::optional<int64_t> inner = config.getInteger("moe_intermediate_size", kFfnRange, 768);
  std::optional<bool> normalised = config.getBoolean("norm_topk_prob", false);
  std::optional<bool> used = config.getBoolean("use_sliding_window", false);
  std::optional<int64_t> window = config.getInteger("sliding_window", kOptionalWindowRange, 4096);
  if (!count || !active || !inner || !normalised || !used || !window)
    return false;
  if (*active > *count) {
    config.error("num_experts_per_tok", "'num_experts_per_tok' is " + llvm::Twine(*active) + ", more than the " +
                                            llvm::Twine(*count) + " experts that there are");
    return false;
  }
  for (LayerConfig &layer : model.layers)
    layer.window = *used ? *window : 0;
  model.experts = ExpertsConfig{*count, *active, *inner, *normalised, {}, false};
  if (!readExpertLayers(config, model))
    return false;
  int64_t layers = llvm::count(model.experts->layers, true);
  if (*count * layers > kMaxExperts) {
    config.error(path, "the model has " + llvm::Twine(*count) + " experts in each of " + llvm::Twine(layers) +
                           " layers, expected at most " + llvm::Twine(kMaxExperts) + " in all layers together");
    return false;
  }
  return true;
}

/// Whether a layer is none of every `period`-th, of which the first is layer `first`.
template <int64_t period, int64_t first> static std::optional<bool> isBetween(const JsonFile &, int64_t layer) {
  return layer % period != first;
}

static std::optional<bool> isGemma3Window(const JsonFile &config, int64_t layer) {
  std::optional<int64_t> period = config.getInteger("sliding_window_pattern", {1, INT32_MAX}, 6);
  return period ? std::optional((layer + 1) % *period != 0) : std::nullopt;
}

template <typename Change> static Family makeFamily(std::string name, Change change) {
  Family family;
  family.name = std::move(name);
  change(family);
  return family;
}

static std::vector<Family> makeFamilies() {
  auto gemma = [](Family &f) {
    f.tied = true;
    f.headDim = 256;
    f.activationKey = "hidden_activation";
    f.activation = "gelu_pytorch_tanh";
    f.attentionBias = true;
    f.norms = NormPlacement::Both;
    f.normOffset = 1;
    f.scalesEmbedding = true;
    f.windows = WindowRule::LayerTypes;
    f.window = 4096;
    f.members = {"final_logit_softcapping"};
  };
  auto olmo = [](Family &f) {
    f.normEps = 1e-5;
    f.attentionBias = true;
    f.qkNorm = QkNorm::Width;
    f.norms = NormPlacement::After;
  };
  return {
      makeFamily("llama", [](Family &f) { f.attentionBias = true; }),
      // transformers' default is a window of 4096, but every published config says what it has; null: none.
      makeFamily("mistral", [](Family &f) { f.windows = WindowRule::Everywhere; }),
      makeFamily("qwen2",
                 [](Family &f) {
                   f.qkvBias = true;
                   f.windows = WindowRule::IfUsed;
                   f.window = 4096;
                 }),
      makeFamily("qwen3",
                 [](Family &f) {
                   f.headDim = 128;
                   f.attentionBias = true;
                   f.qkNorm = QkNorm::Heads;
                   f.windows = WindowRule::IfUsed;
                   f.window = 4096;
                 }),
      makeFamily("qwen3_moe",
                 [](Family &f) {
                   f.attentionBias = true;
                   f.qkNorm = QkNorm::Heads;
                   f.windows = WindowRule::IfUsed;
                   f.members = {"num_experts", "num_local_experts"};
                   f.readMore = readQwen3Moe;
                 }),
      makeFamily("smollm3",
                 [](Family &f) {
                   f.ropeTheta = 2e6;
                   f.tied = true;
                   f.attentionBias = true;
                   f.windows = WindowRule::IfUsed;
                   f.readMore = readSmolLM3;
                 }),
      makeFamily("olmo2", olmo),
      makeFamily("olmo3",
                 [&](Family &f) {
                   olmo(f);
                   f.ropeTheta = f.windowTheta = 5e5;
                   f.windows = WindowRule::LayerTypes;
                   f.window = 4096;
                   f.hasWindow = isBetween<4, 3>;
                   f.ropeByLayerType = true;
                 }),
      makeFamily("phi3",
                 [](Family &f) {
                   f.normEps = 1e-5;
                   f.windows = WindowRule::Everywhere;
                   f.rotatesPartly = true;
                   f.fused = {{"self_attn.qkv_proj.weight",
                               {"self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"}},
                              {"mlp.gate_up_proj.weight", {"mlp.gate_proj.weight", "mlp.up_proj.weight"}}};
                 }),
      makeFamily("gemma2",
                 [&](Family &f) {
                   gemma(f);
                   f.hasWindow = isBetween<2, 1>;
                   f.members.push_back("attn_logit_softcapping");
                   f.readMore = readGemma2;
                 }),
      makeFamily("gemma3_text",
                 [&](Family &f) {
                   gemma(f);
                   f.qkNorm = QkNorm::Heads;
                   f.hasWindow = isGemma3Window;
                   f.ropeTheta = 1e6;
                   f.ropeByLayerType = true;
                   f.windowThetaKey = "rope_local_base_freq";
                   f.windowTheta = 1e4;
                   f.readMore = readGemma3;
                 }),
      makeFamily("cwm",
                 [](Family &f) {
                   f.normEps = 1e-5;
                   f.ropeTheta = 1e6;
                   f.windows = WindowRule::LayerTypes;
                   f.window = 8192;
                   f.hasWindow = isBetween<4, 0>;
                 }),
  };
}

const std::vector<Family> &morph::getFamilies() {
  static const std::vector<Family> families = makeFamilies();
  return families;
}
