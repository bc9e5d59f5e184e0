// SPDX-License-Identifier: Apache-2.0

#include "passes/EmitPyTorch.h"

#include "dialect/MixerReference.h"
#include "frontends/morph/Mixers.h"
#include "passes/Phases.h"
#include "passes/pytorch/Class.h"
#include "passes/pytorch/Text.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

#include <array>
#include <map>

using namespace mlir;
using namespace morph;

namespace {

std::string print(Operation *op) {
  std::string text;
  llvm::raw_string_ostream os(text);
  op->print(os);
  return text;
}

/// `MorphGatedDeltanet` for gated_deltanet.
std::string makeClassName(StringRef mixer) {
  std::string name = "Morph";
  bool begins = true;
  for (char c : mixer) {
    if (llvm::isAlnum(c))
      name += begins ? llvm::toUpper(c) : c;
    begins = !llvm::isAlnum(c);
  }
  return name;
}

class PyTorchEmitter {
public:
  explicit PyTorchEmitter(ModelOp model) : model(model) {}
  FailureOr<llvm::json::Value> emit();

private:
  LogicalResult add(TokenMixerOpInterface mixer);
  FailureOr<std::string> addClass(LinearMixerOp mixer);
  OwningOpRef<ModuleOp> makeHolder(ModelOp &holder);
  bool isBuiltin(MixerOp mixer);
  std::string printModule();
  std::string printClasses() const;
  void addAttention(const std::array<FloatAttr, 4> &numbers, bool isWide);
  LogicalResult addAround(func::FuncOp forward);
  void addExperts(func::FuncOp forward);
  static llvm::json::Value printRope(std::optional<StringRef> table) {
    return table ? llvm::json::Value(table->str()) : llvm::json::Value(nullptr);
  }

  ModelOp model;
  std::map<int64_t, llvm::json::Value> layers;
  std::map<std::string, std::string> classNames; ///< By what the mixer is called and the class's text.
  llvm::StringSet<> usedNames = {
      "MorphCache", "MorphConfig",           "MorphRMSNorm", "MorphGroup",        "MorphLinear",
      "MorphMixer", "MorphSoftmaxAttention", "MorphMLP",     "MorphDecoderLayer", "MorphPreTrainedModel",
      "MorphModel", "MorphForCausalLM"};
  std::vector<std::pair<std::string, std::string>> classes;
  llvm::json::Object states, declarations, around;
  llvm::json::Array builtin;
  SmallVector<MixerOp> mixers;
};

FailureOr<std::string> PyTorchEmitter::addClass(LinearMixerOp mixer) {
  FailureOr<pytorch::Class> printed = pytorch::printClass(mixer);
  if (failed(printed))
    return failure();
  auto [known, isNew] = classNames.try_emplace((mixer.getMixer() + "\n" + printed->body).str());
  if (!isNew)
    return known->second;
  std::string name = makeClassName(mixer.getMixer()), numbered = name;
  for (int number = 2; !usedNames.insert(numbered).second; ++number)
    numbered = name + std::to_string(number);
  known->second = numbered;
  classes.emplace_back(numbered, "class " + numbered + "(MorphMixer):\n" + printed->body);
  llvm::json::Object kept;
  for (const auto &[state, text] : printed->states)
    kept[state] = text;
  states[numbered] = std::move(kept);
  return numbered;
}

LogicalResult PyTorchEmitter::add(TokenMixerOpInterface mixer) {
  int64_t layer = mixer.getMixerLayer();
  if (auto headDim = mixer->getAttrOfType<IntegerAttr>("head_dim"))
    around["head_dim"] = headDim.getInt();
  if (isa<ChoiceOp>(mixer->getParentOp()))
    return mixer->emitOpError() << "is one of several of its layer: PyTorch is written of hybrids (morph-discretize)";
  if (layers.count(layer))
    return mixer->emitOpError() << "is a second mixer of layer " << layer;
  if (auto softmax = dyn_cast<SoftmaxMixerOp>(mixer.getOperation())) {
    llvm::json::Value window = softmax.getWindow() ? llvm::json::Value(*softmax.getWindow()) : nullptr;
    layers.insert({layer, llvm::json::Object{{"kind", "full"},
                                             {"weights", softmax.getPrefix().rsplit('.').second},
                                             {"window", std::move(window)},
                                             {"rope", printRope(softmax.getRope())}}});
    addAttention(
        {softmax.getQkNormEpsAttr(), softmax.getQkNormOffsetAttr(), softmax.getScaleAttr(), softmax.getSoftcapAttr()},
        softmax.getQkNormWide());
    return success();
  }
  auto linear = dyn_cast<LinearMixerOp>(mixer.getOperation());
  if (!linear)
    return mixer->emitOpError() << "has no form in PyTorch";
  FailureOr<std::string> name = addClass(linear);
  if (failed(name))
    return failure();
  auto declaration = cast<MixerOp>(SymbolTable::lookupSymbolIn(model, linear.getMixerAttr().getAttr()));
  if (!llvm::is_contained(mixers, declaration)) {
    mixers.push_back(declaration);
    if (isBuiltin(declaration))
      builtin.push_back(linear.getMixer());
    declarations[linear.getMixer()] = print(declaration);
  }
  llvm::json::Object options;
  for (NamedAttribute option : linear.getOptions())
    options[option.getName().getValue()] = optionToJson(option.getValue());
  layers.insert({layer, llvm::json::Object{{"kind", linear.getMixer()},
                                           {"class", *name},
                                           {"weights", linear.getPrefix().rsplit('.').second},
                                           {"options", std::move(options)},
                                           {"rope", printRope(linear.getRope())}}});
  return success();
}

/// What layers that kept full attention have beside their weights; the same for all.
void PyTorchEmitter::addAttention(const std::array<FloatAttr, 4> &numbers, bool isWide) {
  auto print = [](FloatAttr number, llvm::json::Value absent) {
    return number ? llvm::json::Value(number.getValueAsDouble()) : absent;
  };
  around["qk_norm_eps"] = print(numbers[0], nullptr);
  around["qk_norm_offset"] = print(numbers[1], 0.0);
  around["attention_scale"] = print(numbers[2], nullptr);
  around["attention_softcap"] = print(numbers[3], nullptr);
  around["qk_norm_wide"] = isWide;
}

/// The mixtures of experts: their sizes, and the layers that have them; null where none has.
void PyTorchEmitter::addExperts(func::FuncOp forward) {
  around["experts"] = nullptr;
  llvm::json::Array layers;
  forward.walk([&](ExpertsOp experts) {
    auto down = experts.getDown().getDefiningOp<ParamOp>();
    auto router = experts.getRouting().getDefiningOp<TopKSoftmaxOp>();
    int64_t layer = 0;
    StringRef name = down ? down.getSymbol() : StringRef();
    if (!router || !name.consume_front("model.layers.") || name.consumeInteger(10, layer))
      return;
    layers.push_back(layer);
    ArrayRef<int64_t> shape = cast<RankedTensorType>(down.getType()).getShape();
    around["experts"] = llvm::json::Object{{"count", shape[0]},
                                           {"active", int64_t(router.getCount())},
                                           {"inner", shape[2]},
                                           {"normalised", router.getNormalised()}};
  });
  if (llvm::json::Object *experts = around.getObject("experts"))
    (*experts)["layers"] = std::move(layers);
}

/// What stands around the mixers, as it is in the functions: tables, norms and factors.
LogicalResult PyTorchEmitter::addAround(func::FuncOp forward) {
  llvm::json::Object ropes;
  for (auto table : model.getBody().getOps<RopeTableOp>()) {
    ArrayRef<double> frequencies = table.getInverseFrequencies();
    ropes[table.getSymName()] = llvm::json::Object{
        {"inverse_frequencies", llvm::json::Array(std::vector<double>(frequencies.begin(), frequencies.end()))},
        {"attention_factor", table.getAttentionFactor().convertToDouble()}};
  }
  around["ropes"] = std::move(ropes);
  double normOffset = 0, normEps = 1e-6, embeddingScale = 1;
  StringRef activation = "silu";
  forward.walk([&](Operation *op) {
    if (auto norm = dyn_cast<RmsNormOp>(op)) {
      normEps = norm.getEps().convertToDouble();
      if (auto offset = norm.getWeight().getDefiningOp<OffsetOp>())
        normOffset = offset.getTerm().convertToDouble();
    }
    if (auto scale = dyn_cast<ScaleOp>(op); scale && scale.getX().getDefiningOp<EmbeddingOp>())
      embeddingScale = scale.getFactor().convertToDouble();
    if (isa<GeluTanhOp>(op))
      activation = "gelu_pytorch_tanh";
    else if (isa<QuickGeluOp>(op))
      activation = "quick_gelu";
  });
  around["rms_norm_eps"] = normEps;
  around["activation"] = activation;
  around["norm_offset"] = normOffset;
  around["embedding_scale"] = embeddingScale;
  // The norms of the first layer are those of all.
  llvm::json::Array norms;
  forward.walk([&](ParamOp param) {
    StringRef name = param.getSymbol();
    if (name.consume_front("model.layers.0.") && name.consume_back("_layernorm.weight"))
      norms.push_back((name + "_layernorm").str());
  });
  around["norms"] = std::move(norms);
  addExperts(forward);
  around["logit_softcap"] = nullptr;
  auto head = dyn_cast_or_null<func::FuncOp>(SymbolTable::lookupSymbolIn(model, "head"));
  if (!head)
    return emitModelError(model) << "has no function @head";
  head.walk([&](TanhOp tanh) {
    for (Operation *user : tanh->getUsers())
      if (auto scale = dyn_cast<ScaleOp>(user))
        around["logit_softcap"] = scale.getFactor().convertToDouble();
  });
  return success();
}

/// An empty model in a module.
OwningOpRef<ModuleOp> PyTorchEmitter::makeHolder(ModelOp &holder) {
  OpBuilder builder(model.getContext());
  OwningOpRef<ModuleOp> module(ModuleOp::create(model.getLoc()));
  builder.setInsertionPointToEnd(module->getBody());
  holder = builder.create<ModelOp>(model.getLoc(), "mixers", Phase::Base, model.getArchitecture(), model.getLayers());
  holder.getBody().emplaceBlock();
  return module;
}

/// Whether a mixer is one that comes with Morph, and not one of a user's of the same name.
bool PyTorchEmitter::isBuiltin(MixerOp mixer) {
  ModelOp holder;
  OwningOpRef<ModuleOp> module = makeHolder(holder);
  MixerOp builtin = declareMixer(holder, mixer.getSymName());
  return builtin && print(builtin) == print(mixer);
}

std::string PyTorchEmitter::printModule() {
  ModelOp holder;
  OwningOpRef<ModuleOp> module = makeHolder(holder);
  OpBuilder builder = OpBuilder::atBlockEnd(&holder.getBody().front());
  for (MixerOp mixer : mixers)
    builder.clone(*mixer.getOperation());
  return print(*module);
}

std::string PyTorchEmitter::printClasses() const {
  std::string text;
  SmallVector<std::string> names;
  for (const auto &[name, body] : classes) {
    text += body + "\n\n";
    names.push_back(pytorch::printString(name) + ": " + name);
  }
  return text + pytorch::printLine("DECLARED = {" + llvm::join(names, ", ") + "}", 0);
}

FailureOr<llvm::json::Value> PyTorchEmitter::emit() {
  auto forward = dyn_cast_or_null<func::FuncOp>(SymbolTable::lookupSymbolIn(model, "forward"));
  if (!forward)
    return emitModelError(model) << "has no function @forward";
  WalkResult walked = forward.walk([&](TokenMixerOpInterface mixer) {
    return failed(add(mixer)) ? WalkResult::interrupt() : WalkResult::advance();
  });
  if (walked.wasInterrupted())
    return failure();
  if (failed(addAround(forward)))
    return failure();
  if (!around.get("qk_norm_wide"))
    addAttention({}, /*isWide=*/false);
  llvm::json::Array list;
  for (auto &[layer, mixer] : layers) {
    if (layer != static_cast<int64_t>(list.size()))
      break;
    list.push_back(std::move(mixer));
  }
  if (static_cast<int64_t>(list.size()) != static_cast<int64_t>(model.getLayers()))
    return emitModelError(model) << "has no mixer in layer " << list.size();
  return llvm::json::Value(llvm::json::Object{{"layers", std::move(list)},
                                              {"model", std::move(around)},
                                              {"classes", llvm::json::fixUTF8(printClasses())},
                                              {"states", std::move(states)},
                                              {"builtin", std::move(builtin)},
                                              {"declarations", std::move(declarations)},
                                              {"module", llvm::json::fixUTF8(printModule())}});
}

} // namespace

FailureOr<llvm::json::Value> morph::emitPyTorch(ModelOp model) { return PyTorchEmitter(model).emit(); }
