// SPDX-License-Identifier: Apache-2.0

#include "frontends/huggingface/Config.h"

#include "frontends/huggingface/Families.h"
#include "frontends/huggingface/Rope.h"
#include "frontends/spec/Schema.h"

#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/StringExtras.h"

#include <cmath>

using namespace morph;

namespace {

/// Configuration members that would change the model; refused where they are present and the family has none.
constexpr llvm::StringLiteral kRefused[] = {"attn_logit_softcapping", "final_logit_softcapping", "num_local_experts",
                                            "num_experts"};

/// Formats of hybrids that are written (tools/python/export/targets) and not read.
constexpr llvm::StringLiteral kNativeExports[] = {"granitemoehybrid", "mellum", "qwen3_5_moe_text", "qwen3_5_text"};

const Family *findFamily(const JsonFile &config, llvm::StringRef path, llvm::StringRef type) {
  llvm::SmallVector<llvm::StringRef> names;
  for (const Family &family : getFamilies()) {
    if (family.name == type)
      return &family;
    names.push_back(family.name);
  }
  if (llvm::is_contained(kNativeExports, type)) {
    config.error(path, "models of type '" + type + "' are not read",
                 "of a hybrid that Morph made, 'morph run SPEC --out RUN --update --set export.format=remote' writes a "
                 "folder that is");
    return nullptr;
  }
  llvm::StringRef nearest = findNearest(type, names);
  config.error(path, "the architecture '" + type + "' is not supported",
               "supported are " + llvm::join(llvm::ArrayRef(names).drop_back(), ", ") + " and " + names.back().str() +
                   (nearest.empty() ? std::string() : "; did you mean '" + nearest.str() + "'?"));
  return nullptr;
}

/// Whether the checkpoint's weights are quantised, by the method's name. Prints an error.
bool isQuantised(const JsonFile &config) {
  for (llvm::StringRef member : {"quantization_config", "compression_config"}) {
    const llvm::json::Value *value = config.find(member);
    if (!value)
      continue;
    const llvm::json::Object *object = value->getAsObject();
    llvm::StringRef method = object ? object->getString("quant_method").value_or("") : "";
    config.error(object && object->get("quant_method") ? (member + ".quant_method").str() : member.str(),
                 method.empty() ? "the checkpoint is quantised ('" + member.str() + "')"
                                : "the checkpoint is quantised by '" + method.str() + "', which is not supported",
                 "give the checkpoint of float32, float16 or bfloat16 weights that it was made from");
    return true;
  }
  return false;
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

/// A number as a weight of that type would hold it: transformers multiplies embeddings by such a one.
double roundTo(WeightType type, double number) {
  llvm::APFloat rounded(number);
  bool losesInfo = false;
  const llvm::fltSemantics &semantics = type == WeightType::F32   ? llvm::APFloat::IEEEsingle()
                                        : type == WeightType::F16 ? llvm::APFloat::IEEEhalf()
                                                                  : llvm::APFloat::BFloat();
  (void)rounded.convert(semantics, llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  return rounded.convertToDouble();
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
  if (family.windows == WindowRule::None) {
    if (config.has("sliding_window"))
      config.error("sliding_window", "'sliding_window' is not supported for " + family.name + " models");
    return !config.has("sliding_window");
  }
  std::optional<int64_t> given = config.getInteger("sliding_window", kOptionalWindowRange, family.window);
  std::optional<bool> used = config.getBoolean("use_sliding_window", false);
  if (!given || !used)
    return false;
  int64_t window = family.windows == WindowRule::IfUsed && !*used ? 0 : *given;
  if (config.has("layer_types")) {
    if (family.windows != WindowRule::Everywhere)
      return readLayerTypes(config, family, window, layers);
    config.error("layer_types", "'layer_types' is not supported for " + family.name + " models");
    return false;
  }
  std::optional<int64_t> first =
      family.windows == WindowRule::IfUsed ? config.getInteger("max_window_layers", {0, INT32_MAX}, 28) : 0;
  if (!first)
    return false;
  for (auto [index, layer] : llvm::enumerate(layers)) {
    std::optional<bool> hasWindow = static_cast<int64_t>(index) >= *first;
    if (family.hasWindow)
      hasWindow = family.hasWindow(config, static_cast<int64_t>(index));
    if (!hasWindow)
      return false;
    if (*hasWindow)
      layer.window = window;
  }
  return true;
}

/// The rope tables of a base, and which one a layer has. Returns false after an error.
bool readRopes(const JsonFile &config, const Family &family, ModelConfig &model) {
  std::optional<RopeConfig> rope = readRope(config, family, /*ofWindows=*/false, model.headDim);
  if (!rope)
    return false;
  model.ropes.push_back(std::move(*rope));
  auto hasWindow = [](const LayerConfig &layer) { return layer.window > 0; };
  if (!family.ropeByLayerType || llvm::none_of(model.layers, hasWindow))
    return true;
  rope = readRope(config, family, /*ofWindows=*/true, model.headDim);
  if (!rope)
    return false;
  model.ropes.push_back(std::move(*rope));
  for (LayerConfig &layer : model.layers)
    if (hasWindow(layer))
      layer.rope = 1;
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

/// The rope tables that a hybrid export says, by name, and which one a layer has. Returns false after an error.
bool readHybridRopes(const JsonFile &config, ModelConfig &model) {
  const llvm::json::Object *tables = config.find("morph.ropes")->getAsObject();
  auto fail = [&](const llvm::Twine &message) {
    config.error("morph.ropes", message);
    return false;
  };
  if (!tables)
    return fail("'morph.ropes' is not an object");
  for (const auto &member : *tables) {
    llvm::StringRef name = member.first;
    const llvm::json::Object *table = member.second.getAsObject();
    const llvm::json::Array *list = table ? table->getArray("inverse_frequencies") : nullptr;
    double factor = table ? table->getNumber("attention_factor").value_or(0) : 0;
    RopeConfig rope;
    rope.name = name.str();
    if (list)
      for (const llvm::json::Value &frequency : *list)
        rope.inverseFrequencies.push_back(frequency.getAsNumber().value_or(0));
    auto isFrequency = [](double frequency) { return frequency > 0 && std::isfinite(frequency); };
    if (name.empty() || rope.inverseFrequencies.empty() || !llvm::all_of(rope.inverseFrequencies, isFrequency) ||
        static_cast<int64_t>(rope.inverseFrequencies.size()) > model.headDim / 2 || !isFrequency(factor))
      return fail("the table '" + name + "' has not 'inverse_frequencies', up to " + llvm::Twine(model.headDim / 2) +
                  " positive numbers, and a positive 'attention_factor'");
    rope.attentionFactor = factor;
    model.ropes.push_back(std::move(rope));
  }
  for (auto [index, value] : llvm::enumerate(*config.find("morph.mixers")->getAsArray())) {
    std::optional<llvm::StringRef> name = value.getAsObject()->getString("rope");
    LayerConfig &layer = model.layers[index];
    layer.rope.reset();
    for (auto [place, rope] : llvm::enumerate(model.ropes))
      if (name == rope.name)
        layer.rope = place;
    if (name && !layer.rope)
      return fail("the mixer of layer " + llvm::Twine(index) + " has the table '" + *name + "', which is not there");
  }
  return true;
}

/// The mixers of a hybrid export. Returns false after an error.
bool readHybrid(const JsonFile &config, const Family &family, ModelConfig &model) {
  if (!readMixers(config, model.layers))
    return false;
  std::optional<double> eps = config.getNumber("morph.norm_eps", kNormEpsRange, model.normEps);
  if (!eps)
    return false;
  model.mixerNormEps = *eps;
  // Exports of before have one table, the base's.
  return config.has("morph.ropes") ? readHybridRopes(config, model) : readRopes(config, family, model);
}

std::optional<Activation> readActivation(const JsonFile &config, const Family &family) {
  // Gemma's `hidden_act` is not what is computed.
  std::optional<std::string> name = config.getString(family.activationKey, family.activation);
  if (!name)
    return std::nullopt;
  if (*name == "silu" || *name == "swish")
    return Activation::Silu;
  if (*name == "gelu_pytorch_tanh" || *name == "gelu_new")
    return Activation::GeluTanh;
  if (*name == "quick_gelu")
    return Activation::QuickGelu;
  config.error(family.activationKey, "the activation '" + *name + "' is not supported",
               "supported are silu, gelu_pytorch_tanh and quick_gelu");
  return std::nullopt;
}

} // namespace

std::optional<ModelConfig> morph::readModelConfig(const JsonFile &config, Diagnostics &diagnostics,
                                                  const std::optional<ContextRequest> &context) {
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

  if (isQuantised(config))
    return std::nullopt;
  for (llvm::StringRef name : kRefused)
    if (config.has(name) && !llvm::is_contained(family->members, name)) {
      config.error(name, "'" + name + "' is not supported for " + family->name + " models");
      return std::nullopt;
    }
  std::optional<Activation> activation = readActivation(config, *family);
  std::optional<bool> mlpBias = config.getBoolean("mlp_bias", false);
  std::optional<bool> attentionBias = config.getBoolean("attention_bias", false);
  std::optional<bool> tied = config.getBoolean("tie_word_embeddings", family->tied);
  if (!activation || !mlpBias || !attentionBias || !tied)
    return std::nullopt;
  if (*mlpBias) {
    config.error("mlp_bias", "'mlp_bias' true is not supported");
    return std::nullopt;
  }

  ModelConfig model;
  model.architecture = family->name;
  model.activation = *activation;
  model.tied = *tied;
  model.qkNorm = family->qkNorm;
  model.norms = family->norms;
  model.normOffset = family->normOffset;
  model.qkvBias = family->qkvBias || (family->attentionBias && *attentionBias);
  model.outputBias = family->attentionBias && *attentionBias;
  if (!isHybrid)
    model.fused = family->fused; // Exports have each weight.

  std::optional<int64_t> layers = config.getInteger("num_hidden_layers", kLayerRange);
  std::optional<int64_t> hidden = config.getInteger("hidden_size", kHiddenRange);
  std::optional<int64_t> ffn = config.getInteger("intermediate_size", kFfnRange);
  std::optional<int64_t> vocab = config.getInteger("vocab_size", kVocabRange);
  std::optional<int64_t> heads = config.getInteger("num_attention_heads", kHeadRange);
  if (!layers || !hidden || !ffn || !vocab || !heads)
    return std::nullopt;
  std::optional<int64_t> kvHeads = config.getInteger("num_key_value_heads", kHeadRange, *heads);
  std::optional<int64_t> headDim =
      config.getInteger("head_dim", kHeadDimRange, family->headDim.value_or(*hidden / *heads));
  std::optional<double> eps = config.getNumber("rms_norm_eps", kNormEpsRange, family->normEps);
  if (!kvHeads || !headDim || !eps)
    return std::nullopt;
  if (*heads % *kvHeads != 0) {
    config.error("num_key_value_heads", "'num_key_value_heads' is " + llvm::Twine(*kvHeads) +
                                            ", which does not divide 'num_attention_heads' " + llvm::Twine(*heads));
    return std::nullopt;
  }
  if (!config.has("head_dim") && !family->headDim && *hidden % *heads != 0) {
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
  model.normEps = *eps;
  model.layers.resize(*layers);

  std::optional<WeightType> weightType = readWeightType(config);
  if (!weightType)
    return std::nullopt;
  model.weightType = *weightType;
  if (family->scalesEmbedding)
    model.embeddingScale = roundTo(*weightType, std::sqrt(double(*hidden)));
  std::optional<JsonFile> fixed = isHybrid ? config : fixContext(config, *family, *headDim, context, diagnostics);
  if (!fixed)
    return std::nullopt;
  std::optional<int64_t> positions = fixed->getInteger("max_position_embeddings", kPositionRange, 2048);
  if (!positions)
    return std::nullopt;
  model.maxPositions = *positions;
  bool hasLayers = isHybrid ? readHybrid(*fixed, *family, model)
                            : readLayers(*fixed, *family, model.layers) && readRopes(*fixed, *family, model);
  if (!hasLayers)
    return std::nullopt;
  if (family->readMore) {
    // Of a hybrid the export has said all of its layers.
    std::vector<LayerConfig> exported = model.layers;
    if (!family->readMore(*fixed, model))
      return std::nullopt;
    if (isHybrid)
      model.layers = std::move(exported);
  }
  if (model.experts) {
    model.experts->areSeparate = !isHybrid;
    if (model.activation != Activation::Silu) {
      config.error(family->activationKey, "experts with another activation than silu are not supported");
      return std::nullopt;
    }
  }
  model.source = fixed->getRoot();
  return model;
}
