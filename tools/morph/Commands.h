// SPDX-License-Identifier: Apache-2.0
// The subcommands of morph, one file each.

#ifndef MORPH_TOOLS_MORPH_COMMANDS_H
#define MORPH_TOOLS_MORPH_COMMANDS_H

#include "tools/morph/Toolchain.h"

#include <CLI/CLI.hpp>

#include <functional>

namespace morph {

/// What a subcommand does once its arguments are read.
using Action = std::function<Status(const Toolchain &)>;

/// Each adds a subcommand to `app` and sets `action` when it is the one given.
void addRunCommand(CLI::App &app, Action &action);
void addSelectCommand(CLI::App &app, Action &action);
void addAuditCommand(CLI::App &app, Action &action);
void addPlanCommand(CLI::App &app, Action &action);
void addCompileCommand(CLI::App &app, Action &action);
void addEvalCommand(CLI::App &app, Action &action);
void addGenerateCommand(CLI::App &app, Action &action);
void addChatCommand(CLI::App &app, Action &action);
void addServeCommand(CLI::App &app, Action &action);
void addExportCommand(CLI::App &app, Action &action);
void addReportCommand(CLI::App &app, Action &action);
void addPushCommand(CLI::App &app, Action &action);
void addDoctorCommand(CLI::App &app, Action &action);
void addBenchCommand(CLI::App &app, Action &action);
void addMixersCommand(CLI::App &app, Action &action);
void addSelectorsCommand(CLI::App &app, Action &action);
void addFormatCommand(CLI::App &app, Action &action);
void addTrackCommand(CLI::App &app, Action &action);
void addInitCommand(CLI::App &app, Action &action);
void addDiffCommand(CLI::App &app, Action &action);
void addExplainCommand(CLI::App &app, Action &action);
void addCompletionCommand(CLI::App &app, Action &action);

} // namespace morph

#endif // MORPH_TOOLS_MORPH_COMMANDS_H
