// SPDX-License-Identifier: Apache-2.0

#include "frontends/huggingface/Config.h"

#include "frontends/huggingface/Rope.h"
#include "frontends/spec/Schema.h"

using namespace morph;

namespace {

/// What the four architectures differ in.
struct Family {
  llvm::StringLiteral name;
  bool alwaysQkvBias;
  bool attentionBiasOption; ///< `attention_bias` sets the biases of all four projections.
  bool qkNorm;
  bool headDimDefaults128; ///< Qwen3's own default, instead of hidden / heads.
  bool windowOption;       ///< `use_sliding_window`, `max_window_layers` and `layer_types`.
  bool windowEverywhere;   ///< `sliding_window` holds for every layer.
};

constexpr Family kFamilies[] = {
    {"llama", false, true, false, false, false, false},
    {"mistral", false, false, false, false, false, true},
    {"qwen2", true, false, false, false, true, false},
    {"qwen3", false, true, true, true, true, false},
};

/// Configuration members that would change the model; refused where they are present and not the neutral value.
constexpr llvm::StringLiteral kRefused[] = {"quantization_config", "attn_logit_softcapping", "final_logit_softcapping",
                                            "num_local_experts", "num_experts"};

const Family *findFamily(const JsonFile &config, llvm::StringRef path, llvm::StringRef type) {
  llvm::SmallVector<llvm::StringRef> names;
  for (const Family &family : kFamilies) {
    if (family.name == type)
      return &family;
    names.push_back(family.name);
  }
  llvm::StringRef nearest = findNearest(type, names);
  config.error(path, "the architecture '" + type + "' is not supported",
               "supported are llama, mistral, qwen2 and qwen3" +
                   (nearest.empty() ? std::string() : "; did you mean '" + nearest.str() + "'?"));
  return nullptr;
}

/// The element type of weights, from `dtype` (transformers 5) or `torch_dtype`.
std::optional<WeightType> readWeightType(const JsonFile &config) {
  std::string path = config.has("dtype") ? "dtype" : "torch_dtype";
  std::optional<std::string> name = config.getString(path, "bfloat16");
  if (!name)
    return std::nullopt;
  if (*name == "bfloat16")
    return WeightType::BF16;
  if (*name == "float16")
    return WeightType::F16;
  if (*name == "float32" || *name == "auto")
    return WeightType::F32;
  config.error(path, "the weights' type '" + *name + "' is not supported",
               "supported are float32, float16 and bfloat16");
  return std::nullopt;
}

/// The kinds that `layer_types` names. Returns false after an error.
bool readLayerTypes(const JsonFile &config, const Family &family, int64_t window, std::vector<LayerConfig> &layers) {
  const llvm::json::Array *types = config.find("layer_types")->getAsArray();
  if (!types || types->size() != layers.size()) {
    config.error("layer_types",
                 "'layer_types' is not a list of " + llvm::Twine(layers.size()) + " strings, one for each layer");
    return false;
  }
  for (auto [index, value] : llvm::enumerate(*types)) {
    llvm::StringRef type = value.getAsString().value_or("");
    LayerConfig &layer = layers[index];
    if (type == "full_attention" || type == "full") {
      layer = LayerConfig();
    } else if (type == "sliding_attention" && window > 0) {
      layer = LayerConfig();
      layer.window = window;
    } else {
      config.error("layer_types",
                   "layer " + llvm::Twine(index) + " has the type '" + type + "', which a " + family.name +
                       " model cannot have here",
                   type.starts_with("sliding") ? "a sliding layer needs a 'sliding_window'" : "");
      return false;
    }
  }
  return true;
}

/// Sliding windows and layer types of a base. Returns false after an error.
bool readLayers(const JsonFile &config, const Family &family, std::vector<LayerConfig> &layers) {
  int64_t window = 0;
  if (family.windowEverywhere || family.windowOption) {
    // Mistral's default is in transformers a window of 4096, but every published config says what it has; null: none.
    std::optional<int64_t> given = config.getInteger("sliding_window", kOptionalWindowRange, 0);
    std::optional<bool> used = config.getBoolean("use_sliding_window", false);
    if (!given || !used)
      return false;
    if (family.windowEverywhere || *used)
      window = *given;
    if (family.windowOption && *used && *given == 0 && !config.has("sliding_window"))
      window = 4096;
  } else if (config.has("sliding_window")) {
    config.error("sliding_window", "'sliding_window' is not supported for " + family.name + " models");
    return false;
  }
  if (config.has("layer_types") && family.windowOption)
    return readLayerTypes(config, family, window, layers);
  if (config.has("layer_types") && family.windowEverywhere) {
    config.error("layer_types", "'layer_types' is not supported for " + family.name + " models");
    return false;
  }
  std::optional<int64_t> first = family.windowOption ? config.getInteger("max_window_layers", {0, INT32_MAX}, 28) : 0;
  if (!first)
    return false;
  if (window > 0)
    for (size_t layer = *first; layer < layers.size(); ++layer)
      layers[layer].window = window;
  return true;
}

/// The options of a linear mixer, numbers and truth values by name. Returns false after an error at the member `path`.
bool readOptions(const JsonFile &config, llvm::StringRef path, const llvm::json::Value &options, LayerConfig &layer) {
  const llvm::json::Object *object = options.getAsObject();
  if (!object) {
    config.error(path, "the options of a mixer are not an object");
    return false;
  }
  for (const auto &option : *object)
    if (!option.second.getAsNumber() && !option.second.getAsBoolean()) {
      config.error(path,
                   "the option '" + llvm::StringRef(option.first) + "' of a mixer is not a number, true or false");
      return false;
    }
  layer.options = *object;
  return true;
}

/// The token mixers that a hybrid export says layer by layer. Returns false after an error.
bool readMixers(const JsonFile &config, std::vector<LayerConfig> &layers) {
  const llvm::json::Value *list = config.find("morph.mixers");
  const llvm::json::Array *mixers = list ? list->getAsArray() : nullptr;
  if (!mixers || mixers->size() != layers.size()) {
    config.error("morph.mixers",
                 "'morph.mixers' is not a list of " + llvm::Twine(layers.size()) + " objects, one for each layer");
    return false;
  }
  for (auto [index, value] : llvm::enumerate(*mixers)) {
    const llvm::json::Object *mixer = value.getAsObject();
    std::optional<llvm::StringRef> kind = mixer ? mixer->getString("kind") : std::nullopt;
    LayerConfig &layer = layers[index];
    layer = LayerConfig();
    if (!kind) {
      config.error("morph.mixers", "the mixer of layer " + llvm::Twine(index) + " has no 'kind'");
      return false;
    }
    layer.kind = kind->str();
    layer.window = mixer->getInteger("window").value_or(0);
    layer.weights = mixer->getString("weights").value_or("linear_attn").str();
    if (const llvm::json::Value *options = mixer->get("options"))
      if (!readOptions(config, "morph.mixers", *options, layer))
        return false;
    if (layer.window < kOptionalWindowRange.minimum || layer.window > kOptionalWindowRange.maximum) {
      config.error("morph.mixers", "the 'window' of layer " + llvm::Twine(index) + " is not within " +
                                       llvm::Twine(kOptionalWindowRange.minimum) + " to " +
                                       llvm::Twine(kOptionalWindowRange.maximum));
      return false;
    }
  }
  return true;
}

/// The mixers of a hybrid export. Returns false after an error.
bool readHybrid(const JsonFile &config, ModelConfig &model) {
  if (!readMixers(config, model.layers))
    return false;
  std::optional<double> eps = config.getNumber("morph.norm_eps", kNormEpsRange, model.normEps);
  if (eps)
    model.mixerNormEps = *eps;
  return eps.has_value();
}

std::optional<Activation> readActivation(const JsonFile &config) {
  std::optional<std::string> name = config.getString("hidden_act", "silu");
  if (!name)
    return std::nullopt;
  if (*name == "silu" || *name == "swish")
    return Activation::Silu;
  if (*name == "gelu_pytorch_tanh" || *name == "gelu_new")
    return Activation::GeluTanh;
  if (*name == "quick_gelu")
    return Activation::QuickGelu;
  config.error("hidden_act", "the activation '" + *name + "' is not supported",
               "supported are silu, gelu_pytorch_tanh and quick_gelu");
  return std::nullopt;
}

} // namespace

std::optional<ModelConfig> morph::readModelConfig(const JsonFile &config) {
  std::optional<std::string> type = config.getString("model_type");
  if (!type)
    return std::nullopt;
  std::string familyPath = "model_type";
  bool isHybrid = *type == "morph_hybrid";
  if (isHybrid) {
    familyPath = "base_model_type";
    type = config.getString(familyPath);
    if (!type)
      return std::nullopt;
  }
  const Family *family = findFamily(config, familyPath, *type);
  if (!family)
    return std::nullopt;

  for (llvm::StringRef name : kRefused)
    if (config.has(name)) {
      config.error(name, "'" + name + "' is not supported",
                   name == "quantization_config" ? "give a checkpoint that is not quantised" : "");
      return std::nullopt;
    }
  std::optional<Activation> activation = readActivation(config);
  std::optional<bool> mlpBias = config.getBoolean("mlp_bias", false);
  std::optional<bool> attentionBias = config.getBoolean("attention_bias", false);
  std::optional<bool> tied = config.getBoolean("tie_word_embeddings", false);
  if (!activation || !mlpBias || !attentionBias || !tied)
    return std::nullopt;
  if (*mlpBias) {
    config.error("mlp_bias", "'mlp_bias' true is not supported");
    return std::nullopt;
  }

  ModelConfig model;
  model.architecture = family->name.str();
  model.activation = *activation;
  model.tied = *tied;
  model.qkNorm = family->qkNorm;
  model.qkvBias = family->alwaysQkvBias || (family->attentionBiasOption && *attentionBias);
  model.outputBias = family->attentionBiasOption && *attentionBias;

  std::optional<int64_t> layers = config.getInteger("num_hidden_layers", kLayerRange);
  std::optional<int64_t> hidden = config.getInteger("hidden_size", kHiddenRange);
  std::optional<int64_t> ffn = config.getInteger("intermediate_size", kFfnRange);
  std::optional<int64_t> vocab = config.getInteger("vocab_size", kVocabRange);
  std::optional<int64_t> heads = config.getInteger("num_attention_heads", kHeadRange);
  if (!layers || !hidden || !ffn || !vocab || !heads)
    return std::nullopt;
  std::optional<int64_t> kvHeads = config.getInteger("num_key_value_heads", kHeadRange, *heads);
  std::optional<int64_t> headDim =
      config.getInteger("head_dim", kHeadDimRange, family->headDimDefaults128 ? int64_t(128) : *hidden / *heads);
  std::optional<int64_t> positions = config.getInteger("max_position_embeddings", kPositionRange, 2048);
  std::optional<double> eps = config.getNumber("rms_norm_eps", kNormEpsRange, 1e-6);
  if (!kvHeads || !headDim || !positions || !eps)
    return std::nullopt;
  if (*heads % *kvHeads != 0) {
    config.error("num_key_value_heads", "'num_key_value_heads' is " + llvm::Twine(*kvHeads) +
                                            ", which does not divide 'num_attention_heads' " + llvm::Twine(*heads));
    return std::nullopt;
  }
  if (!config.has("head_dim") && !family->headDimDefaults128 && *hidden % *heads != 0) {
    config.error("hidden_size",
                 "'hidden_size' " + llvm::Twine(*hidden) + " is not a multiple of 'num_attention_heads' " +
                     llvm::Twine(*heads),
                 "give 'head_dim' where the heads are not hidden_size / num_attention_heads wide");
    return std::nullopt;
  }
  // Computed from the other two it may lie out of its range.
  if (*headDim % 2 != 0 || *headDim < kHeadDimRange.minimum || *headDim > kHeadDimRange.maximum) {
    config.error(config.has("head_dim") ? "head_dim" : "hidden_size",
                 "the head dimension is " + llvm::Twine(*headDim) + ", expected an even number from " +
                     llvm::Twine(kHeadDimRange.minimum) + " to " + llvm::Twine(kHeadDimRange.maximum));
    return std::nullopt;
  }
  model.vocab = *vocab;
  model.hidden = *hidden;
  model.ffn = *ffn;
  model.heads = *heads;
  model.kvHeads = *kvHeads;
  model.headDim = *headDim;
  model.maxPositions = *positions;
  model.normEps = *eps;
  model.layers.resize(*layers);

  std::optional<RopeConfig> rope = readRope(config, *headDim, *positions);
  std::optional<WeightType> weightType = readWeightType(config);
  if (!rope || !weightType || !(isHybrid ? readHybrid(config, model) : readLayers(config, *family, model.layers)))
    return std::nullopt;
  model.rope = std::move(*rope);
  model.weightType = *weightType;
  return model;
}
