// SPDX-License-Identifier: Apache-2.0
// morph plan: what a spec would run and need, from its config alone.

#include "tools/morph/Commands.h"

#include "runtime/plan/Cost.h"
#include "tools/morph/Compiler.h"
#include "tools/morph/Costs.h"
#include "tools/morph/DataScript.h"
#include "tools/morph/DeviceMeasure.h"
#include "tools/morph/MemoryLimit.h"
#include "tools/morph/Report.h"
#include "tools/morph/Serving.h"
#include "tools/morph/SpecArguments.h"
#include "tools/morph/SpecPlans.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>
#include <set>

using namespace morph;

namespace {

struct PlanArguments : SpecArguments {
  bool json = false;
  int64_t processes = 1;
  std::string device; ///< Of plan::deviceNames(), "measured", or empty.
};

constexpr const char *kMeasured = "measured";

/// Tasks in words have the room that the tokenizer gives them; where it is not there, the spec's readers have held them
/// to a token a piece.
Status checkWords(const Toolchain &tools, const ResolvedSpec &resolved, const fs::path &folder) {
  const fs::path tokenizer = resolved.data.tokenizer, data = folder / "data", spec = folder / "tasks.json";
  std::error_code error;
  if (resolved.pretrain || (!fs::exists(tokenizer / "tokenizer.json", error) && !fs::is_regular_file(tokenizer, error)))
    return Status();
  ResolvedSpec changed = resolved;
  changed.model.threads = 0; // The run may be for another machine.
  bool words = false;
  for (TaskSpec &task : changed.tasks) {
    words |= task.space == TaskSpec::Space::Words;
    // The text is not read here, and needles take the same room in any background.
    if (task.background == TaskSpec::Background::Text) {
      task.background =
          task.space == TaskSpec::Space::Words ? TaskSpec::Background::Repeat : TaskSpec::Background::Noise;
      task.noiseTokens = task.keyTokens;
    }
  }
  if (!words)
    return Status();
  MORPH_RETURN_IF_ERROR(makeFolder(data));
  MORPH_RETURN_IF_ERROR(writeLexicons(tools, resolved, data).status());
  MORPH_RETURN_IF_ERROR(writeQuestions(tools, resolved, data).status());
  MORPH_RETURN_IF_ERROR(writeJson(spec, morph::toJson(changed)));
  MORPH_ASSIGN_OR_RETURN(const std::string runtime, tools.program("morph-run"));
  return runHelper({{runtime, "check", "--spec", spec.string(), "--run", folder.string()}});
}

/// The candidates beside full attention of any layer, each once.
Json candidatesOf(const ChoiceSpace &space) {
  std::set<std::string> references;
  for (const std::vector<Candidate> &candidates : space.layers)
    for (const Candidate &candidate : candidates)
      if (!candidate.reference.empty())
        references.insert(candidate.reference);
  return references;
}

Json toJson(const ResolvedSpec &resolved, const std::vector<StageCost> &costs,
            const std::map<std::string, double> &unlimitedFlops, int64_t processes) {
  Json stages = Json::array();
  for (StageCost cost : costs) {
    const bool isSharded = divideAmong(resolved, processes, std::numeric_limits<double>::infinity(), cost);
    const auto found = unlimitedFlops.find(cost.stage);
    const double unlimited = found == unlimitedFlops.end() ? 0 : found->second;
    const std::string excess = explainExcess(resolved, cost);
    const double flops = (cost.flops + cost.sharedFlops) / static_cast<double>(cost.models);
    // What models share is added and taken away again: the last bits say nothing.
    const double extra = unlimited > 0 && std::abs(flops / unlimited - 1) > 1e-9 ? flops / unlimited - 1 : 0;
    stages.push_back(
        {{"stage", cost.stage},
         {"models", cost.models},
         {"waves", cost.waves},
         {"steps", cost.steps},
         {"tokens", cost.tokens},
         {"flops", cost.flops},
         {"seconds", cost.seconds > 0 ? Json(cost.seconds) : Json()},
         {"extra_flops", extra},
         {"memory_bytes", cost.memory.bytes},
         {"weight_bytes", cost.memory.weights},
         {"optimizer_bytes", cost.memory.optimizer},
         {"value_bytes", cost.memory.values},
         {"sharded", isSharded},
         {"excess", excess},
         {"hint", excess.empty() ? "" : howToShrink(resolved, cost) + ", or raise model.memory_limit (in GB)"},
         {"disk_bytes", cost.diskBytes},
         {"kept_bytes", cost.keptBytes}});
  }
  return stages;
}

/// What a GPU is taken to reach, for JSON.
Json toJson(const plan::DeviceModel &device, bool isMeasured) {
  using Shares = plan::DeviceShares;
  return {{"name", device.name},
          {"target", device.target},
          {"memory_bytes", device.memoryBytes},
          {"row_bytes_per_second", device.rowBytes},
          {"bf16_product_flops", device.halfProducts},
          {"fp32_product_flops", device.floatProducts},
          {"attention_share", Shares::kAttention},
          {"linear_attention_share", Shares::kLinearAttention},
          {"launch_seconds", Shares::kLaunchSeconds},
          {"measured", isMeasured}};
}

void printDevice(const Json &device) {
  const bool isMeasured = device["measured"];
  const auto tera = [&](const char *key, int digits) { return formatFixed(device[key].get<double>() / 1e12, digits); };
  std::printf(
      "Times are estimates for one %s with %s, by %s: products at %s (bf16) and %s TFLOP/s (fp32),\n"
      "attention at %s and linear attention at %s of that, everything else at %s TB/s, %s us a launch at least.\n\n",
      device["name"].get<std::string>().c_str(), formatBytes(device["memory_bytes"]).c_str(),
      isMeasured ? "a short run" : "its data sheet", tera("bf16_product_flops", 0).c_str(),
      tera("fp32_product_flops", 0).c_str(), formatFixed(device["attention_share"], 2).c_str(),
      formatFixed(device["linear_attention_share"], 2).c_str(), tera("row_bytes_per_second", 2).c_str(),
      formatFixed(1e6 * device["launch_seconds"].get<double>(), 0).c_str());
}

/// "37 k tokens", or what there is to say of none and of all.
std::string formatContext(int64_t tokens) {
  if (tokens == 0)
    return "none: the weights alone do not fit";
  return tokens >= kMostContext ? "any" : formatCount(static_cast<double>(tokens)) + " tokens";
}

/// What decoding keeps, by contexts.
void printCaches(const Json &report) {
  if (report["cache"].empty())
    return;
  const bool hasDevice = report.contains("device");
  std::printf("Cache of one sequence while decoding:\n\n");
  std::vector<std::string> header = {"context", "full", "hybrid", "ratio"};
  if (hasDevice)
    header.insert(header.end(), {"full, ms a token", "hybrid, ms a token"});
  Table cache(header);
  for (const Json &line : report["cache"]) {
    const double full = line["full_bytes"], hybrid = line["hybrid_bytes"];
    std::vector<std::string> cells = {std::to_string(line["context"].get<int64_t>() / 1024) + "K", formatBytes(full),
                                      formatBytes(hybrid), formatFixed(full / hybrid, 2) + "x"};
    if (hasDevice)
      for (const char *key : {"full_seconds", "hybrid_seconds"})
        cells.push_back(formatFixed(1e3 * line[key].get<double>(), 2));
    cache.add(cells);
  }
  std::printf("%s", cache.print().c_str());
  if (hasDevice)
    std::printf("\nThe longest context of one sequence: full %s, hybrid %s\n",
                formatContext(report["device"]["full_context"]).c_str(),
                formatContext(report["device"]["hybrid_context"]).c_str());
}

/// What could load the hybrid, and what prevents the others.
void printServing(const Json &serving) {
  std::printf(
      "\nWhat loads the hybrid, whichever layers are kept (servers by their sources of November 2026, not run):\n\n");
  Table table({"program", "class"}, 2);
  std::string notes;
  for (const Json &engine : serving["engines"]) {
    const std::string name = engine["engine"];
    const bool isPrevented = !engine["prevented"].is_null();
    table.add({name, isPrevented ? "-" : engine["class"].get<std::string>()});
    if (isPrevented)
      notes += name + ": " + engine["prevented"].get<std::string>() + "\n";
    for (const std::string warning : engine["warnings"])
      notes += name + ": " + warning + "\n";
  }
  std::printf("%s\n%sThe export is %s: %s\n", table.print().c_str(), notes.c_str(),
              serving["format"].get<std::string>().c_str(), serving["class"].get<std::string>().c_str());
}

void print(const Json &report) {
  const bool hasDevice = report.contains("device");
  const Json &model = report["model"];
  std::string list;
  for (const std::string reference : report["candidates"])
    list += (list.empty() ? "" : " or ") + reference;
  std::string kept;
  for (const int64_t budget : report["full_layers"])
    kept += (kept.empty() ? "" : " or ") + std::to_string(budget);
  std::printf("%s: %s, %lld layers, %s keep softmax attention, the others %s\n\n",
              report["name"].get<std::string>().c_str(), model["architecture"].get<std::string>().c_str(),
              model["layers"].get<long long>(), kept.c_str(), list.c_str());
  std::vector<std::string> header = {"stage",      "steps",       "tokens", "FLOPs",
                                     "for memory", "peak memory", "disk",   "kept on the way"};
  if (hasDevice) {
    printDevice(report["device"]);
    header.push_back("estimated time");
  }
  if (report.contains("audit_runs"))
    std::printf("Each of the audit's runs, one a base and seed (%lld):\n\n", report["audit_runs"].get<long long>());
  Table stages(header);
  for (const Json &stage : report["stages"]) {
    // Tokens, FLOPs and disk are those of all models together.
    std::string name = stage["stage"];
    if (stage["models"] > 1)
      name += " x" + std::to_string(stage["models"].get<int64_t>());
    if (stage["waves"] > 1)
      name += ", " + std::to_string(stage["waves"].get<int64_t>()) + " waves";
    if (stage["sharded"])
      name += ", sharded";
    const double extra = stage["extra_flops"];
    std::vector<std::string> line = {name,
                                     stage["steps"] > 0 ? std::to_string(stage["steps"].get<int64_t>()) : "-",
                                     formatCount(stage["tokens"]),
                                     formatCount(stage["flops"]),
                                     extra >= 5e-4 ? "+" + formatFixed(100 * extra, 1) + " %" : "-",
                                     formatBytes(stage["memory_bytes"]),
                                     stage["disk_bytes"] > 0 ? formatBytes(stage["disk_bytes"]) : "-",
                                     stage["kept_bytes"] > 0 ? formatBytes(stage["kept_bytes"]) : "-"};
    if (hasDevice)
      line.push_back(stage["seconds"].is_null() ? "-" : formatDuration(stage["seconds"]));
    stages.add(line);
  }
  std::printf("%s\n", stages.print().c_str());
  for (const Json &stage : report["stages"])
    if (stage["excess"] != "")
      std::printf("%s\nhint: %s\n\n", stage["excess"].get<std::string>().c_str(),
                  stage["hint"].get<std::string>().c_str());
  printCaches(report);
  if (report.contains("serving"))
    printServing(report["serving"]);
}

/// The GPU that was named; nothing where none was.
StatusOr<std::optional<plan::DeviceModel>> findDevice(const std::string &name) {
  if (name.empty())
    return std::optional<plan::DeviceModel>();
  MORPH_ASSIGN_OR_RETURN(plan::DeviceModel device, name == kMeasured ? measureDevice() : plan::findDeviceModel(name));
  return std::optional<plan::DeviceModel>(std::move(device));
}

/// Of a spec's plans those that an audit runs.
void keepAudited(PlanFiles &files) {
  if (const auto scores = files.find("score-relaxed"); scores != files.end())
    files["judge"] = scores->second;
  for (const char *program : {"finetune", "score", "score-full"})
    files.erase(program);
}

/// What memory costs is known of the gates' program: adds to its FLOPs without a limit those of whatever else selectors
/// run, which no limit changes. Nothing is told where several train gates.
Status addOtherSelectors(const ResolvedSpec &resolved, const std::vector<Variant> &variants,
                         const std::vector<StageCost> &costs, SpecPlans &plans) {
  const auto unlimited = plans.unlimitedFlops.find("select");
  if (unlimited == plans.unlimitedFlops.end() || unlimited->second == 0)
    return Status();
  const auto training = std::count_if(variants.begin(), variants.end(), [](const Variant &variant) {
    const auto selector = parseSelectorName(variant.spec.select.method);
    return selector.ok() && selector->info->needs == SelectorNeeds::Gates;
  });
  if (resolved.audit || training != 1) {
    plans.unlimitedFlops.erase(unlimited);
    return Status();
  }
  const PlanFiles files = {{"gates", plans.files.at("gates")}};
  MORPH_ASSIGN_OR_RETURN(const std::vector<StageCost> gates, estimateStages(resolved, files, variants));
  for (const StageCost &cost : costs)
    if (cost.stage == "select")
      unlimited->second += cost.flops - gates.front().flops;
  return Status();
}

Status planSpec(const Toolchain &tools, PlanArguments arguments) {
  MORPH_ASSIGN_OR_RETURN(const std::optional<plan::DeviceModel> device, findDevice(arguments.device));
  const Compiler compiler = Compiler(tools, device ? device->target : "").withoutCode();
  MORPH_ASSIGN_OR_RETURN(ResolvedSpec resolved,
                         compiler.resolve(arguments.spec, arguments.settings, /*configOnly=*/true));
  if (device) {
    // Stages are planned within the GPU's memory, where the spec names no limit of its own.
    if (!resolved.model.memoryLimit)
      resolved.model.memoryLimit = device->memoryBytes / 1e9;
    resolved.model.threads = 1; // Those are the CPU's, for scratch.
  }
  MORPH_ASSIGN_OR_RETURN(const TemporaryFolder folder, TemporaryFolder::create());
  MORPH_RETURN_IF_ERROR(checkWords(tools, resolved, folder.path()));
  const auto resolve = [&](std::vector<std::string> settings) {
    settings.insert(settings.begin(), arguments.settings.begin(), arguments.settings.end());
    return compiler.resolve(arguments.spec, settings, /*configOnly=*/true);
  };
  std::vector<Variant> variants = variantsOf(resolved);
  if (resolved.audit) {
    MORPH_ASSIGN_OR_RETURN(variants, auditVariants(resolved, resolve));
  }
  MORPH_ASSIGN_OR_RETURN(SpecPlans plans, emitSpecPlans(compiler, arguments, resolved, variants, folder.path()));
  if (resolved.audit)
    keepAudited(plans.files);
  MORPH_ASSIGN_OR_RETURN(const Choice choice, dearestChoice(resolved));
  MORPH_ASSIGN_OR_RETURN(const std::vector<StageCost> costs,
                         estimateStages(resolved, plans.files, variants, device ? &*device : nullptr));
  MORPH_RETURN_IF_ERROR(addOtherSelectors(resolved, variants, costs, plans));
  std::set<int64_t> budgets = {static_cast<int64_t>(fullLayers(choice).size())};
  if (resolved.audit) {
    budgets.clear();
    for (const Variant &variant : variants)
      budgets.insert(variant.budget);
  }
  Json report = {{"name", resolved.name},
                 {"model", toJson(resolved.modelInfo)},
                 {"full_layers", budgets},
                 {"candidates", candidatesOf(resolved.space)},
                 {"stages", toJson(resolved, costs, plans.unlimitedFlops, arguments.processes)},
                 {"cache", Json::array()}};
  if (resolved.audit)
    report["audit_runs"] = std::max<size_t>(1, resolved.audit->bases.size()) * resolved.audit->seeds.size();
  if (device)
    report["device"] = toJson(*device, arguments.device == kMeasured);
  if (plans.files.count("decode")) {
    MORPH_ASSIGN_OR_RETURN(const plan::Plan full, plan::readPlan(plans.files.at("decode-full").string()));
    MORPH_ASSIGN_OR_RETURN(const plan::Plan hybrid, plan::readPlan(plans.files.at("decode").string()));
    report["cache"] = cacheByContext(full, hybrid, 8192);
    for (Json &line : report["cache"]) {
      if (!device)
        break;
      const int64_t context = line["context"];
      MORPH_ASSIGN_OR_RETURN(line["full_seconds"], decodeSeconds(full, context, *device));
      MORPH_ASSIGN_OR_RETURN(line["hybrid_seconds"], decodeSeconds(hybrid, context, *device));
    }
    if (device) {
      MORPH_ASSIGN_OR_RETURN(report["device"]["full_context"], longestContext(full, device->memoryBytes));
      MORPH_ASSIGN_OR_RETURN(report["device"]["hybrid_context"], longestContext(hybrid, device->memoryBytes));
    }
  }
  if (!resolved.pretrain && !resolved.audit) {
    MORPH_ASSIGN_OR_RETURN(report["serving"],
                           findEngines(tools, compiler, resolved, folder.path() / "paired.mlir", folder.path()));
  }
  if (arguments.json)
    std::printf("%s\n", report.dump(2).c_str());
  else
    print(report);
  return Status();
}

} // namespace

void morph::addPlanCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<PlanArguments>();
  CLI::App *command =
      app.add_subcommand("plan", "Print a spec's stages, tokens, FLOPs, memory and cache sizes; runs nothing");
  addSpecArguments(*command, *arguments);
  command->add_flag("--json", arguments->json, "Print JSON");
  command
      ->add_option(
          "--processes", arguments->processes,
          "Of a run by so many processes: the memory is that of each. Those that shard divide the frozen weights")
      ->check(CLI::Range(int64_t(1), int64_t(4096)))
      ->capture_default_str();
  std::vector<std::string> devices = plan::deviceNames();
  devices.push_back(kMeasured);
  command
      ->add_option("--device", arguments->device,
                   "Estimate times and memory on a GPU: by its data sheet, or this machine's by a short run")
      ->check(CLI::IsMember(devices));
  command->callback(
      [&action, arguments] { action = [arguments](const Toolchain &tools) { return planSpec(tools, *arguments); }; });
}
