// SPDX-License-Identifier: Apache-2.0
// The page that shows runs, written by tools/python/report.

#ifndef MORPH_TOOLS_MORPH_HTMLREPORT_H
#define MORPH_TOOLS_MORPH_HTMLREPORT_H

#include "tools/morph/Files.h"
#include "tools/morph/Toolchain.h"

#include <string>
#include <vector>

namespace morph {

/// In a run's folder: what `morph run --json` prints, and the page.
inline constexpr const char *kSummaryFile = "summary.json";
inline constexpr const char *kReportFile = "report.html";

/// Writes the page of these runs' folders to `out`, whole or not at all. An error without a message was reported
/// already.
Status writeReport(const Toolchain &tools, const std::vector<std::string> &runs, const std::string &out);

/// Leaves the page of `runs` in `folder`, and its place in `summary`. Runs are whole without it: what hinders it is a
/// warning.
void publishReport(const Toolchain &tools, const std::vector<std::string> &runs, const fs::path &folder, Json &summary);

} // namespace morph

#endif // MORPH_TOOLS_MORPH_HTMLREPORT_H
