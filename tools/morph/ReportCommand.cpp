// SPDX-License-Identifier: Apache-2.0
// morph report: a page of one run, or of several side by side.

#include "tools/morph/Commands.h"
#include "tools/morph/Files.h"
#include "tools/morph/HtmlReport.h"
#include "tools/morph/Report.h"

#include <cstdio>
#include <memory>

using namespace morph;

namespace {

struct ReportArguments {
  std::vector<std::string> runs;
  std::string out;
};

Status reportRuns(const Toolchain &tools, const ReportArguments &arguments) {
  if (arguments.runs.size() > 1 && arguments.out.empty())
    return Status::invalid("a page of several runs belongs to no run's folder",
                           "name its file: 'morph report RUN RUN --out FILE'");
  const std::string out =
      arguments.out.empty() ? (fs::path(arguments.runs.front()) / kReportFile).string() : arguments.out;
  MORPH_RETURN_IF_ERROR(writeReport(tools, arguments.runs, out));
  std::printf("The report: %s\n", formatPath(out).c_str());
  return Status();
}

} // namespace

void morph::addReportCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<ReportArguments>();
  CLI::App *command =
      app.add_subcommand("report", "Write a page that shows a run, or several side by side, with no network needed");
  command->add_option("RUN", arguments->runs, "Run directories")->required();
  command->add_option("--out", arguments->out, "The page (default: RUN/report.html; required for several runs)");
  command->callback(
      [&action, arguments] { action = [arguments](const Toolchain &tools) { return reportRuns(tools, *arguments); }; });
}
