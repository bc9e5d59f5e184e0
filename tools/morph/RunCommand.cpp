// SPDX-License-Identifier: Apache-2.0
// morph run and morph select: the pipeline, whole or up to the selection, with one seed or several.

#include "tools/morph/Commands.h"
#include "tools/morph/HtmlReport.h"
#include "tools/morph/Pipeline.h"
#include "tools/morph/Process.h"
#include "tools/morph/Report.h"
#include "tools/morph/RunArguments.h"
#include "tools/morph/Seeds.h"
#include "tools/morph/Summary.h"

#include <cstdio>
#include <memory>
#include <optional>

using namespace morph;

namespace {

struct RunCommandArguments : RunArguments {
  bool json = false;
  std::optional<std::string> seeds; ///< None: the spec's.
};

fs::path folderOf(const RunCommandArguments &arguments, const ResolvedSpec &resolved) {
  return arguments.out.empty() ? fs::path(resolved.name + ".run") : fs::path(arguments.out);
}

/// The summary of a run in `out`.
StatusOr<Json> runOnce(const Toolchain &tools, const RunCommandArguments &arguments, const ResolvedSpec &resolved,
                       const fs::path &out, Workers &workers, Goal goal) {
  MORPH_ASSIGN_OR_RETURN(const Runtime runtime, askRuntime(tools, resolved.model.threads, resolved.model.device));
  MORPH_ASSIGN_OR_RETURN(const RunDirectory run,
                         RunDirectory::open(out, resolved, runtime.machine, arguments.spec, arguments.update));
  Pipeline pipeline(tools, run, runtime, fs::absolute(arguments.spec), arguments.settings, arguments.force, workers);
  MORPH_RETURN_IF_ERROR(pipeline.execute(goal));
  MORPH_ASSIGN_OR_RETURN(Json summary, summarize(run, pipeline.wholeStages(), pipeline.stageRecords()));
  MORPH_RETURN_IF_ERROR(writeJson(run.file(kSummaryFile), summary));
  publishReport(tools, {run.root().string()}, run.root(), summary);
  return summary;
}

void print(const RunCommandArguments &arguments, const Json &summary, std::string (*tables)(const Json &)) {
  std::fputs((arguments.json ? summary.dump(2) + "\n" : tables(summary)).c_str(), stdout);
}

Status runPipeline(const Toolchain &tools, const RunCommandArguments &arguments, Workers &workers, Goal goal) {
  const Compiler compiler(tools);
  MORPH_ASSIGN_OR_RETURN(const ResolvedSpec resolved, compiler.resolve(arguments.spec, arguments.settings));
  MORPH_ASSIGN_OR_RETURN(const Json summary,
                         runOnce(tools, arguments, resolved, folderOf(arguments, resolved), workers, goal));
  print(arguments, summary, printSummary);
  return Status();
}

/// Each seed in a folder of its own, one after another; what they say together in `seeds.json` beside them.
Status runSeeds(const Toolchain &tools, const RunCommandArguments &arguments, const std::vector<int64_t> &seeds,
                Workers &workers) {
  const Compiler compiler(tools);
  std::vector<Json> summaries;
  fs::path folder;
  for (const int64_t seed : seeds) {
    RunCommandArguments one = arguments;
    one.settings.push_back("seed=" + std::to_string(seed));
    MORPH_ASSIGN_OR_RETURN(const ResolvedSpec resolved, compiler.resolve(one.spec, one.settings));
    folder = folderOf(arguments, resolved);
    std::fprintf(stderr, "morph: seed %lld, run %zu of %zu\n", static_cast<long long>(seed), summaries.size() + 1,
                 seeds.size());
    MORPH_ASSIGN_OR_RETURN(
        Json summary, runOnce(tools, one, resolved, folder / ("seed-" + std::to_string(seed)), workers, Goal::Hybrid));
    summaries.push_back(std::move(summary));
  }
  Json pooled = poolSeeds(seeds, summaries);
  MORPH_RETURN_IF_ERROR(writeJson(folder / "seeds.json", pooled));
  publishReport(tools, pooled["runs"].get<std::vector<std::string>>(), folder, pooled);
  print(arguments, pooled, printSeeds);
  return Status();
}

void addCommand(CLI::App &app, Action &action, const char *name, const char *summary, Goal goal) {
  auto arguments = std::make_shared<RunCommandArguments>();
  CLI::App *command = app.add_subcommand(name, summary);
  addRunArguments(*command, *arguments, "The run directory (default: NAME.run, NAME the spec's name)");
  command->add_flag("--json", arguments->json, "Print the results as JSON");
  if (goal == Goal::Hybrid)
    command->add_option("--seeds", arguments->seeds,
                        "Run the spec with each of these seeds, 0..4 or 0,2,5, and report all: DIR/seed-N, "
                        "DIR/seeds.json");
  command->callback([&action, arguments, goal] {
    action = [arguments, goal](const Toolchain &tools) {
      std::vector<int64_t> seeds;
      if (arguments->seeds) {
        MORPH_ASSIGN_OR_RETURN(seeds, parseSeeds(*arguments->seeds));
      }
      return runPlaced(tools, *arguments, [&](Workers &workers) {
        return seeds.empty() ? runPipeline(tools, *arguments, workers, goal)
                             : runSeeds(tools, *arguments, seeds, workers);
      });
    };
  });
}

} // namespace

void morph::addRunCommand(CLI::App &app, Action &action) {
  addCommand(app, action, "run", "Run all stages of a spec; the same line again continues or does nothing",
             Goal::Hybrid);
}

void morph::addSelectCommand(CLI::App &app, Action &action) {
  addCommand(app, action, "select", "Run the stages up to the choice of layers (DIR/selection.json)", Goal::Selection);
}
