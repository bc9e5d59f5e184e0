// SPDX-License-Identifier: Apache-2.0
// morph run and morph select: the pipeline, whole or up to the selection.

#include "tools/morph/Commands.h"
#include "tools/morph/Pipeline.h"
#include "tools/morph/Report.h"
#include "tools/morph/SpecArguments.h"
#include "tools/morph/Summary.h"
#include "tools/morph/Workers.h"

#include <cstdio>
#include <memory>

using namespace morph;

namespace {

struct Arguments : SpecArguments {
  std::string out;
  bool update = false, force = false, json = false;
  int64_t processes = 1;
};

Status runPipeline(const Toolchain &tools, const Arguments &arguments, Workers &workers, Until until) {
  const Compiler compiler(tools);
  MORPH_ASSIGN_OR_RETURN(const ResolvedSpec resolved, compiler.resolve(arguments.spec, arguments.settings));
  const fs::path out = arguments.out.empty() ? fs::path(resolved.name + ".run") : fs::path(arguments.out);
  MORPH_ASSIGN_OR_RETURN(const Runtime runtime, askRuntime(tools, resolved.model.threads, resolved.model.device));
  MORPH_ASSIGN_OR_RETURN(const RunDirectory run,
                         RunDirectory::open(out, resolved, runtime.machine, arguments.spec, arguments.update));
  Pipeline pipeline(tools, run, runtime, fs::absolute(arguments.spec), arguments.settings, arguments.force, workers);
  MORPH_RETURN_IF_ERROR(pipeline.execute(until));
  MORPH_ASSIGN_OR_RETURN(const Json summary, summarize(run, pipeline.wholeStages(), pipeline.stageRecords()));
  const std::string text = arguments.json ? summary.dump(2) + "\n" : printSummary(summary);
  std::fputs(text.c_str(), stdout);
  return Status();
}

Status runPlaced(const Toolchain &tools, const Arguments &arguments, Until until) {
  MORPH_ASSIGN_OR_RETURN(const Place place, findPlace());
  if (place.count > 1 && arguments.processes > 1)
    return Status::invalid(place.launcher + " has started " + std::to_string(place.count) +
                               " processes: --processes is for those that one call of morph starts itself",
                           "leave --processes out");
  if (!place.isLeader())
    return followLeader(tools, place);
  MORPH_ASSIGN_OR_RETURN(const auto workers, Workers::gather(place, arguments.processes));
  const Status status = runPipeline(tools, arguments, *workers, until);
  workers->setExitCode(status.exitCode());
  return status;
}

void addArguments(CLI::App &command, Arguments &arguments) {
  addSpecArguments(command, arguments);
  command
      .add_option_function<std::string>(
          "--device",
          [&arguments](const std::string &value) {
            arguments.settings.push_back("model.device=" + Json(value).dump());
          },
          "cpu, cuda or cuda:N: the key model.device")
      ->type_name("NAME");
  command.add_option("--out", arguments.out, "The run directory (default: NAME.run, NAME the spec's name)");
  command
      .add_option("--processes", arguments.processes,
                  "Processes of this machine that share each stage (default: 1, or those that torchrun, Slurm or MPI "
                  "has started)")
      ->check(CLI::Range(int64_t(1), int64_t(256)));
  command.add_flag("--update", arguments.update,
                   "The directory may belong to another spec or machine: run the changed stages again");
  command.add_flag("--force", arguments.force, "Run even where memory or disk look too small for it");
  command.add_flag("--json", arguments.json, "Print the results as JSON");
}

} // namespace

void morph::addRunCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App *command =
      app.add_subcommand("run", "Run all stages of a spec; the same line again continues or does nothing");
  addArguments(*command, *arguments);
  command->callback([&action, arguments] {
    action = [arguments](const Toolchain &tools) { return runPlaced(tools, *arguments, Until::End); };
  });
}

void morph::addSelectCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App *command = app.add_subcommand("select", "Run the stages up to the choice of layers (DIR/selection.json)");
  addArguments(*command, *arguments);
  command->callback([&action, arguments] {
    action = [arguments](const Toolchain &tools) { return runPlaced(tools, *arguments, Until::Select); };
  });
}
