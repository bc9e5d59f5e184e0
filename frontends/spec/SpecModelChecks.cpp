// SPDX-License-Identifier: Apache-2.0
// Constraints between the spec and its model: S13, S35, and what [budget] says of itself: S5.

#include "frontends/spec/Schema.h"
#include "frontends/spec/Spec.h"

using namespace morph;
using namespace morph::spec;

namespace {

class ModelChecker {
public:
  ModelChecker(const Spec &spec, const ModelConfig &config, Diagnostics &diagnostics)
      : spec_(spec), config_(config), diagnostics_(diagnostics) {}

  void check() {
    checkBudget();
    for (size_t i = 0; i < spec_.values.getArray("tasks")->size(); ++i)
      checkTokens("task[" + std::to_string(i) + "]");
    if (spec_.getInteger("distill.top_tokens") > config_.vocab)
      error("distill.top_tokens",
            "the vocabulary has " + llvm::Twine(config_.vocab) + " tokens, fewer than 'distill.top_tokens' [S35]",
            "leave it out: the teacher's whole distribution counts");
  }

private:
  void error(llvm::StringRef path, const llvm::Twine &message, const llvm::Twine &hint = "") {
    diagnostics_.error(spec_.getPlace(path), message, hint);
  }
  void checkBudget();
  void checkTokens(const std::string &path);

  const Spec &spec_;
  const ModelConfig &config_;
  Diagnostics &diagnostics_;
};

/// What [budget] says of itself.
void ModelChecker::checkBudget() {
  auto isGiven = [&](const char *key) { return spec_.isGiven(std::string("budget.") + key); };
  if (isGiven("full_layers") && isGiven("ratio"))
    error("budget.ratio", "'budget.full_layers' and 'budget.ratio' are both given [S5]", "give one of them");
  for (const char *key : {"cache_bytes", "decode_seconds"})
    if (isGiven(key) && !isGiven("context"))
      error(std::string("budget.") + key, "'budget." + llvm::Twine(key) + "' holds at a context, which is missing [S5]",
            "context = 32768");
  if (isGiven("decode_seconds") && !isGiven("costs"))
    error("budget.decode_seconds", "'budget.decode_seconds' needs a table of costs [S5]",
          "costs = \"costs.json\", which 'morph bench mixers' writes");
}

void ModelChecker::checkTokens(const std::string &path) {
  bool tokens = spec_.getString(path + ".space") == "tokens";
  for (llvm::StringRef name : {"key_tokens", "value_tokens", "noise_tokens"}) {
    std::string key = path + "." + name.str();
    std::vector<int64_t> range = spec_.getIntegers(key);
    if (range.empty()) {
      // Sequences of induction are made of values alone.
      bool needed = name == "value_tokens" || (name == "key_tokens" && spec_.getString(path + ".kind") != "induction");
      if (tokens && needed)
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

bool morph::spec::checkAgainstModel(const Spec &spec, const ModelConfig &config, Diagnostics &diagnostics) {
  unsigned before = diagnostics.getErrorCount();
  ModelChecker(spec, config, diagnostics).check();
  return diagnostics.getErrorCount() == before;
}
