// SPDX-License-Identifier: Apache-2.0
// morph bench: how long a step of a program takes on this machine, and how long its matrix products alone.

#include "runtime/plan/OpTable.h"
#include "tools/morph/BenchModel.h"
#include "tools/morph/Commands.h"
#include "tools/morph/CompileBench.h"
#include "tools/morph/Machine.h"
#include "tools/morph/MixerBench.h"
#include "tools/morph/Report.h"
#include "tools/morph/SpecArguments.h"
#include "tools/morph/Validators.h"

#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>
#include <sstream>

using namespace morph;

namespace {

using OrderedJson = nlohmann::ordered_json;

/// What can be measured.
struct Mode {
  const char *name;
  const char *program; ///< Null: no program is run.
  int64_t positions;   ///< Rows of a sequence that the loss reads by default, as far as there are so many.
};
constexpr int64_t kAllPositions = std::numeric_limits<int64_t>::max();
constexpr Mode kModes[] = {
    {"gates", "gates", 32},      {"align", "align", 0},
    {"distill", "distill", 128}, {"finetune", "finetune", kAllPositions},
    {"prefill", "decode", 0},    {"decode", "decode", 0},
    {"compile", nullptr, 0},     {"kernels", "gates", 32},
};

struct BenchArguments {
  std::string mode, shape, model, precision = "bf16", save, device = "cpu";
  std::vector<std::string> backends;
  int64_t length = 1024, batch = 1, threads = 0, positions = 0, fullLayers = -1;
  int64_t repeat = 5, warmup = 2, seed = 0;
  double memoryLimit = 0; ///< In GB; 0: none.
  bool json = false, profile = false;
};

const Mode &modeOf(const BenchArguments &arguments) {
  for (const Mode &mode : kModes)
    if (arguments.mode == mode.name)
      return mode;
  return kModes[0]; // CLI11 has checked the name.
}

/// The model of the arguments; of a shape a folder is written below `folder`.
StatusOr<BenchModel> findModel(const Toolchain &tools, const BenchArguments &arguments, const fs::path &folder) {
  BenchModel model;
  model.candidates = arguments.backends;
  const bool kernels = arguments.mode == "kernels";
  if (model.candidates.empty() && kernels) {
    MORPH_ASSIGN_OR_RETURN(const Json known, Compiler(tools).mixers());
    for (const Json &mixer : known)
      model.candidates.push_back(mixer["name"]);
  }
  if (model.candidates.empty())
    model.candidates = {"gated_deltanet"};
  if (arguments.shape.empty() == arguments.model.empty())
    return Status::invalid("bench measures either a --shape or a --model", "give one of them");
  if (!arguments.model.empty()) {
    model.folder = arguments.model;
    const std::string file = (model.folder / "config.json").string();
    MORPH_ASSIGN_OR_RETURN(const Json config, readJson(file));
    MORPH_ASSIGN_OR_RETURN(model.layers, jsonGet<int64_t>(config, "num_hidden_layers", file));
  } else {
    MORPH_ASSIGN_OR_RETURN(ModelShape shape, ModelShape::parse(arguments.shape));
    if (kernels) // The first layer's mixers have no backward for gates alone; the second's have.
      shape.layers = 2;
    model.seeded = true;
    model.layers = shape.layers;
    model.folder = arguments.save.empty() ? folder / "model" : fs::path(arguments.save);
    MORPH_RETURN_IF_ERROR(makeFolder(model.folder));
    MORPH_RETURN_IF_ERROR(writeJson(model.folder / "config.json", shape.config(arguments.precision)));
  }
  model.precision = arguments.precision;
  model.fullLayers = arguments.fullLayers >= 0
                         ? arguments.fullLayers
                         : std::max<int64_t>(1, std::llround(static_cast<double>(model.layers) / 8));
  if (model.fullLayers > model.layers)
    return Status::invalid("--full-layers is " + std::to_string(model.fullLayers) + ", and the model has " +
                           std::to_string(model.layers) + " layers");
  return model;
}

/// Of a profile the token mixers: seconds of one call forward and backward, and both as a multiple of full attention's.
OrderedJson mixersOf(const OrderedJson &profile) {
  std::map<std::string, std::map<bool, double>> seconds; // By mixer, forward and backward.
  const std::string attention = "attention", gradient = "_grad";
  for (const OrderedJson &line : profile) {
    const std::string op = line["op"];
    const std::string name = op.substr(0, op.find(' '));
    const plan::OpRule *rule = plan::findOpRule(name);
    if (!rule || !rule->mixesTokens)
      continue;
    const size_t end = name.rfind(gradient);
    const bool backward = end != std::string::npos && end + gradient.size() == name.size();
    // The operands that make it another mixer follow the name: those that the forward has, too.
    std::string mixer = name.substr(0, end);
    const plan::OpRule &forward = backward ? *plan::findOpRule(mixer) : *rule;
    std::istringstream words(op.substr(name.size()));
    for (std::string word; words >> word;)
      if (forward.operandIndex(word) >= 0)
        mixer += " " + word;
    seconds[mixer][backward] = line["seconds"].get<double>() / line["calls"].get<double>();
  }
  OrderedJson mixers = OrderedJson::array();
  for (const auto &[mixer, times] : seconds) {
    OrderedJson line = {{"mixer", mixer}};
    for (const auto &[backward, time] : times) {
      const std::string direction = backward ? "backward" : "forward";
      line[direction + "_seconds"] = time;
      if (const auto full = seconds.find(attention); full != seconds.end() && full->second.count(backward))
        line[direction + "_against_attention"] = time / full->second.at(backward);
    }
    mixers.push_back(line);
  }
  return mixers;
}

/// Runs a program's plan by morph-run.
StatusOr<OrderedJson> runPlan(const Toolchain &tools, const BenchArguments &arguments, const Mode &mode,
                              const BenchModel &model, BenchCompiler &compiler) {
  MORPH_ASSIGN_OR_RETURN(const std::string runtime, tools.program("morph-run"));
  const bool decodes = std::string(mode.name) == "decode";
  const int64_t length = decodes ? 1 : arguments.length;
  int64_t positions = arguments.positions;
  if (positions == 0)
    positions = std::min(mode.positions, length - 1);
  fs::path plan;
  if (arguments.memoryLimit > 0) {
    if (std::string(mode.program) == "decode")
      return Status::invalid("--memory-limit is for steps of training: decoding keeps nothing for later");
    const std::map<std::string, int64_t> sizes = {
        {"B", arguments.batch}, {"T", length}, {"N", arguments.batch * positions}};
    MORPH_ASSIGN_OR_RETURN(
        plan, compiler.plan(mode.program, 1e9 * arguments.memoryLimit, sizes, threadsOf(arguments.threads)));
  } else {
    MORPH_ASSIGN_OR_RETURN(plan, compiler.plan(mode.program));
  }
  Command command{
      {runtime, "bench", "--program", mode.program, "--plan", std::string(mode.program) + "=" + plan.string()},
      /*captureOutput=*/true};
  const auto add = [&](const char *name, const std::string &value) {
    command.arguments.insert(command.arguments.end(), {name, value});
  };
  if (model.seeded) {
    MORPH_ASSIGN_OR_RETURN(const fs::path score, compiler.plan("score"));
    add("--plan", "score=" + score.string());
  } else {
    add("--weights", model.folder.string());
  }
  add("--batch", std::to_string(arguments.batch));
  add("--length", std::to_string(length));
  add("--context", std::to_string(decodes ? arguments.length : 0));
  add("--positions", std::to_string(positions));
  add("--repeat", std::to_string(arguments.repeat));
  add("--warmup", std::to_string(arguments.warmup));
  add("--seed", std::to_string(arguments.seed));
  add("--device", arguments.device);
  if (arguments.threads > 0)
    add("--threads", std::to_string(arguments.threads));
  if (!arguments.save.empty())
    add("--save", arguments.save);
  if (arguments.profile || std::string(mode.name) == "kernels")
    command.arguments.push_back("--profile");
  MORPH_ASSIGN_OR_RETURN(const ProcessResult result, runProcess(command));
  MORPH_RETURN_IF_ERROR(toStatus(result, command));
  return parseJson<OrderedJson>(result.output, "the output of morph-run bench");
}

void printLine(const char *name, const std::string &value) { std::printf("  %-20s %s\n", name, value.c_str()); }

void printProfile(const OrderedJson &result) {
  const auto number = [&](const char *name) { return result[name].is_number() ? result[name].get<double>() : 0; };
  std::printf("%s, %s\n\n", result["mode"].get<std::string>().c_str(),
              result[result.contains("device") ? "device" : "cpu"].get<std::string>().c_str());
  printLine("median",
            formatFixed(number("median_seconds"), 4) + " s (spread " + formatFixed(100 * number("spread"), 1) + " %)");
  if (result["tokens_per_second"].is_number()) {
    printLine("tokens a second", formatCount(number("tokens_per_second")));
    printLine("FLOPs", formatCount(number("flops")));
    printLine("large products alone",
              formatFixed(number("ideal_gemm_seconds"), 4) + " s (share " + formatFixed(number("share"), 3) + ")");
    printLine("peak memory",
              formatBytes(number("peak_bytes")) + " (planned " + formatBytes(number("planned_bytes")) + ")");
    printLine("allocations", std::to_string(result["allocations"].get<int64_t>()));
  }
  if (result.contains("read_share"))
    printLine("reading alone", formatFixed(number("ideal_read_seconds"), 4) + " s (" +
                                   formatBytes(number("read_bytes")) + ", share " +
                                   formatFixed(number("read_share"), 3) + ")");
  for (const char *list : {"programs", "passes"})
    if (result.contains(list)) {
      Table table({list, "seconds"});
      for (const auto &[name, seconds] : result[list].items())
        table.add({name, formatFixed(seconds, 4)});
      std::printf("\n%s", table.print().c_str());
    }
  if (result.contains("mixers")) {
    Table table({"a call of", "forward, s", "backward, s", "forward / attention", "backward / attention"});
    const auto cell = [](const OrderedJson &line, const char *key, int digits) {
      return line.contains(key) ? formatFixed(line[key], digits) : "-";
    };
    for (const OrderedJson &line : result["mixers"])
      table.add({line["mixer"], cell(line, "forward_seconds", 5), cell(line, "backward_seconds", 5),
                 cell(line, "forward_against_attention", 3), cell(line, "backward_against_attention", 3)});
    std::printf("\n%s", table.print().c_str());
  } else if (result.contains("profile")) {
    Table table({"op", "seconds", "calls", "share"});
    for (const OrderedJson &line : result["profile"])
      table.add({line["op"], formatFixed(line["seconds"], 4), formatFixed(line["calls"], 0),
                 formatFixed(100 * line["share"].get<double>(), 1) + " %"});
    std::printf("\n%s", table.print().c_str());
  }
}

Status bench(const Toolchain &tools, const BenchArguments &arguments) {
  const Mode &mode = modeOf(arguments);
  MORPH_ASSIGN_OR_RETURN(const TemporaryFolder folder, TemporaryFolder::create());
  MORPH_ASSIGN_OR_RETURN(const BenchModel model, findModel(tools, arguments, folder.path()));
  OrderedJson result = {{"mode", mode.name}};
  if (!mode.program) {
    MORPH_ASSIGN_OR_RETURN(const OrderedJson measured, benchCompiler(tools, model, arguments.repeat));
    result.update(measured);
  } else {
    MORPH_ASSIGN_OR_RETURN(const std::string target, targetOf(tools, arguments.device));
    BenchCompiler compiler(tools, model, folder.path(), target);
    MORPH_ASSIGN_OR_RETURN(const OrderedJson measured, runPlan(tools, arguments, mode, model, compiler));
    result.update(measured);
  }
  if (arguments.mode == "kernels")
    result["mixers"] = mixersOf(result["profile"]);
  if (arguments.json)
    std::printf("%s\n", result.dump(2).c_str());
  else
    printProfile(result);
  return Status();
}

} // namespace

void morph::addBenchCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<BenchArguments>();
  CLI::App *command = app.add_subcommand("bench", "Time of a program's steps on this machine, and what it could be");
  std::vector<std::string> modes;
  for (const Mode &mode : kModes)
    modes.push_back(mode.name);
  const auto count = CLI::Range(int64_t(1), int64_t(1) << 30);
  command->add_option("MODE", arguments->mode, "What is measured")->check(CLI::IsMember(modes));
  command->add_option("--shape", arguments->shape,
                      "A Llama model with random weights: LAYERS,HIDDEN,HEADS,KV_HEADS,FFN,VOCAB");
  command->add_option("--model", arguments->model, "A Hugging Face folder of a base model instead");
  command->add_option("--length", arguments->length, "Tokens of a sequence; decode: in the caches")
      ->check(count)
      ->capture_default_str();
  command->add_option("--batch", arguments->batch, "Sequences")->check(count)->capture_default_str();
  command
      ->add_option("--positions", arguments->positions,
                   "Rows of a sequence that the loss reads (gates 32, distill 128, finetune all)")
      ->check(count);
  command
      ->add_option("--backend", arguments->backends,
                   "Linear attention of the layers (gated_deltanet; kernels: all); several are candidates of gates")
      ->delimiter(',');
  command->add_option("--full-layers", arguments->fullLayers, "Layers of a hybrid that keep full attention (an eighth)")
      ->check(aboveZero(/*orEqual=*/true));
  command->add_option("--precision", arguments->precision, "Element type of products")
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->capture_default_str();
  command
      ->add_option("--memory-limit", arguments->memoryLimit,
                   "Memory in GB that a step's tensors may take: values are computed twice for it")
      ->check(aboveZero());
  command->add_option("--threads", arguments->threads, "CPU threads (default: all cores)")->check(count);
  addDeviceArgument(*command, arguments->device);
  command->add_option("--repeat", arguments->repeat, "Samples")
      ->check(CLI::Range(int64_t(1), int64_t(1000000)))
      ->capture_default_str();
  command->add_option("--warmup", arguments->warmup, "Untimed steps before them")
      ->check(CLI::Range(int64_t(2), int64_t(1000000)))
      ->capture_default_str();
  command->add_option("--seed", arguments->seed, "Of weights and inputs")
      ->check(aboveZero(/*orEqual=*/true))
      ->capture_default_str();
  command->add_option("--save", arguments->save,
                      "Folder to write config.json to, and model, branches and inputs, each with .safetensors");
  command->add_flag("--profile", arguments->profile, "Seconds by op, too");
  command->add_flag("--json", arguments->json, "Print JSON");
  addMixerBench(*command, action);
  command->callback([&action, arguments, command] {
    if (!command->get_subcommands().empty())
      return;
    if (arguments->mode.empty())
      throw CLI::RequiredError("MODE");
    action = [arguments](const Toolchain &tools) { return bench(tools, *arguments); };
  });
}
