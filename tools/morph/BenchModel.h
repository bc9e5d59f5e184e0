// SPDX-License-Identifier: Apache-2.0
// The model that `morph bench` measures: a folder, or a shape, as the plans of what is measured.

#ifndef MORPH_TOOLS_MORPH_BENCHMODEL_H
#define MORPH_TOOLS_MORPH_BENCHMODEL_H

#include "tools/morph/MemoryLimit.h"

#include <optional>

namespace morph {

/// The sizes of a Llama model.
struct ModelShape {
  int64_t layers = 0, hidden = 0, heads = 0, kvHeads = 0, ffn = 0, vocab = 0;

  /// Reads "LAYERS,HIDDEN,HEADS,KV_HEADS,FFN,VOCAB". Errors name the size that is wrong.
  static StatusOr<ModelShape> parse(const std::string &text);
  /// Its config.json for weights of `precision` (fp32 or bf16).
  Json config(const std::string &precision) const;
};

/// A model and what becomes of it.
struct BenchModel {
  fs::path folder;     ///< With config.json.
  bool seeded = false; ///< It has no weights: they are made from a seed.
  int64_t layers = 0;
  std::string precision = "fp32";      ///< Of the factors of products.
  std::vector<std::string> candidates; ///< The first is the backend of layers that become linear.
  int64_t fullLayers = 0;              ///< Layers of a hybrid that keep full attention, at even distances; may be all.
};

/// Takes a model through the compiler, a file in `output` a phase and plan.
class BenchCompiler {
public:
  /// Plans are for `target` (Compiler).
  BenchCompiler(const Toolchain &tools, const BenchModel &model, fs::path output, const std::string &target = "")
      : compiler_(tools, target), model_(model), output_(std::move(output)) {}

  /// The file of a phase (base, paired, relaxed, hybrid), compiled when first asked for.
  StatusOr<fs::path> phase(const std::string &name);
  /// The plan of a program as a run has it: gates of the relaxed model, align of the paired one, score of the base, the
  /// others of the hybrid.
  StatusOr<fs::path> plan(const std::string &program);
  /// The same, where a run with the named sizes takes at most `limit` bytes by computing values twice. Errors: it takes
  /// more.
  StatusOr<fs::path> plan(const std::string &program, double limit, const std::map<std::string, int64_t> &sizes,
                          int64_t threads);

private:
  ChoiceSpace makeSpace() const;
  Status emit(const Compiler &compiler, const std::string &program, const std::string &more);
  fs::path fileOf(const std::string &program) const { return output_ / (program + ".json"); }

  Compiler compiler_;
  const BenchModel &model_;
  fs::path output_;
};

} // namespace morph

#endif // MORPH_TOOLS_MORPH_BENCHMODEL_H
