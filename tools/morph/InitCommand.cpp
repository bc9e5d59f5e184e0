// SPDX-License-Identifier: Apache-2.0
// morph init: a spec to begin with for a model.

#include "tools/morph/Commands.h"
#include "tools/morph/Compiler.h"
#include "tools/morph/Process.h"
#include "tools/morph/Report.h"

#include <algorithm>
#include <cstdio>

using namespace morph;

namespace {

struct InitArguments {
  std::string model, output;
};

/// @PATH@ and the like are what depends on the model. The stages' steps are those of specs/smollm2-135m.toml.
constexpr const char *kSpec =
    R"(# A hybrid of @NAME@ (@ARCHITECTURE@, @LAYERS@ layers), written by `morph init`. Every key: specs/reference.md.
#   morph plan @FILE@                  what it costs, in FLOPs, memory and time on a GPU (--device h100)
#   morph run @FILE@ --out DIR         converts, evaluates and exports; again, it goes on
version = 1
seed = 0

[model]
path = @PATH@
precision = "bf16"                # fp32 on a CPU without bf16 products (`morph doctor`), or to the last digit
# device = "cuda"                 # an NVIDIA GPU
# memory_limit = 16               # GB that a stage may take: what does not fit is computed twice

[linear]
# What replaces full attention, any of `morph mixers`. This one reads what is near by a window of softmax attention and
# the rest from a state, and is soon near to the model; "gated_deltanet", the state alone, is known to more servers.
backend = "windowed_deltanet"

[budget]
full_layers = @FULL@# of @COUNTED@ those that keep full attention; or ratio = 0.25

[data]
text = ["package:jargon-text"]    # general text; better yours, of what the model is to read: text, JSON lines, parquet
holdout = 0.1                     # share that no stage trains on, for perplexity@TOKENIZER@

# What the hybrid has to recall: layers are chosen and judged by these. kind = "jsonl" reads questions of your own;
# `morph explain 'task[].kind'` lists the others, runtime/data/README.md describes them.
[[task]]
name = "one_number"
kind = "niah_single"
length = [@LENGTHS@]

[[task]]
name = "one_of_four"
kind = "niah_multi_key"
length = [@LENGTHS@]
needles = 4

# Each linear branch learns what its layer's full attention gives.
[align]
steps = 400
batch = 1
length = @LENGTH@
lr = 1e-3
lr_end = 1e-5
warmup = 10
tasks = ["one_number", "one_of_four"]
task_fraction = 0.25              # of the sequences; the others are text

# One gate a layer is trained toward the budget, all weights frozen; choices that the gates leave open are measured.
[select]
method = "gates+refine"           # or any of `morph selectors`
steps = 80
batch = 1
tasks = ["one_number", "one_of_four"]
lr = 0.05

# The hybrid learns the model's own predictions.
[distill]
steps = 100
batch = 1
length = @LENGTH@
lr = 5e-5
lr_end = 5e-6
warmup = 5
tasks = ["one_number", "one_of_four"]
task_fraction = 0.25
text_positions = @LENGTH@           # all of a text's

[evaluate]
tasks = ["one_number", "one_of_four"]
samples = 24                      # of each task and length: more make intervals narrower
baselines = ["uniform", "uniform:middle"] # evenly spread layers, for comparison
perplexity_tokens = 8192
perplexity_length = @LENGTH@
)";

std::string replaceAll(std::string text, const std::vector<std::pair<std::string, std::string>> &values) {
  for (const auto &[name, value] : values)
    for (size_t at = 0; (at = text.find("@" + name + "@", at)) != std::string::npos; at += value.size())
      text.replace(at, name.size() + 2, value);
  return text;
}

Status init(const Toolchain &tools, const InitArguments &arguments) {
  std::error_code error;
  fs::path model = fs::absolute(arguments.model).lexically_normal();
  if (!model.has_filename())
    model = model.parent_path(); // "models/tiny/"
  const std::string name = model.filename().string();
  const fs::path output = arguments.output.empty() ? name + ".toml" : arguments.output;
  if (fs::exists(output, error))
    return Status::invalid(output.string() + " exists already", "-o names the file that is to be made");
  const fs::path folder = fs::absolute(output).lexically_normal().parent_path();
  if (!fs::is_directory(folder, error))
    return Status::invalid("there is no folder " + folder.string(), "-o names a file in a folder that is there");

  const Compiler compiler(tools);
  MORPH_ASSIGN_OR_RETURN(const TemporaryFolder temporary, TemporaryFolder::create());
  MORPH_RETURN_IF_ERROR(compiler.importModel(model, "base", temporary.path() / "base.mlir", /*configOnly=*/true));
  const fs::path draft = temporary.path() / "draft.toml";
  const std::string absolute = Json(model.string()).dump();
  MORPH_RETURN_IF_ERROR(writeFile(draft.string(), "version = 1\nmodel.path = " + absolute +
                                                      "\nbudget.full_layers = 1\nalign.steps = 0\n"
                                                      "select.method = \"uniform\"\ndistill.steps = 0\n"));
  MORPH_ASSIGN_OR_RETURN(const ResolvedSpec base, compiler.resolve(draft, {}, /*configOnly=*/true));

  const ModelInfo &info = base.modelInfo;
  const int64_t length = info.maxPositions > 0 ? std::min<int64_t>(1024, info.maxPositions) : 1024;
  // Budgets do not count the layers that keep their windows, as most of Gemma's do.
  const auto &layers = base.space.layers;
  const auto counted = static_cast<int64_t>(
      std::count_if(layers.begin(), layers.end(), [](const auto &candidates) { return candidates.size() > 1; }));
  const bool hasWindows = counted < info.layers;
  const std::string full = std::to_string(std::max<int64_t>(1, (counted + 4) / 8));
  const bool hasTokenizer = fs::exists(model / "tokenizer.json", error);
  const fs::path inside = model.lexically_relative(folder);
  const std::string path = !inside.empty() && *inside.begin() != ".." ? Json(inside.string()).dump() : absolute;
  std::vector<std::pair<std::string, std::string>> values = {
      {"NAME", name},
      {"ARCHITECTURE", info.architecture},
      {"LAYERS", std::to_string(info.layers)},
      {"FILE", toShell(Command{{output.string()}})},
      {"FULL", full + std::string(20 - full.size(), ' ')},
      {"COUNTED", std::to_string(counted) + " layers" + (hasWindows ? " without a window" : "")},
      {"LENGTH", std::to_string(length)},
      {"LENGTHS", (length < 1024 ? "" : std::to_string(length / 2) + ", ") + std::to_string(length)},
      {"TOKENIZER", hasTokenizer ? "" : "\n# The model's folder has no tokenizer.json:\n# tokenizer = \"FOLDER\""},
      {"PATH", absolute}};
  // What is written is what has been read.
  MORPH_RETURN_IF_ERROR(writeFile(draft.string(), replaceAll(kSpec, values)));
  MORPH_RETURN_IF_ERROR(compiler.resolve(draft, {}, /*configOnly=*/true).status());
  values.back().second = path;
  MORPH_RETURN_IF_ERROR(writeFile(output.string(), replaceAll(kSpec, values)));
  if (!hasTokenizer)
    printNote(model.string() + " has no tokenizer.json: name one in data.tokenizer");
  std::printf("%s: %s of %lld layers, %s%s keep full attention\n\nNext:\n  %s\n  %s\n", output.c_str(),
              info.architecture.c_str(), static_cast<long long>(info.layers), full.c_str(),
              hasWindows ? (" of the " + std::to_string(counted) + " without a window").c_str() : "",
              toShell(Command{{"morph", "plan", output.string()}}).c_str(),
              toShell(Command{{"morph", "run", output.string(), "--out", output.stem().string() + ".run"}}).c_str());
  return Status();
}

} // namespace

void morph::addInitCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<InitArguments>();
  CLI::App *command = app.add_subcommand("init", "Write a commented spec for a model, to begin with");
  command->add_option("MODEL", arguments->model, "Hugging Face folder of the base model")->required();
  command->add_option("-o,--output", arguments->output, "The spec to write (default: NAME.toml by the folder's name)");
  command->callback(
      [&action, arguments] { action = [arguments](const Toolchain &tools) { return init(tools, *arguments); }; });
}
