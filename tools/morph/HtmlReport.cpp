// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/HtmlReport.h"

#include "tools/morph/Compiler.h"

using namespace morph;

Status morph::writeReport(const Toolchain &tools, const std::vector<std::string> &runs, const std::string &out) {
  MORPH_ASSIGN_OR_RETURN(const std::string python, tools.python());
  MORPH_ASSIGN_OR_RETURN(const std::string script, tools.script("report/report.py"));
  Command command{{python, script, "--out", out, "--"}};
  command.arguments.insert(command.arguments.end(), runs.begin(), runs.end());
  return runHelper(command);
}
