// SPDX-License-Identifier: Apache-2.0
// Constraints between the spec and its model: S3, S5, S6, S13.

#include "dialect/MixerReference.h"
#include "frontends/morph/Mixers.h"
#include "frontends/spec/Schema.h"
#include "frontends/spec/Spec.h"

#include "mlir/IR/Diagnostics.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

#include <cmath>
#include <set>

using namespace morph;
using namespace morph::spec;

namespace {

class ModelChecker {
public:
  ModelChecker(Spec &spec, const ModelConfig &config, ModelOp model, Diagnostics &diagnostics)
      : spec_(spec), config_(config), model_(model), diagnostics_(diagnostics) {}

  void check() {
    checkLinear();
    checkBudget();
    for (size_t i = 0; i < spec_.values.getArray("tasks")->size(); ++i)
      checkTokens("task[" + std::to_string(i) + "]");
  }

private:
  void error(llvm::StringRef path, const llvm::Twine &message, const llvm::Twine &hint = "") {
    diagnostics_.error(spec_.getPlace(path), message, hint);
  }
  void checkLinear();
  void checkMixer(const std::string &path, std::set<std::string> &seen);
  void checkBudget();
  std::set<int64_t> checkPins(llvm::StringRef path);
  void checkTokens(const std::string &path);

  Spec &spec_;
  const ModelConfig &config_;
  ModelOp model_;
  Diagnostics &diagnostics_;
};

void ModelChecker::checkMixer(const std::string &path, std::set<std::string> &seen) {
  std::string text = spec_.getString(path), message;
  std::optional<MixerReference> reference = parseMixerReference(text, message);
  if (!reference)
    return error(path, "'" + text + "' names no mixer: " + message + " [S3]", "gated_deltanet(conv = 4), for example");
  if (!seen.insert(reference->name).second)
    return error(path, "'" + reference->name + "' is a candidate already [S3]");
  // A mixer of a file becomes part of the model; one that comes with Morph does when layers are paired.
  MixerOp mixer;
  mlir::OwningOpRef<ModelOp> scratch;
  if (!reference->path.empty()) {
    mixer = declareMixerOfFile(model_, reference->path, reference->name, diagnostics_, spec_.getPlace(path));
    if (!mixer)
      return;
  } else {
    llvm::ArrayRef<llvm::StringRef> known = getBuiltinMixers();
    if (!llvm::is_contained(known, reference->name)) {
      llvm::StringRef nearest = findNearest(reference->name, known);
      return error(path, "unknown mixer '" + reference->name + "' [S3]",
                   nearest.empty() ? "known are " + llvm::join(known, ", ") : "did you mean '" + nearest.str() + "'?");
    }
    scratch = mlir::OwningOpRef<ModelOp>(model_.cloneWithoutRegions());
    scratch->getBody().emplaceBlock();
    mixer = declareMixer(*scratch, reference->name);
  }
  mlir::MLIRContext &context = *model_.getContext();
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &diagnostic) {
    error(path, diagnostic.str() + " [S3]");
    return mlir::success();
  });
  (void)makeMixerOptions(mixer, *reference, [&] { return mlir::emitError(mlir::UnknownLoc::get(&context)); });
}

void ModelChecker::checkLinear() {
  std::set<std::string> seen = {"full"};
  checkMixer("linear.backend", seen);
  for (size_t i = 0; i < spec_.getStrings("linear.candidates").size(); ++i)
    checkMixer("linear.candidates[" + std::to_string(i) + "]", seen);
}

std::set<int64_t> ModelChecker::checkPins(llvm::StringRef path) {
  std::set<int64_t> layers;
  for (const auto &[index, layer] : llvm::enumerate(spec_.getIntegers(path))) {
    std::string place = (path + "[" + llvm::Twine(index) + "]").str();
    if (layer >= config_.getLayerCount())
      error(place, "there is no layer " + llvm::Twine(layer) + ": the model has layers 0 to " +
                       llvm::Twine(config_.getLayerCount() - 1) + " [S6]");
    else
      layers.insert(layer);
  }
  return layers;
}

void ModelChecker::checkBudget() {
  int64_t layers = config_.getLayerCount();
  bool hasLayers = spec_.isGiven("budget.full_layers"), hasRatio = spec_.isGiven("budget.ratio");
  llvm::json::Object &budget = *spec_.getTable("budget");
  if (hasLayers && hasRatio) {
    error("budget.ratio", "'budget.full_layers' and 'budget.ratio' are both given [S5]", "give one of them");
    return;
  }
  // Only a spec that ends with its base needs no budget.
  bool ends = spec_.values.getObject("pretrain") && !spec_.isGiven("budget.keep") && !spec_.isGiven("budget.linear");
  if (!hasLayers && !hasRatio && !ends) {
    error("budget.full_layers", "the budget is missing [S5]",
          "give full_layers = " + std::to_string(std::max<int64_t>(1, layers / 4)) + " or ratio = 0.25 in [budget]");
    return;
  }
  int64_t full = hasLayers ? spec_.getInteger("budget.full_layers") : layers;
  if (hasRatio)
    full = std::max<int64_t>(1, std::llround(spec_.getNumber("budget.ratio") * double(layers)));
  if (full > layers) {
    error("budget.full_layers", "'budget.full_layers' is " + llvm::Twine(full) + ", but the model has only " +
                                    llvm::Twine(layers) + " layers [S5]");
    return;
  }
  // The budget is in layers from here on.
  budget["full_layers"] = full;

  std::set<int64_t> keep = checkPins("budget.keep"), linear = checkPins("budget.linear");
  for (const auto &[index, layer] : llvm::enumerate(spec_.getIntegers("budget.linear")))
    if (keep.count(layer))
      error("budget.linear[" + std::to_string(index) + "]",
            "layer " + llvm::Twine(layer) + " is pinned to full attention and to linear attention [S6]");
  if (int64_t(keep.size()) > full)
    error("budget.keep", llvm::Twine(keep.size()) + " layers are pinned to full attention, but the budget is " +
                             llvm::Twine(full) + " [S6]");
  if (layers - int64_t(linear.size()) < full)
    error("budget.linear", llvm::Twine(linear.size()) + " of " + llvm::Twine(layers) +
                               " layers are pinned to linear attention, which leaves fewer than the budget of " +
                               llvm::Twine(full) + " [S6]");
}

void ModelChecker::checkTokens(const std::string &path) {
  bool tokens = spec_.getString(path + ".space") == "tokens";
  for (llvm::StringRef name : {"key_tokens", "value_tokens", "noise_tokens"}) {
    std::string key = path + "." + name.str();
    std::vector<int64_t> range = spec_.getIntegers(key);
    if (range.empty()) {
      if (tokens && name != "noise_tokens")
        error(key, "'" + key + "' is missing: space \"tokens\" needs it [S13]", name.str() + " = [first, last + 1]");
      continue;
    }
    if (!tokens)
      error(key, "'" + key + "' is for space \"tokens\" only [S13]");
    else if (range[0] >= range[1])
      error(key, "'" + key + "' holds no token: [first, last + 1] must rise [S13]");
    else if (range[1] > config_.vocab)
      error(key, "'" + key + "' ends at " + llvm::Twine(range[1]) + ", but the vocabulary has " +
                     llvm::Twine(config_.vocab) + " tokens [S13]");
  }
}

} // namespace

bool morph::spec::checkAgainstModel(Spec &spec, const ModelConfig &config, ModelOp model, Diagnostics &diagnostics) {
  unsigned before = diagnostics.getErrorCount();
  ModelChecker(spec, config, model, diagnostics).check();
  return diagnostics.getErrorCount() == before;
}
