// SPDX-License-Identifier: Apache-2.0

#include "frontends/ModelBuilder.h"

#include "dialect/MixerExpander.h"
#include "dialect/MixerReference.h"
#include "dialect/MorphOps.h"
#include "frontends/morph/Mixers.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
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

constexpr StringLiteral kRopeName = "rope";
constexpr StringLiteral kEmbeddingName = "model.embed_tokens.weight";
constexpr StringLiteral kFinalNormName = "model.norm.weight";
constexpr StringLiteral kHeadName = "lm_head.weight";

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
    builder_.create<RopeTableOp>(location_, kRopeName, config_.rope.inverseFrequencies,
                                 llvm::APFloat(config_.rope.attentionFactor));
    if (!buildForward())
      return nullptr;
    builder_.setInsertionPointToEnd(body);
    buildHead();

    builder_.setInsertionPointToStart(body);
    Type element = getElementType(*builder_.getContext(), config_.weightType);
    for (const MixerParameter &weight : weights_)
      builder_.create<WeightOp>(location_, weight.name, RankedTensorType::get(weight.shape, element),
                                makeInit(weight.name, weight.shape), StringAttr(), /*pieces=*/ArrayAttr());
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

  Value norm(Value x, StringRef name) {
    Value weight = param(name, {config_.hidden});
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
    for (int64_t layer = 0; layer < config_.getLayerCount(); ++layer) {
      std::string prefix = "model.layers." + std::to_string(layer);
      layerLocation_ = NameLoc::get(builder_.getStringAttr(prefix), location_);
      Value mixed = buildMixer(norm(stream, prefix + ".input_layernorm.weight"), layer, prefix);
      if (!mixed)
        return false;
      stream = builder_.create<AddOp>(*layerLocation_, stream, mixed);
      Value x = norm(stream, prefix + ".post_attention_layernorm.weight");
      Value gate = linear(x, prefix + ".mlp.gate_proj.weight", config_.ffn, config_.hidden);
      Value up = linear(x, prefix + ".mlp.up_proj.weight", config_.ffn, config_.hidden);
      Value inner = gated(gate, up);
      Value down = linear(inner, prefix + ".mlp.down_proj.weight", config_.hidden, config_.ffn);
      stream = builder_.create<AddOp>(*layerLocation_, stream, down);
    }
    layerLocation_ = location_;
    builder_.create<func::ReturnOp>(location_, norm(stream, kFinalNormName));
    return true;
  }

  Value buildMixer(Value x, int64_t layer, const std::string &prefix) {
    const LayerConfig &kind = config_.layers[layer];
    std::string source = prefix + ".self_attn";
    FloatAttr qkNormEps = config_.qkNorm ? builder_.getF64FloatAttr(config_.normEps) : FloatAttr();
    Operation *op;
    if (kind.isSoftmax()) {
      IntegerAttr window = kind.window > 0 ? builder_.getI64IntegerAttr(kind.window) : IntegerAttr();
      op = builder_.create<SoftmaxMixerOp>(*layerLocation_, x, uint64_t(layer), source, uint64_t(config_.heads),
                                           uint64_t(config_.kvHeads), uint64_t(config_.headDim), kRopeName,
                                           llvm::APFloat(1.0 / std::sqrt(double(config_.headDim))), config_.qkvBias,
                                           config_.outputBias, qkNormEps, window);
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
          *layerLocation_, x, mixer.getSymName(), uint64_t(layer), prefix + "." + kind.weights, source,
          uint64_t(config_.heads), uint64_t(config_.kvHeads), uint64_t(config_.headDim), kRopeName, config_.qkvBias,
          config_.outputBias, qkNormEps, llvm::APFloat(config_.mixerNormEps), *options, FloatAttr(), IntegerAttr());
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
    builder_.create<func::ReturnOp>(location_, linear(function.getArgument(0), name, config_.vocab, config_.hidden));
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
