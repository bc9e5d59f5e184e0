// SPDX-License-Identifier: Apache-2.0
// `mixers.mlir` of a hybrid's folder, whose config.json gives a layer the mixer @declared: read, put into the model,
// and from there to Python and through one pipeline, which the length of the text chooses.

#include "IrText.h"
#include "MemoryFile.h"
#include "Pipelines.h"
#include "TokenMutator.h"

#include "frontends/huggingface/Import.h"
#include "passes/EmitPyTorch.h"

#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace morph;

static const char kConfig[] = R"({"model_type": "morph_hybrid", "base_model_type": "llama", "hidden_size": 16,
  "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4,
  "vocab_size": 32, "max_position_embeddings": 64, "layer_types": ["full_attention", "linear_attention"],
  "morph": {"norm_eps": 1e-5, "mixers": [{"kind": "full"}, {"kind": "declared", "weights": "linear_attn"}]}})";

static fuzz::Pipelines &pipelines() {
  static fuzz::Pipelines pipelines;
  return pipelines;
}

const std::vector<std::string> &fuzz::formatWords() {
  static const std::vector<std::string> words = [] {
    std::vector<std::string> list{"\"H * D\"",
                                  "\"M\"",
                                  "\"G\"",
                                  "\"H / D - H\"",
                                  "\"base.layer\"",
                                  "\"\"",
                                  "\"i\"",
                                  "\"chunk\"",
                                  "@declared",
                                  "doc",
                                  "options",
                                  "sizes",
                                  "requires",
                                  "indices",
                                  "init",
                                  "<normal, \"1\">",
                                  "frozen",
                                  "f32",
                                  "i64",
                                  "f64",
                                  "tensor<?xf32>",
                                  "tensor<?x?xf32>",
                                  "{",
                                  "}",
                                  "[]",
                                  "\n"};
    for (RegisteredOperationName name : pipelines().context().getRegisteredOperations())
      if (name.getStringRef().starts_with("morph."))
        list.push_back(name.getStringRef().str());
    return list;
  }();
  return words;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::MemoryFile config, mixers;
  static fuzz::MemoryFolder folder;
  static bool added = (config.set(kConfig), folder.add("config.json", config), folder.add("mixers.mlir", mixers), true);
  (void)added;
  if (fuzz::refersForward({reinterpret_cast<const char *>(data), size}))
    return 0;
  mixers.set(data, size);
  Diagnostics diagnostics("fuzz", llvm::nulls());
  OwningOpRef<ModuleOp> module =
      importHuggingFace(pipelines().context(), folder.path(), "model", WeightCheck::IfPresent, diagnostics);
  if (!module)
    return 0;
  for (ModelOp model : module->getOps<ModelOp>())
    (void)emitPyTorch(model);
  pipelines().run(*module, static_cast<unsigned>(size));
  return 0;
}
