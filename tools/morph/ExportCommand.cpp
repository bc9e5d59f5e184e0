// SPDX-License-Identifier: Apache-2.0
// morph export: the Hugging Face folder of a run, written and checked again.

#include "tools/morph/Commands.h"
#include "tools/morph/HtmlReport.h"
#include "tools/morph/Pipeline.h"
#include "tools/morph/Report.h"

#include <cstdio>
#include <memory>
#include <optional>

using namespace morph;

namespace {

struct ExportArguments {
  std::string run, copy;
  bool json = false;
};

Status exportRun(const Toolchain &tools, const ExportArguments &arguments) {
  if (!arguments.copy.empty())
    MORPH_RETURN_IF_ERROR(checkNewFolder(arguments.copy));
  MORPH_ASSIGN_OR_RETURN(const RunDirectory run, RunDirectory::reopen(arguments.run));
  // The other stages' keys are those of the machine that they ran on; the export's numbers are the same on any.
  MORPH_ASSIGN_OR_RETURN(const Runtime runtime, askRuntime(tools, run.machine().threads, "cpu"));
  MORPH_ASSIGN_OR_RETURN(const auto workers, Workers::gather(Place(), 1));
  Pipeline pipeline(tools, run, runtime, run.file("spec.toml"), {}, /*force=*/false, *workers);
  std::optional<Json> summary;
  std::error_code error;
  if (fs::exists(run.file(kSummaryFile), error)) {
    MORPH_ASSIGN_OR_RETURN(summary, readJson(run.file(kSummaryFile).string()));
  }
  MORPH_RETURN_IF_ERROR(pipeline.exportOnly());
  // A finished run stays one, with the hybrid that it has now. What `morph select` said is of no hybrid.
  if (summary && summary->contains("hybrid") && !fs::exists(run.file(kSummaryFile), error)) {
    MORPH_ASSIGN_OR_RETURN(const Json content, readJson(run.file("hybrid/conversion_manifest.json").string()));
    (*summary)["check"] = content.value("check", Json());
    MORPH_RETURN_IF_ERROR(writeJson(run.file(kSummaryFile), *summary));
    publishReport(tools, {run.root().string()}, run.root(), *summary);
  }
  fs::path folder = run.file("hybrid");
  if (!arguments.copy.empty()) {
    folder = arguments.copy;
    MORPH_ASSIGN_OR_RETURN(TemporaryFolder copy, TemporaryFolder::createFor(folder));
    MORPH_RETURN_IF_ERROR(StageFolder(run.root(), "hybrid").copyTo(copy.path()));
    MORPH_RETURN_IF_ERROR(copy.keepAs(folder));
  }
  if (arguments.json)
    std::printf("%s\n", Json({{"hybrid", fs::absolute(folder).string()}}).dump().c_str());
  else
    std::printf("The hybrid: %s\n", formatPath(folder).c_str());
  return Status();
}

} // namespace

void morph::addExportCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<ExportArguments>();
  CLI::App *command = app.add_subcommand("export", "Write and check the Hugging Face folder of a run's hybrid");
  command->add_option("DIR", arguments->run, "The run directory")->required();
  command->add_option("--to", arguments->copy, "Also copy the folder here, whole or not at all");
  command->add_flag("--json", arguments->json, "Print JSON");
  command->callback(
      [&action, arguments] { action = [arguments](const Toolchain &tools) { return exportRun(tools, *arguments); }; });
}
