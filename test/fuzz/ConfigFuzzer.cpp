// SPDX-License-Identifier: Apache-2.0
// config.json of a Hugging Face folder to IR.

#include "FuzzContext.h"
#include "MemoryFile.h"
#include "TokenMutator.h"

#include "frontends/ModelBuilder.h"
#include "frontends/huggingface/Import.h"

#include "llvm/Support/raw_ostream.h"

using namespace morph;

const std::vector<std::string> &fuzz::formatWords() {
  static const std::vector<std::string> words{"true",
                                              "false",
                                              "null",
                                              "llama",
                                              "mistral",
                                              "qwen2",
                                              "qwen3",
                                              "hidden_size",
                                              "num_attention_heads",
                                              "num_key_value_heads",
                                              "head_dim",
                                              "num_hidden_layers",
                                              "rope_scaling",
                                              "rope_parameters",
                                              "rope_type",
                                              "llama3",
                                              "yarn",
                                              "linear",
                                              "dynamic",
                                              "factor",
                                              "sliding_window",
                                              "layer_types",
                                              "full_attention",
                                              "sliding_attention",
                                              "attention_bias",
                                              "tie_word_embeddings",
                                              "torch_dtype",
                                              "bfloat16",
                                              "float32",
                                              "morph"};
  return words;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::MemoryFile file;
  static fuzz::FuzzContext context(&loadModelDialects);
  static fuzz::MemoryFolder folder;
  static bool added = (folder.add("config.json", file), true);
  (void)added;
  file.set(data, size);
  Diagnostics diagnostics("fuzz", llvm::nulls());
  importHuggingFace(context.get(), folder.path(), "model", WeightCheck::IfPresent, diagnostics);
  return 0;
}
