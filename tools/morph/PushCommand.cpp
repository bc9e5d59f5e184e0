// SPDX-License-Identifier: Apache-2.0
// morph push: a run's hybrid as a folder that can be published, with its model card.

#include "tools/morph/Commands.h"
#include "tools/morph/Compiler.h"
#include "tools/morph/HtmlReport.h"
#include "tools/morph/Report.h"
#include "tools/morph/RunDirectory.h"
#include "tools/morph/StageCache.h"
#include "tools/morph/Summary.h"

#include <cstdio>
#include <memory>

using namespace morph;

namespace {

struct PushArguments {
  std::string run, folder;
  bool json = false;
};

/// What a finished run said at its end, whose hybrid is whole. What it was made with does not matter: nothing of it is
/// made here, so that no stage's key is asked.
StatusOr<Json> readFinished(const RunDirectory &run) {
  const std::string root = formatPath(run.root());
  std::error_code error;
  if (!fs::exists(run.file(kSummaryFile), error))
    return Status::invalid(root + " is not finished", "'morph run SPEC --out " + root + "' goes on with it");
  MORPH_ASSIGN_OR_RETURN(Json summary, readJson(run.file(kSummaryFile).string()));
  if (!summary.is_object() || !summary.contains("hybrid"))
    return Status::invalid(root + " has no hybrid", "'morph run SPEC --out " + root + "' makes one");
  if (const StageFolder hybrid(run.root(), "hybrid"); !hybrid.isComplete()) {
    const std::vector<std::string> damaged = hybrid.damagedFiles();
    return Status::invalid(
        "the hybrid of " + root +
            (damaged.empty() ? " is not whole" : " has lost files, or parts of them: " + joinNames(damaged)),
        "'morph run SPEC --out " + root + "' makes it again");
  }
  return summary;
}

Status pushRun(const Toolchain &tools, const PushArguments &arguments) {
  const fs::path target = arguments.folder;
  MORPH_RETURN_IF_ERROR(checkNewFolder(target));
  MORPH_ASSIGN_OR_RETURN(const RunDirectory run, RunDirectory::reopen(arguments.run));
  MORPH_ASSIGN_OR_RETURN(Json summary, readFinished(run));
  // The card is published: the tables alone, without lines of where things lie on this machine.
  for (const char *place : {"hybrid", "base", "report"})
    summary.erase(place);
  MORPH_ASSIGN_OR_RETURN(TemporaryFolder folder, TemporaryFolder::createFor(target));
  MORPH_RETURN_IF_ERROR(StageFolder(run.root(), "hybrid").copyTo(folder.path()));
  MORPH_ASSIGN_OR_RETURN(const TemporaryFolder scratch, TemporaryFolder::create());
  const fs::path tables = scratch.path() / "summary.txt";
  MORPH_RETURN_IF_ERROR(writeFile(tables.string(), printSummary(summary)));
  MORPH_ASSIGN_OR_RETURN(const std::string python, tools.python());
  MORPH_ASSIGN_OR_RETURN(const std::string script, tools.script("export/model_card.py"));
  MORPH_RETURN_IF_ERROR(runHelper({{python, script, "--folder", folder.path().string(), "--base",
                                    run.resolved().model.path, "--summary", tables.string()}}));
  MORPH_RETURN_IF_ERROR(folder.keepAs(target));
  if (arguments.json)
    std::printf("%s\n", Json({{"folder", fs::absolute(target).string()}}).dump().c_str());
  else
    std::printf("The hybrid with its model card: %s\n", formatPath(target).c_str());
  return Status();
}

} // namespace

void morph::addPushCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<PushArguments>();
  CLI::App *command = app.add_subcommand("push", "Write a run's hybrid with a model card into a new folder");
  command->add_option("DIR", arguments->run, "The run directory")->required();
  command->add_option("--to", arguments->folder, "The folder, which is made whole or not at all")->required();
  command->add_flag("--json", arguments->json, "Print JSON");
  command->callback(
      [&action, arguments] { action = [arguments](const Toolchain &tools) { return pushRun(tools, *arguments); }; });
}
