// SPDX-License-Identifier: Apache-2.0
// A spec from its file to IR.

#include "dialect/MorphOps.h"
#include "frontends/ModelBuilder.h"
#include "frontends/huggingface/Checkpoint.h"
#include "frontends/huggingface/Import.h"
#include "frontends/huggingface/Rope.h"
#include "frontends/morph/CheckArch.h"
#include "frontends/spec/Schema.h"
#include "frontends/spec/Spec.h"
#include "frontends/spec/SpecArch.h"
#include "frontends/spec/SpecSpace.h"
#include "frontends/spec/SpecTree.h"
#include "frontends/text/Json.h"
#include "runtime/spec/ArchName.h"
#include "runtime/spec/SpaceJson.h"

#include "mlir/IR/Verifier.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace morph;

/// The shape of the base that [pretrain.base] describes (S15). Nothing after an error.
static std::optional<ModelConfig> readBase(Spec &spec, Diagnostics &diagnostics) {
  auto get = [&](StringRef key) { return spec.getInteger(("pretrain.base." + key).str()); };
  auto fail = [&](StringRef key, const Twine &message) {
    diagnostics.error(spec.getPlace(("pretrain.base." + key).str()), message + " [S15]");
    return std::nullopt;
  };
  llvm::json::Object &base = *spec.getTable("pretrain.base");
  ModelConfig model;
  model.architecture = "llama";
  model.hidden = get("hidden");
  model.ffn = get("ffn");
  model.vocab = get("vocab");
  model.heads = get("heads");
  model.kvHeads = base.get("kv_heads") ? get("kv_heads") : model.heads;
  if (!base.get("head_dim") && model.hidden % model.heads != 0)
    return fail("heads", "'heads' " + Twine(model.heads) + " does not divide 'hidden' " + Twine(model.hidden) +
                             ", and 'head_dim' is not given");
  model.headDim = base.get("head_dim") ? get("head_dim") : model.hidden / model.heads;
  if (model.heads % model.kvHeads != 0)
    return fail("kv_heads", "'kv_heads' " + Twine(model.kvHeads) + " does not divide 'heads' " + Twine(model.heads));
  if (model.headDim % 2 != 0)
    return fail("head_dim", "the head dimension is " + Twine(model.headDim) + ", expected an even number");
  base["kv_heads"] = model.kvHeads;
  base["head_dim"] = model.headDim;
  model.maxPositions = get("max_positions");
  model.normEps = spec.getNumber("pretrain.base.norm_eps");
  model.tied = base.getBoolean("tied").value_or(true);
  model.ropes = {makeRope(spec.getNumber("pretrain.base.theta"), model.headDim)};
  model.ropeTheta = spec.getNumber("pretrain.base.theta");
  model.layers.resize(get("layers"));
  model.weightType = WeightType::F32;
  model.init = InitConfig{spec.getNumber("pretrain.base.embedding_std"), spec.getNumber("pretrain.base.output_scale")};
  return model;
}

/// What readers of the resolved spec want to know of its model.
static llvm::json::Object makeModelInfo(const ModelConfig &model, ModuleOp module, bool hasWeights) {
  int64_t parameters = 0;
  module.walk([&](WeightOp weight) { parameters += weight.getType().getNumElements(); });
  return llvm::json::Object{
      {"architecture", model.architecture},
      {"layers", model.getLayerCount()},
      {"hidden", model.hidden},
      {"ffn", model.ffn},
      {"heads", model.heads},
      {"kv_heads", model.kvHeads},
      {"head_dim", model.headDim},
      {"vocab", model.vocab},
      {"max_positions", model.maxPositions},
      {"norm_eps", model.normEps},
      {"tied", model.tied},
      {"dtype", getWeightTypeName(model.weightType).lower()},
      {"parameters", parameters},
      {"has_weights", hasWeights},
  };
}

/// The recipe that Morph comes with.
static constexpr llvm::StringLiteral kDefaultRecipe =
#include "frontends/DefaultRecipe.inc"
    ;

namespace {

/// A spec's text and the arch that it goes with.
struct Source {
  spec::Document document;
  std::string path;
  std::optional<language::Arch> arch;
};

} // namespace

/// Reads the recipe of an arch. Nothing after an error, and where there is no arch, of which one is reported.
static std::optional<Source> readRecipe(std::optional<language::Arch> arch, Diagnostics &diagnostics) {
  if (!arch)
    return std::nullopt;
  const language::ArchLine *recipe = language::findLine(*arch, language::ArchLine::Kind::Recipe);
  std::string path = recipe ? recipe->text.text : "recipe.toml";
  std::optional<spec::Document> document =
      recipe ? spec::readToml(path, diagnostics, recipe->text.range)
             : spec::parseToml(diagnostics.addText(path, kDefaultRecipe), diagnostics);
  if (!document)
    return std::nullopt;
  return Source{std::move(*document), std::move(path), std::move(arch)};
}

/// Reads the text of a spec: a TOML file, or the recipe of an arch. Nothing after an error.
static std::optional<Source> readSource(StringRef path, Diagnostics &diagnostics) {
  if (!archFile(path).empty())
    return readRecipe(spec::readArchFile(path, {}, diagnostics), diagnostics);
  std::optional<spec::Document> document = spec::readToml(path, diagnostics);
  if (!document)
    return std::nullopt;
  return Source{std::move(*document), path.str(), std::nullopt};
}

/// Takes the arch that the spec names, if it is not there already, and what it says into the spec. False after an
/// error.
static bool readArch(Spec &spec, std::optional<language::Arch> &arch, Diagnostics &diagnostics) {
  unsigned before = diagnostics.getErrorCount();
  if (spec.isGiven("arch")) {
    if (arch) {
      diagnostics.error(spec.getPlace("arch"), "a recipe names no arch: it is run with one [S22]");
      return false;
    }
    arch = spec::readArchFile(spec::resolveArch(spec, diagnostics), spec.getPlace("arch"), diagnostics);
  } else if (arch && !spec.isGiven("name")) {
    spec.values["name"] = arch->name.text;
    spec.keyPlaces["name"] = spec.valuePlaces["name"] = arch->name.range;
  }
  if (arch)
    spec::mergeArch(spec, *arch, diagnostics);
  return diagnostics.getErrorCount() == before;
}

/// The space of choices of the spec or its arch into the spec. False after an error.
static bool addSpace(Spec &spec, const std::optional<language::Arch> &arch, const spec::SpaceModel &model,
                     Diagnostics &diagnostics) {
  std::optional<ChoiceSpace> space =
      spec::buildSpace(arch ? *arch : spec::makeArch(spec), arch.has_value(), model, diagnostics);
  if (!space)
    return false;
  JsonError error;
  std::optional<llvm::json::Value> json = parseJson(printSpace(*space), error);
  if (!json) { // Names of files are long, for example.
    diagnostics.error(arch ? arch->range : SourceRange(),
                      "the space of choices is too large: " + error.message + " [S6]");
    return false;
  }
  spec.values["space"] = std::move(*json);
  for (const spec::Section &section : spec::getSections())
    if (section.becomesSpace)
      spec.values.erase(section.name);
  return true;
}

static std::optional<ImportedSpec> importSource(MLIRContext &context, Source source, const SpecOptions &options,
                                                Diagnostics &diagnostics) {
  for (const std::string &assignment : options.overrides)
    if (!spec::applyOverride(source.document.root, assignment, diagnostics))
      return std::nullopt;
  std::optional<Spec> read = spec::readDocument(source.document.root, source.path, source.document.begin, diagnostics);
  // What is wrong with the model is said together with what is wrong between the spec's own keys.
  if (!read || !readArch(*read, source.arch, diagnostics))
    return std::nullopt;
  bool ok = spec::checkBeforeModel(*read, options, diagnostics);

  ImportedSpec imported;
  imported.spec = std::move(*read);
  Spec &spec = imported.spec;
  std::string folder = spec.getString("model.path");
  bool hasWeights = false;
  if (!folder.empty()) {
    WeightCheck check = options.requireWeights && !options.configOnly ? WeightCheck::Required : WeightCheck::IfPresent;
    std::optional<ContextRequest> positions;
    if (spec.isGiven("model.context"))
      positions = ContextRequest{spec.getInteger("model.context"), spec.getPlace("model.context")};
    imported.module = importHuggingFace(context, folder, spec.getString("name"), check, diagnostics,
                                        spec.getPlace("model.path"), &imported.model, positions);
    hasWeights = Checkpoint::exists(folder);
    if (imported.module && imported.model.isHybrid()) {
      diagnostics.error(spec.getPlace("model.path"), "the model is a hybrid already: expected a base [S2]");
      return std::nullopt;
    }
  } else if (spec.getTable("pretrain.base")) {
    if (spec.isGiven("model.context")) {
      diagnostics.error(spec.getPlace("model.context"), "'model.context' is of a base that is there: one that is made "
                                                        "has 'pretrain.base.max_positions' [S31]");
      return std::nullopt;
    }
    std::optional<ModelConfig> model = readBase(spec, diagnostics);
    if (!model)
      return std::nullopt;
    imported.model = std::move(*model);
    auto [line, column] = diagnostics.getLineAndColumn(spec.getPlace("pretrain.base.layers"));
    imported.module = buildModel(context, imported.model, spec.getString("name"),
                                 FileLineColLoc::get(&context, source.path, line, column));
    if (imported.module && failed(verify(*imported.module)))
      return std::nullopt;
  }
  if (!imported.module)
    return std::nullopt;
  loadModelDialects(context);
  ok &= spec::checkAgainstModel(spec, imported.model, diagnostics);
  spec::SpaceModel target{*imported.module->getOps<ModelOp>().begin(), imported.model,
                          spec.getString("model.precision"), options.withoutTimes,
                          spec.values.getObject("linear") &&
                              spec.values.getObject("linear")->getBoolean("windows").value_or(false)};
  if (!addSpace(spec, source.arch, target, diagnostics) || !ok)
    return std::nullopt;
  spec.values["model_info"] = makeModelInfo(imported.model, *imported.module, hasWeights);
  return imported;
}

std::optional<ImportedSpec> morph::importSpec(MLIRContext &context, StringRef path, const SpecOptions &options,
                                              Diagnostics &diagnostics) {
  std::optional<Source> source = readSource(path, diagnostics);
  return source ? importSource(context, std::move(*source), options, diagnostics) : std::nullopt;
}

std::optional<ImportedSpec> morph::importSpec(MLIRContext &context, StringRef path, StringRef text,
                                              const SpecOptions &options, Diagnostics &diagnostics) {
  std::optional<spec::Document> document = spec::parseToml(text, diagnostics);
  if (!document)
    return std::nullopt;
  return importSource(context, {std::move(*document), path.str(), std::nullopt}, options, diagnostics);
}

std::optional<ImportedSpec> morph::importArch(MLIRContext &context, StringRef path, StringRef text, StringRef name,
                                              const SpecOptions &options, Diagnostics &diagnostics) {
  std::optional<Source> source = readRecipe(spec::readArchText(path, name, text, {}, diagnostics), diagnostics);
  return source ? importSource(context, std::move(*source), options, diagnostics) : std::nullopt;
}

std::string morph::printBaseConfig(const ModelConfig &model) {
  if (!model.init)
    return llvm::formatv("{0:2}\n", llvm::json::Value(llvm::json::Object(model.source))).str();
  llvm::json::Object config{
      {"architectures", llvm::json::Array{"LlamaForCausalLM"}},
      {"model_type", model.architecture},
      {"hidden_size", model.hidden},
      {"intermediate_size", model.ffn},
      {"num_hidden_layers", model.getLayerCount()},
      {"num_attention_heads", model.heads},
      {"num_key_value_heads", model.kvHeads},
      {"head_dim", model.headDim},
      {"vocab_size", model.vocab},
      {"max_position_embeddings", model.maxPositions},
      {"rms_norm_eps", model.normEps},
      {"rope_theta", model.ropeTheta},
      {"hidden_act", "silu"},
      {"attention_bias", false},
      {"mlp_bias", false},
      {"tie_word_embeddings", model.tied},
      {"torch_dtype", "bfloat16"},
  };
  return llvm::formatv("{0:2}\n", llvm::json::Value(std::move(config))).str();
}
