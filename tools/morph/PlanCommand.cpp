// SPDX-License-Identifier: Apache-2.0
// morph plan: what a spec would run and need, from its config alone.

#include "tools/morph/Commands.h"

#include "runtime/plan/Cost.h"
#include "tools/morph/Compiler.h"
#include "tools/morph/Costs.h"
#include "tools/morph/DataScript.h"
#include "tools/morph/MemoryLimit.h"
#include "tools/morph/Report.h"
#include "tools/morph/SpecArguments.h"
#include "tools/morph/SpecPlans.h"

#include <cstdio>
#include <memory>
#include <set>

using namespace morph;

namespace {

struct Arguments : SpecArguments {
  bool json = false;
};

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
            const std::map<std::string, double> &unlimitedFlops) {
  Json stages = Json::array();
  for (const StageCost &cost : costs) {
    const auto found = unlimitedFlops.find(cost.stage);
    const double unlimited = found == unlimitedFlops.end() ? 0 : found->second;
    const double flops = (cost.flops + cost.sharedFlops) / static_cast<double>(cost.models);
    stages.push_back({{"stage", cost.stage},
                      {"models", cost.models},
                      {"waves", cost.waves},
                      {"steps", cost.steps},
                      {"tokens", cost.tokens},
                      {"flops", cost.flops},
                      {"extra_flops", unlimited > 0 ? flops / unlimited - 1 : 0},
                      {"memory_bytes", cost.memory.bytes},
                      {"weight_bytes", cost.memory.weights},
                      {"optimizer_bytes", cost.memory.optimizer},
                      {"value_bytes", cost.memory.values},
                      {"excess", explainExcess(resolved, cost)},
                      {"disk_bytes", cost.diskBytes},
                      {"kept_bytes", cost.keptBytes}});
  }
  return stages;
}

void print(const Json &report) {
  const Json &model = report["model"];
  std::string list;
  for (const std::string reference : report["candidates"])
    list += (list.empty() ? "" : " or ") + reference;
  std::printf("%s: %s, %lld layers, %lld keep full attention, the others %s\n\n",
              report["name"].get<std::string>().c_str(), model["architecture"].get<std::string>().c_str(),
              model["layers"].get<long long>(), report["full_layers"].get<long long>(), list.c_str());
  Table stages({"stage", "steps", "tokens", "FLOPs", "for memory", "peak memory", "disk", "kept on the way"});
  for (const Json &stage : report["stages"]) {
    // Tokens, FLOPs and disk are those of all models together.
    std::string name = stage["stage"];
    if (stage["models"] > 1)
      name += " x" + std::to_string(stage["models"].get<int64_t>());
    if (stage["waves"] > 1)
      name += ", " + std::to_string(stage["waves"].get<int64_t>()) + " waves";
    const double extra = stage["extra_flops"];
    stages.add({name, stage["steps"] > 0 ? std::to_string(stage["steps"].get<int64_t>()) : "-",
                formatCount(stage["tokens"]), formatCount(stage["flops"]),
                extra > 0 ? "+" + formatFixed(100 * extra, 1) + " %" : "-", formatBytes(stage["memory_bytes"]),
                stage["disk_bytes"] > 0 ? formatBytes(stage["disk_bytes"]) : "-",
                stage["kept_bytes"] > 0 ? formatBytes(stage["kept_bytes"]) : "-"});
  }
  std::printf("%s\n", stages.print().c_str());
  for (const Json &stage : report["stages"])
    if (stage["excess"] != "")
      std::printf("%s\n\n", stage["excess"].get<std::string>().c_str());
  if (report["cache"].empty())
    return;
  std::printf("Cache of one sequence while decoding:\n\n");
  Table cache({"context", "full", "hybrid", "ratio"});
  for (const Json &line : report["cache"]) {
    const double full = line["full_bytes"], hybrid = line["hybrid_bytes"];
    cache.add({std::to_string(line["context"].get<int64_t>() / 1024) + "K", formatBytes(full), formatBytes(hybrid),
               formatFixed(full / hybrid, 2) + "x"});
  }
  std::printf("%s", cache.print().c_str());
}

Status planSpec(const Toolchain &tools, const Arguments &arguments) {
  const Compiler compiler(tools);
  MORPH_ASSIGN_OR_RETURN(const ResolvedSpec resolved,
                         compiler.resolve(arguments.spec, arguments.settings, /*configOnly=*/true));
  MORPH_ASSIGN_OR_RETURN(const TemporaryFolder folder, TemporaryFolder::create());
  MORPH_RETURN_IF_ERROR(checkWords(tools, resolved, folder.path()));
  MORPH_ASSIGN_OR_RETURN(const SpecPlans plans, emitSpecPlans(compiler, arguments, resolved, folder.path()));
  MORPH_ASSIGN_OR_RETURN(const Choice choice, dearestChoice(resolved));
  const size_t baselines = resolved.evaluate.baselines.size();
  MORPH_ASSIGN_OR_RETURN(const std::vector<StageCost> costs,
                         estimateStages(resolved, plans.files, static_cast<int64_t>(1 + baselines)));
  Json report = {{"name", resolved.name},
                 {"model", toJson(resolved.modelInfo)},
                 {"full_layers", fullLayers(choice).size()},
                 {"candidates", candidatesOf(resolved.space)},
                 {"stages", toJson(resolved, costs, plans.unlimitedFlops)},
                 {"cache", Json::array()}};
  if (plans.files.count("decode")) {
    MORPH_ASSIGN_OR_RETURN(const plan::Plan full, plan::readPlan(plans.files.at("decode-full").string()));
    MORPH_ASSIGN_OR_RETURN(const plan::Plan hybrid, plan::readPlan(plans.files.at("decode").string()));
    for (int64_t context = 8192; context <= 262144; context *= 2)
      report["cache"].push_back({{"context", context},
                                 {"full_bytes", plan::cacheBytes(full, context)},
                                 {"hybrid_bytes", plan::cacheBytes(hybrid, context)}});
  }
  if (arguments.json)
    std::printf("%s\n", report.dump(2).c_str());
  else
    print(report);
  return Status();
}

} // namespace

void morph::addPlanCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App *command =
      app.add_subcommand("plan", "Print a spec's stages, tokens, FLOPs, memory and cache sizes; runs nothing");
  addSpecArguments(*command, *arguments);
  command->add_flag("--json", arguments->json, "Print JSON");
  command->callback(
      [&action, arguments] { action = [arguments](const Toolchain &tools) { return planSpec(tools, *arguments); }; });
}
