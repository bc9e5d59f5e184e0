// SPDX-License-Identifier: Apache-2.0
// Constraints between the spec and its model: S3, S4, S5, S6, S13.

#include "dialect/backends/LinearAttentionBackend.h"
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
  ModelChecker(Spec &spec, const ModelConfig &model, mlir::MLIRContext &context, Diagnostics &diagnostics)
      : spec_(spec), model_(model), context_(context), diagnostics_(diagnostics) {}

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
  void checkKind(const std::string &path, llvm::StringRef kind, bool windowToo);
  void checkOptions(llvm::StringRef kind, llvm::StringRef path);
  void checkBudget();
  std::set<int64_t> checkPins(llvm::StringRef path);
  void checkTokens(const std::string &path);

  Spec &spec_;
  const ModelConfig &model_;
  mlir::MLIRContext &context_;
  Diagnostics &diagnostics_;
};

void ModelChecker::checkKind(const std::string &path, llvm::StringRef kind, bool windowToo) {
  llvm::SmallVector<llvm::StringRef> kinds = getLinearAttentionKinds();
  if (windowToo)
    kinds.push_back("sliding_window");
  if (llvm::is_contained(kinds, kind)) {
    if (kind != "sliding_window")
      checkOptions(kind, path);
    return;
  }
  llvm::StringRef nearest = findNearest(kind, kinds);
  error(path, "unknown backend '" + kind + "' [S3]",
        nearest.empty() ? "known are " + llvm::join(kinds, ", ") : "did you mean '" + nearest.str() + "'?");
}

/// What the schema's ranges do not say of a backend's options.
void ModelChecker::checkOptions(llvm::StringRef kind, llvm::StringRef path) {
  mlir::Builder builder(&context_);
  llvm::SmallVector<mlir::NamedAttribute> given;
  for (const LinearMixerOption &option : getLinearAttentionBackend(kind)->getOptions()) {
    std::string key = "linear." + option.name.str();
    if (const llvm::json::Value *value = spec_.find(key))
      given.push_back(builder.getNamedAttr(option.name, builder.getI64IntegerAttr(*value->getAsInteger())));
  }
  mlir::ScopedDiagnosticHandler handler(&context_, [&](mlir::Diagnostic &diagnostic) {
    error(path, diagnostic.str() + " [S3]");
    return mlir::success();
  });
  (void)linearMixerOptions(kind, builder.getDictionaryAttr(given),
                           [&] { return mlir::emitError(mlir::UnknownLoc::get(&context_)); });
}

void ModelChecker::checkLinear() {
  std::string backend = spec_.getString("linear.backend");
  checkKind("linear.backend", backend, false);
  std::set<std::string> seen = {backend, "full"};
  bool sliding = false;
  for (const auto &[index, kind] : llvm::enumerate(spec_.getStrings("linear.candidates"))) {
    std::string path = "linear.candidates[" + std::to_string(index) + "]";
    sliding |= kind == "sliding_window";
    if (!seen.insert(kind).second)
      error(path, "'" + kind + "' is a candidate already [S3]");
    else
      checkKind(path, kind, true);
  }
  int64_t window = spec_.getInteger("linear.window");
  if (sliding && window == 0)
    error("linear.window", "the candidate 'sliding_window' needs 'linear.window' [S4]", "window = 256, for example");
  if (!sliding && window != 0)
    error("linear.window", "'linear.window' is given, but 'sliding_window' is no candidate [S4]",
          "candidates = [\"sliding_window\"]");
}

std::set<int64_t> ModelChecker::checkPins(llvm::StringRef path) {
  std::set<int64_t> layers;
  for (const auto &[index, layer] : llvm::enumerate(spec_.getIntegers(path))) {
    std::string place = (path + "[" + llvm::Twine(index) + "]").str();
    if (layer >= model_.getLayerCount())
      error(place, "there is no layer " + llvm::Twine(layer) + ": the model has layers 0 to " +
                       llvm::Twine(model_.getLayerCount() - 1) + " [S6]");
    else
      layers.insert(layer);
  }
  return layers;
}

void ModelChecker::checkBudget() {
  int64_t layers = model_.getLayerCount();
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
    else if (range[1] > model_.vocab)
      error(key, "'" + key + "' ends at " + llvm::Twine(range[1]) + ", but the vocabulary has " +
                     llvm::Twine(model_.vocab) + " tokens [S13]");
  }
}

} // namespace

bool morph::spec::checkAgainstModel(Spec &spec, const ModelConfig &model, mlir::MLIRContext &context,
                                    Diagnostics &diagnostics) {
  unsigned before = diagnostics.getErrorCount();
  ModelChecker(spec, model, context, diagnostics).check();
  return diagnostics.getErrorCount() == before;
}
