// SPDX-License-Identifier: Apache-2.0
// Child processes of the driver: started, waited for, and never left behind.

#ifndef MORPH_TOOLS_MORPH_PROCESS_H
#define MORPH_TOOLS_MORPH_PROCESS_H

#include "runtime/base/Status.h"

#include <string>
#include <vector>

namespace morph {

/// What to run. `arguments[0]` is the program's path.
struct Command {
  std::vector<std::string> arguments;
  bool captureOutput = false; ///< Collect standard output instead of passing it on.
  bool captureErrors = false; ///< The same for standard error.
};

/// How a process ended.
struct ProcessResult {
  int exitCode = 0; ///< 128 + signal where a signal ended it.
  int signal = 0;
  std::string output, errors; ///< What was captured.
  bool ok() const { return exitCode == 0; }
};

/// Sets the handlers by which an interrupt of the driver reaches its child. Called once, by main.
void installSignalHandlers();

/// The file to which what dies in this call of the driver appends its stack, for messages. Helpers find its name in
/// MORPH_CRASH_FILE (runtime/base/CrashReport.h).
const std::string &crashFile();

/// The signal that asked the driver to stop, or 0.
int stopSignal();

/// Runs a program to its end. The error is that it could not be started; how it ended is in the result. A child dies
/// with the driver, even if that is killed.
StatusOr<ProcessResult> runProcess(const Command &command);

/// Runs `producer | consumer` to the end of both and gives the first result that is not a success, the producer's
/// first.
StatusOr<ProcessResult> runPipe(const Command &producer, const Command &consumer);

/// The command as a line for a shell, for messages.
std::string toShell(const Command &command);

} // namespace morph

#endif // MORPH_TOOLS_MORPH_PROCESS_H
