// SPDX-License-Identifier: Apache-2.0
// A `.morph` file with an arch, for a tiny model: run as a spec to its resolved spec. What follows a line "//--- costs"
// is the table of costs `costs.json`, for archs that name it; what follows a line "//--- spec" after that a spec that
// is run instead, and that may name the arch.

#include "FuzzContext.h"
#include "MemoryFile.h"
#include "TokenMutator.h"

#include "frontends/ModelBuilder.h"
#include "frontends/morph/Mixers.h"
#include "frontends/spec/Spec.h"
#include "runtime/spec/SpaceJson.h"

#include "llvm/Support/FormatVariadic.h"

#include <cstdlib>

using namespace morph;

static constexpr llvm::StringRef kConfig = R"({"model_type": "llama", "hidden_size": 16, "intermediate_size": 24,
  "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4, "vocab_size": 32,
  "max_position_embeddings": 64})";

const std::vector<std::string> &fuzz::formatWords() {
  static const std::vector<std::string> words = [] {
    std::vector<std::string> list{"arch a {\n",
                                  "}\n",
                                  "\n  model \".\"\n",
                                  "\n  recipe \"costs.json\"\n",
                                  "\n  doc \"a\"\n",
                                  "\n  layers all = full | gla\n",
                                  "\n  layers 0..3, 5 = ",
                                  "\n  tie 1..2\n",
                                  "\n  pin 0 = full\n",
                                  "\n  pattern one full in every 2\n",
                                  "\n  budget full_layers = 2\n",
                                  "\n  budget ratio = 0.5\n",
                                  "\n  budget cache_bytes = 9e3 at 64\n",
                                  "\n  budget decode_seconds = 1 at 64 by \"costs.json\"\n",
                                  "\narch = \"arch.morph\"\n",
                                  "all",
                                  "full",
                                  " | ",
                                  "..",
                                  "sliding_window(window = 8)",
                                  "\"arch.morph:mine\"",
                                  "mine",
                                  "version",
                                  "contexts",
                                  "mixers",
                                  "mixer",
                                  "seconds",
                                  "fixed",
                                  "head",
                                  "layer",
                                  "true",
                                  "null"};
    for (llvm::StringRef name : getBuiltinMixers())
      list.push_back(name.str());
    return list;
  }();
  return words;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::MemoryFile config, arch, costs, spec;
  static fuzz::FuzzContext context(&loadModelDialects);
  static fuzz::MemoryFolder folder;
  static bool added = [] {
    config.set(kConfig.str());
    folder.add("config.json", config);
    folder.add("arch.morph", arch);
    folder.add("costs.json", costs);
    folder.add("spec.toml", spec);
    return true;
  }();
  (void)added;
  auto [first, second] = llvm::StringRef(reinterpret_cast<const char *>(data), size).split("//--- costs\n");
  arch.set(first.data(), first.size());
  auto [table, text] = second.split("//--- spec\n");
  costs.set(table.data(), table.size());
  spec.set(text.data(), text.size());
  SpecOptions options;
  options.configOnly = true;
  Diagnostics diagnostics("fuzz", llvm::nulls());
  std::optional<ImportedSpec> imported =
      importSpec(context.get(), folder.path() + (text.empty() ? "/arch.morph" : "/spec.toml"), options, diagnostics);
  if (!imported) {
    if (!diagnostics.hasErrors())
      std::abort();
    return 0;
  }
  // What reads the resolved spec takes its space.
  const llvm::json::Value *space = imported->spec.values.get("space");
  if (!space || !parseSpace(llvm::formatv("{0}", *space).str(), "space").ok())
    std::abort();
  printSpec(imported->spec);
  return 0;
}
