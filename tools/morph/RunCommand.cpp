// SPDX-License-Identifier: Apache-2.0
// morph run and morph select: the pipeline, whole or up to the selection.

#include "tools/morph/Commands.h"
#include "tools/morph/HtmlReport.h"
#include "tools/morph/Pipeline.h"
#include "tools/morph/Process.h"
#include "tools/morph/Report.h"
#include "tools/morph/RunArguments.h"
#include "tools/morph/Summary.h"

#include <cstdio>
#include <memory>

using namespace morph;

namespace {

struct Arguments : RunArguments {
  bool json = false;
};

/// Leaves `summary.json` and `report.html` in the run's folder. The run is whole without them: what hinders them is a
/// warning.
void publishReport(const Toolchain &tools, const RunDirectory &run, Json &summary) {
  const fs::path page = run.file(kReportFile);
  Status status = writeJson(run.file(kSummaryFile), summary);
  if (status.ok())
    status = writeReport(tools, {run.root().string()}, page.string());
  if (status.ok())
    summary["report"] = page.string();
  else if (!stopSignal())
    printWarning("the run is whole, but its report could not be written" +
                     (status.message().empty() ? "; the reason stands above" : ": " + status.message()),
                 (status.hint().empty() ? "" : status.hint() + "; ") + "'morph report " + formatPath(run.root()) +
                     "' writes it");
}

Status runPipeline(const Toolchain &tools, const Arguments &arguments, Workers &workers, Goal goal) {
  const Compiler compiler(tools);
  MORPH_ASSIGN_OR_RETURN(const ResolvedSpec resolved, compiler.resolve(arguments.spec, arguments.settings));
  const fs::path out = arguments.out.empty() ? fs::path(resolved.name + ".run") : fs::path(arguments.out);
  MORPH_ASSIGN_OR_RETURN(const Runtime runtime, askRuntime(tools, resolved.model.threads, resolved.model.device));
  MORPH_ASSIGN_OR_RETURN(const RunDirectory run,
                         RunDirectory::open(out, resolved, runtime.machine, arguments.spec, arguments.update));
  Pipeline pipeline(tools, run, runtime, fs::absolute(arguments.spec), arguments.settings, arguments.force, workers);
  MORPH_RETURN_IF_ERROR(pipeline.execute(goal));
  MORPH_ASSIGN_OR_RETURN(Json summary, summarize(run, pipeline.wholeStages(), pipeline.stageRecords()));
  publishReport(tools, run, summary);
  const std::string text = arguments.json ? summary.dump(2) + "\n" : printSummary(summary);
  std::fputs(text.c_str(), stdout);
  return Status();
}

void addCommand(CLI::App &app, Action &action, const char *name, const char *summary, Goal goal) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App *command = app.add_subcommand(name, summary);
  addRunArguments(*command, *arguments, "The run directory (default: NAME.run, NAME the spec's name)");
  command->add_flag("--json", arguments->json, "Print the results as JSON");
  command->callback([&action, arguments, goal] {
    action = [arguments, goal](const Toolchain &tools) {
      return runPlaced(tools, *arguments,
                       [&](Workers &workers) { return runPipeline(tools, *arguments, workers, goal); });
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
