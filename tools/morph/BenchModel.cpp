// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/BenchModel.h"

#include "runtime/spec/MixerName.h"
#include "tools/morph/Report.h"

#include <charconv>

using namespace morph;

StatusOr<ModelShape> ModelShape::parse(const std::string &text) {
  static constexpr const char *names[] = {"LAYERS", "HIDDEN", "HEADS", "KV_HEADS", "FFN", "VOCAB"};
  const std::string hint = "expected --shape LAYERS,HIDDEN,HEADS,KV_HEADS,FFN,VOCAB, for example 30,576,9,3,1536,49152";
  const auto fail = [&](const std::string &what) { return Status::invalid("--shape " + text + ": " + what, hint); };
  std::vector<int64_t> sizes;
  for (const char *at = text.data(), *const end = at + text.size();;) {
    int64_t size = 0;
    const auto [next, error] = std::from_chars(at, end, size);
    if (sizes.size() == std::size(names))
      return fail("more than six sizes");
    if (error != std::errc() || size < 1 || size > (int64_t(1) << 24) || (next != end && *next != ','))
      return fail(std::string(names[sizes.size()]) + " is no number from 1 to 16777216");
    sizes.push_back(size);
    if (next == end)
      break;
    at = next + 1;
  }
  if (sizes.size() < std::size(names))
    return fail(std::string(names[sizes.size()]) + " is missing");
  const ModelShape shape{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]};
  if (shape.hidden % (2 * shape.heads))
    return fail("HIDDEN must be an even multiple of HEADS: every head has an even number of channels");
  if (shape.heads % shape.kvHeads)
    return fail("HEADS must be a multiple of KV_HEADS");
  return shape;
}

Json ModelShape::config(const std::string &precision) const {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"num_hidden_layers", layers},
          {"hidden_size", hidden},
          {"num_attention_heads", heads},
          {"num_key_value_heads", kvHeads},
          {"head_dim", hidden / heads},
          {"intermediate_size", ffn},
          {"vocab_size", vocab},
          {"max_position_embeddings", 1 << 20},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 10000.0},
          {"hidden_act", "silu"},
          {"tie_word_embeddings", true},
          {"bos_token_id", 0},
          {"eos_token_id", 0},
          {"dtype", precision == "bf16" ? "bfloat16" : "float32"}};
}

ChoiceSpace BenchCompiler::makeSpace() const {
  ChoiceSpace space = makePlainSpace(model_.layers, model_.candidates, model_.fullLayers);
  // The name that the first candidate has in the model: without options and file.
  for (std::vector<Candidate> &candidates : space.layers)
    candidates[1].name = splitMixer(candidates[1].reference).name;
  return space;
}

StatusOr<fs::path> BenchCompiler::phase(const std::string &name) {
  const fs::path file = output_ / (name + ".mlir");
  std::error_code error;
  if (fs::exists(file, error))
    return file;
  if (name == "base") {
    MORPH_RETURN_IF_ERROR(compiler_.importModel(model_.folder, "", file, /*configOnly=*/model_.seeded, makeSpace()));
  } else if (name == "paired") {
    MORPH_ASSIGN_OR_RETURN(const fs::path base, phase("base"));
    MORPH_RETURN_IF_ERROR(compiler_.pair(base, makeSpace(), file));
  } else {
    MORPH_ASSIGN_OR_RETURN(const fs::path paired, phase("paired"));
    if (name == "relaxed") {
      MORPH_RETURN_IF_ERROR(compiler_.relax(paired, file));
    } else {
      const ChoiceSpace space = makeSpace();
      Choice choice(space.layers.size(), 1);
      for (int64_t i = 0; i < model_.fullLayers; ++i)
        choice[static_cast<size_t>(i * model_.layers / model_.fullLayers)] = 0;
      MORPH_RETURN_IF_ERROR(compiler_.discretize(paired, space, choice, file));
    }
  }
  return file;
}

Status BenchCompiler::emit(const Compiler &compiler, const std::string &program, const std::string &more) {
  const char *from = program == "score"   ? "base"
                     : program == "align" ? "paired"
                     : program == "gates" ? "relaxed"
                                          : "hybrid";
  MORPH_ASSIGN_OR_RETURN(const fs::path input, phase(from));
  return compiler.emitPlan(input, program, "precision=" + model_.precision + more, fileOf(program));
}

StatusOr<fs::path> BenchCompiler::plan(const std::string &program) {
  MORPH_RETURN_IF_ERROR(emit(compiler_, program, ""));
  return fileOf(program);
}

StatusOr<fs::path> BenchCompiler::plan(const std::string &program, double limit,
                                       const std::map<std::string, int64_t> &sizes, int64_t threads) {
  StageMemory memory;
  const auto measure = [&](const std::string &more) -> StatusOr<StageMemory> {
    MORPH_RETURN_IF_ERROR(emit(compiler_.withoutCode(), program, more));
    MORPH_ASSIGN_OR_RETURN(const plan::Plan plan, plan::readPlan(fileOf(program).string()));
    MORPH_ASSIGN_OR_RETURN(memory, memoryOfRun(plan, sizes, threads));
    return memory;
  };
  MORPH_RETURN_IF_ERROR(measure("").status());
  MORPH_ASSIGN_OR_RETURN(const std::string more, fitMemory(limit, memory, measure));
  if (memory.bytes > limit)
    return Status::invalid("a step takes at least " + formatBytes(memory.bytes) + ", and --memory-limit is " +
                           formatBytes(limit));
  MORPH_RETURN_IF_ERROR(emit(compiler_, program, more));
  return fileOf(program);
}
