// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/HtmlReport.h"

#include "tools/morph/Compiler.h"
#include "tools/morph/Process.h"
#include "tools/morph/Report.h"

using namespace morph;

Status morph::writeReport(const Toolchain &tools, const std::vector<std::string> &runs, const std::string &out) {
  MORPH_ASSIGN_OR_RETURN(const std::string python, tools.python());
  MORPH_ASSIGN_OR_RETURN(const std::string script, tools.script("report/report.py"));
  Command command{{python, script, "--out", out, "--"}};
  command.arguments.insert(command.arguments.end(), runs.begin(), runs.end());
  return runHelper(command);
}

void morph::publishReport(const Toolchain &tools, const std::vector<std::string> &runs, const fs::path &folder,
                          Json &summary) {
  const fs::path page = folder / kReportFile;
  const Status status = writeReport(tools, runs, page.string());
  if (status.ok())
    summary["report"] = page.string();
  else if (!stopSignal())
    printWarning("the run is whole, but its report could not be written" +
                     (status.message().empty() ? "; the reason stands above" : ": " + status.message()),
                 (status.hint().empty() ? "" : status.hint() + "; ") + "'morph report " + formatPath(runs.front()) +
                     "' writes it");
}
