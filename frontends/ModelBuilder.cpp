// SPDX-License-Identifier: Apache-2.0

#include "frontends/ModelBuilder.h"

#include "dialect/MixerExpander.h"
#include "dialect/MixerReference.h"
#include "dialect/MorphOps.h"
#include "frontends/morph/Mixers.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FormatVariadic.h"

#include <cmath>

using namespace mlir;
using namespace morph;

void morph::loadModelDialects(MLIRContext &context) { context.loadDialect<MorphDialect, func::FuncDialect>(); }

Type morph::getElementType(MLIRContext &context, WeightType type) {
  switch (type) {
  case WeightType::F32:
    return Float32Type::get(&context);
  case WeightType::F16:
    return Float16Type::get(&context);
  case WeightType::BF16:
    return BFloat16Type::get(&context);
  }
  return {};
}

namespace {

constexpr StringLiteral kEmbeddingName = "model.embed_tokens.weight";
constexpr StringLiteral kFinalNormName = "model.norm.weight";
constexpr StringLiteral kHeadName = "lm_head.weight";
constexpr StringLiteral kGateUpName = "experts.gate_up_proj";
constexpr StringLiteral kDownName = "experts.down_proj";

/// Builds one model; its weights are collected while its functions are built.
class ModelMaker {
public:
  ModelMaker(MLIRContext &context, const ModelConfig &config, Location location)
      : config_(config), location_(location), builder_(&context) {}

  OwningOpRef<ModuleOp> build(StringRef name, ModuleOp declared) {
    OwningOpRef<ModuleOp> module(ModuleOp::create(location_));
    builder_.setInsertionPointToEnd(module->getBody());
    auto model = builder_.create<ModelOp>(location_, name, config_.isHybrid() ? Phase::Hybrid : Phase::Base,
                                          config_.architecture, uint64_t(config_.getLayerCount()));
    model.getBody().emplaceBlock();
    Block *body = &model.getBody().front();
    builder_.setInsertionPointToEnd(body);
    if (declared)
      declared.walk([&](MixerOp mixer) { builder_.clone(*mixer.getOperation()); });
    for (const RopeConfig &rope : config_.ropes)
      builder_.create<RopeTableOp>(location_, rope.name, rope.inverseFrequencies, llvm::APFloat(rope.attentionFactor));
    if (!buildForward())
      return nullptr;
    builder_.setInsertionPointToEnd(body);
    buildHead();

    builder_.setInsertionPointToStart(body);
    Type element = getElementType(*builder_.getContext(), config_.weightType);
    llvm::StringMap<ArrayAttr> pieces = findPieces();
    for (const MixerParameter &weight : weights_)
      builder_.create<WeightOp>(location_, weight.name, RankedTensorType::get(weight.shape, element),
                                makeInit(weight.name, weight.shape), StringAttr(), pieces.lookup(weight.name));
    return module;
  }

private:
  /// The value of a weight; the first use makes the weight.
  Value param(StringRef name, ArrayRef<int64_t> shape) {
    addWeight(name, shape);
    return createParam(builder_, layerLocation_.value_or(location_), name, shape);
  }

  void addWeight(StringRef name, ArrayRef<int64_t> shape) {
    if (names_.insert(name).second)
      weights_.push_back({name.str(), SmallVector<int64_t>(shape), InitAttr()});
  }

  /// The pieces of weights that the checkpoint has fused, by name.
  llvm::StringMap<ArrayAttr> findPieces() {
    llvm::StringMap<int64_t> rows;
    for (const MixerParameter &weight : weights_)
      rows[weight.name] = weight.shape.front();
    llvm::StringMap<ArrayAttr> pieces;
    for (int64_t layer = 0; layer < config_.getLayerCount(); ++layer)
      for (const FusedWeights &fused : config_.fused) {
        StringAttr tensor = builder_.getStringAttr(getPrefix(layer) + "." + fused.tensor);
        int64_t begin = 0;
        for (const std::string &part : fused.weights) {
          std::string weight = getPrefix(layer) + "." + part;
          int64_t end = begin + rows.lookup(weight);
          Attribute piece = PieceAttr::get(builder_.getContext(), tensor, begin, end);
          pieces[weight] = builder_.getArrayAttr(piece);
          begin = end;
        }
      }
    if (config_.experts && config_.experts->areSeparate)
      for (int64_t layer = 0; layer < config_.getLayerCount(); ++layer)
        if (hasExperts(layer))
          addPiecesOfExperts(getPrefix(layer) + ".mlp.", pieces);
    return pieces;
  }

  /// A tensor an expert and matrix.
  void addPiecesOfExperts(const std::string &prefix, llvm::StringMap<ArrayAttr> &pieces) {
    SmallVector<Attribute> gateUp, down;
    for (int64_t expert = 0; expert < config_.experts->count; ++expert) {
      auto piece = [&](StringRef name) {
        StringAttr tensor = builder_.getStringAttr(prefix + "experts." + std::to_string(expert) + "." + name.str());
        return PieceAttr::get(builder_.getContext(), tensor, 0, 0);
      };
      gateUp.append({piece("gate_proj.weight"), piece("up_proj.weight")});
      down.push_back(piece("down_proj.weight"));
    }
    pieces[prefix + kGateUpName.str()] = builder_.getArrayAttr(gateUp);
    pieces[prefix + kDownName.str()] = builder_.getArrayAttr(down);
  }

  static std::string getPrefix(int64_t layer) { return "model.layers." + std::to_string(layer); }

  Value norm(Value x, StringRef name) {
    Value weight = param(name, {config_.hidden});
    if (config_.normOffset != 0)
      weight = builder_.create<OffsetOp>(*layerLocation_, weight, llvm::APFloat(config_.normOffset));
    return builder_.create<RmsNormOp>(*layerLocation_, x, weight, llvm::APFloat(config_.normEps));
  }

  Value linear(Value x, StringRef name, int64_t outputs, int64_t inputs) {
    Value weight = param(name, {outputs, inputs});
    return builder_.create<LinearOp>(*layerLocation_, x, weight, Value());
  }

  /// The activation of `gate`, times `x`.
  Value gated(Value gate, Value x) {
    Location location = *layerLocation_;
    switch (config_.activation) {
    case Activation::Silu:
      return builder_.create<SwigluOp>(location, gate, x);
    case Activation::GeluTanh:
      return builder_.create<MulOp>(location, builder_.create<GeluTanhOp>(location, gate), x);
    case Activation::QuickGelu:
      return builder_.create<MulOp>(location, builder_.create<QuickGeluOp>(location, gate), x);
    }
    llvm_unreachable("an activation that is not listed");
  }

  bool buildForward() {
    MLIRContext *context = builder_.getContext();
    Type ids = getIndexTensorType(context, {ShapedType::kDynamic, ShapedType::kDynamic});
    Type hidden = getTensorType(context, {ShapedType::kDynamic, ShapedType::kDynamic, config_.hidden});
    auto function = builder_.create<func::FuncOp>(location_, "forward", builder_.getFunctionType({ids}, {hidden}));
    builder_.setInsertionPointToStart(function.addEntryBlock());

    layerLocation_ = location_;
    Value table = param(kEmbeddingName, {config_.vocab, config_.hidden});
    Value stream = builder_.create<EmbeddingOp>(location_, function.getArgument(0), table);
    if (config_.embeddingScale != 1)
      stream = builder_.create<ScaleOp>(location_, stream, llvm::APFloat(config_.embeddingScale));
    const bool isBefore = config_.norms != NormPlacement::After, isAfter = config_.norms != NormPlacement::Before;
    for (int64_t layer = 0; layer < config_.getLayerCount(); ++layer) {
      std::string prefix = getPrefix(layer);
      layerLocation_ = NameLoc::get(builder_.getStringAttr(prefix), location_);
      Value x = isBefore ? norm(stream, prefix + ".input_layernorm.weight") : stream;
      Value mixed = buildMixer(x, layer, prefix);
      if (!mixed)
        return false;
      if (isAfter)
        mixed = norm(mixed, prefix + ".post_attention_layernorm.weight");
      stream = builder_.create<AddOp>(*layerLocation_, stream, mixed);
      StringRef before = isAfter ? ".pre_feedforward_layernorm.weight" : ".post_attention_layernorm.weight";
      x = isBefore ? norm(stream, prefix + before.str()) : stream;
      Value fed = hasExperts(layer) ? buildExperts(x, prefix + ".mlp.") : buildFeedForward(x, prefix + ".mlp.");
      if (isAfter)
        fed = norm(fed, prefix + ".post_feedforward_layernorm.weight");
      stream = builder_.create<AddOp>(*layerLocation_, stream, fed);
    }
    layerLocation_ = location_;
    builder_.create<func::ReturnOp>(location_, norm(stream, kFinalNormName));
    return true;
  }

  bool hasExperts(int64_t layer) const { return config_.experts && config_.experts->layers[layer]; }

  Value buildFeedForward(Value x, const std::string &prefix) {
    Value gate = linear(x, prefix + "gate_proj.weight", config_.ffn, config_.hidden);
    Value up = linear(x, prefix + "up_proj.weight", config_.ffn, config_.hidden);
    return linear(gated(gate, up), prefix + "down_proj.weight", config_.hidden, config_.ffn);
  }

  /// The names of a layer's experts are those that transformers gives them, in one tensor each of gates and ups, and of
  /// downs.
  Value buildExperts(Value x, const std::string &prefix) {
    const ExpertsConfig &experts = *config_.experts;
    Value logits = linear(x, prefix + "gate.weight", experts.count, config_.hidden);
    Value routing =
        builder_.create<TopKSoftmaxOp>(*layerLocation_, logits, uint64_t(experts.active), experts.normalised);
    Value gateUp = param(prefix + kGateUpName.str(), {experts.count, 2 * experts.inner, config_.hidden});
    Value down = param(prefix + kDownName.str(), {experts.count, config_.hidden, experts.inner});
    return builder_.create<ExpertsOp>(*layerLocation_, x, routing, gateUp, down, uint64_t(experts.active));
  }

  Value buildMixer(Value x, int64_t layer, const std::string &prefix) {
    const LayerConfig &kind = config_.layers[layer];
    std::string source = prefix + ".self_attn";
    const double headScale = 1.0 / std::sqrt(double(config_.headDim));
    const double scale = config_.attentionScale != 0 ? config_.attentionScale : headScale;
    auto optional = [&](bool is, double value) { return is ? builder_.getF64FloatAttr(value) : FloatAttr(); };
    const bool isNormed = config_.qkNorm != QkNorm::None;
    FloatAttr qkNormEps = optional(isNormed, config_.normEps);
    FloatAttr qkNormOffset = optional(isNormed && config_.normOffset != 0, config_.normOffset);
    UnitAttr isWide = config_.qkNorm == QkNorm::Width ? builder_.getUnitAttr() : UnitAttr();
    FloatAttr softcap = optional(config_.attentionSoftcap != 0, config_.attentionSoftcap);
    IntegerAttr window = kind.window > 0 ? builder_.getI64IntegerAttr(kind.window) : IntegerAttr();
    FlatSymbolRefAttr rope;
    if (kind.rope)
      rope = FlatSymbolRefAttr::get(builder_.getContext(), config_.ropes[*kind.rope].name);
    auto number = [&](int64_t value) { return builder_.getI64IntegerAttr(value); };
    auto flag = [&](bool is) { return is ? builder_.getUnitAttr() : UnitAttr(); };
    Operation *op;
    if (kind.isSoftmax()) {
      op = builder_.create<SoftmaxMixerOp>(
          *layerLocation_, x.getType(), x, number(layer), builder_.getStringAttr(source), number(config_.heads),
          number(config_.kvHeads), number(config_.headDim), rope, builder_.getF64FloatAttr(scale),
          flag(config_.qkvBias), flag(config_.outputBias), qkNormEps, isWide, qkNormOffset, window, softcap);
    } else {
      MixerOp mixer = declareMixer(builder_.getBlock()->getParentOp()->getParentOfType<ModelOp>(), kind.kind);
      if (!mixer) {
        emitError(location_) << "there is no mixer '" << kind.kind << "': neither in mixers.mlir, which stands beside "
                             << "config.json where a model has mixers of its own, nor among Morph's, "
                             << llvm::join(getBuiltinMixers(), ", ");
        return nullptr;
      }
      FailureOr<DictionaryAttr> options = getMixerOptions(mixer, kind);
      if (failed(options))
        return nullptr;
      op = builder_.create<LinearMixerOp>(
          *layerLocation_, x.getType(), x, FlatSymbolRefAttr::get(mixer.getSymNameAttr()), number(layer),
          builder_.getStringAttr(prefix + "." + kind.weights), builder_.getStringAttr(source), number(config_.heads),
          number(config_.kvHeads), number(config_.headDim), rope, flag(config_.qkvBias), flag(config_.outputBias),
          qkNormEps, isWide, qkNormOffset, builder_.getF64FloatAttr(config_.mixerNormEps), *options,
          optional(scale != headScale, scale), window, softcap);
    }
    if (auto linear = dyn_cast<LinearMixerOp>(op); linear && failed(MixerExpander::check(linear)))
      return nullptr;
    for (const MixerParameter &parameter : cast<TokenMixerOpInterface>(op).getMixerParameters())
      addWeight(parameter.name, parameter.shape);
    return op->getResult(0);
  }

  /// The options that a layer's configuration gives, the defaults for the others.
  FailureOr<DictionaryAttr> getMixerOptions(MixerOp mixer, const LayerConfig &layer) {
    MixerReference reference{"", layer.kind, {}};
    for (const auto &[name, value] : layer.options) {
      Expression number;
      number.number = value.getAsBoolean() ? *value.getAsBoolean() : value.getAsNumber().value_or(NAN);
      number.text = llvm::formatv("{0}", value).str();
      reference.options.emplace_back(name.str(), number);
    }
    return makeMixerOptions(mixer, reference, [&] { return emitError(location_); });
  }

  void buildHead() {
    MLIRContext *context = builder_.getContext();
    Type rows = getTensorType(context, {ShapedType::kDynamic, config_.hidden});
    Type logits = getTensorType(context, {ShapedType::kDynamic, config_.vocab});
    auto function = builder_.create<func::FuncOp>(location_, "head", builder_.getFunctionType({rows}, {logits}));
    builder_.setInsertionPointToStart(function.addEntryBlock());
    layerLocation_ = location_;
    StringRef name = config_.tied ? StringRef(kEmbeddingName) : StringRef(kHeadName);
    Value result = linear(function.getArgument(0), name, config_.vocab, config_.hidden);
    if (config_.logitSoftcap != 0) {
      auto scale = [&](double factor) { result = builder_.create<ScaleOp>(location_, result, llvm::APFloat(factor)); };
      scale(1 / config_.logitSoftcap);
      result = builder_.create<TanhOp>(location_, result);
      scale(config_.logitSoftcap);
    }
    builder_.create<func::ReturnOp>(location_, result);
  }

  /// The first value of a weight of a base that is made: norms one, biases zero, the embedding as the spec says, output
  /// projections small enough that the residual stream does not grow with the depth, the others at fan-in scale.
  InitAttr makeInit(StringRef name, ArrayRef<int64_t> shape) {
    if (!config_.init)
      return {};
    auto get = [&](InitKind kind, double value) {
      return InitAttr::get(builder_.getContext(), kind, StringAttr(), 0, 0, builder_.getF64FloatAttr(value),
                           DenseF64ArrayAttr());
    };
    if (shape.size() == 1)
      return get(InitKind::Constant, name.ends_with(".bias") ? 0.0 : 1.0);
    if (name == kEmbeddingName)
      return get(InitKind::Normal, config_.init->embeddingStd);
    double fanIn = 1.0 / std::sqrt(double(shape.back()));
    bool output = name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight");
    double scale = output ? config_.init->outputScale / std::sqrt(2.0 * double(config_.getLayerCount())) : 1.0;
    return get(InitKind::Normal, scale * fanIn);
  }

  const ModelConfig &config_;
  Location location_;
  OpBuilder builder_;
  std::optional<Location> layerLocation_;
  std::vector<MixerParameter> weights_;
  llvm::StringSet<> names_;
};

} // namespace

OwningOpRef<ModuleOp> morph::buildModel(MLIRContext &context, const ModelConfig &config, StringRef name,
                                        Location location, ModuleOp declared) {
  loadModelDialects(context);
  return ModelMaker(context, config, location).build(name, declared);
}
