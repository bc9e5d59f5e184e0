// SPDX-License-Identifier: Apache-2.0
// Child processes of the driver: started, waited for, and never left behind.

#ifndef MORPH_TOOLS_MORPH_PROCESS_H
#define MORPH_TOOLS_MORPH_PROCESS_H

#include "runtime/base/Status.h"

#include <memory>
#include <string>
#include <vector>

namespace morph {

/// What to run. `arguments[0]` is the program's path.
struct Command {
  std::vector<std::string> arguments;
  bool captureOutput = false;                ///< Collect standard output instead of passing it on.
  bool captureErrors = false;                ///< The same for standard error.
  std::vector<std::string> environment = {}; ///< "NAME=value", beside the driver's own variables.
  int inherited = -1;                        ///< A descriptor that stays open in the child.
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

/// A program that runs beside others. One that still runs when this goes is killed.
class ChildProcess {
public:
  /// Starts it; what is captured is read by `hasEnded`, its last kCapturedBytes are kept.
  static StatusOr<std::unique_ptr<ChildProcess>> start(const Command &command);
  ~ChildProcess();
  ChildProcess(const ChildProcess &) = delete;
  ChildProcess &operator=(const ChildProcess &) = delete;

  /// Whether it has ended. Does not wait.
  bool hasEnded();
  /// How, once it has.
  const ProcessResult &result() const { return result_; }
  void kill(int signal) const;

  static constexpr size_t kCapturedBytes = 64 << 10;

private:
  ChildProcess() = default;
  void read();
  int pid_ = -1; ///< -1: it has ended.
  size_t slot_ = 0;
  int output_ = -1, errors_ = -1; ///< Where it is read what is captured; -1: nothing is.
  ProcessResult result_;
};

/// Runs `producer | consumer` to the end of both and gives the first result that is not a success, the producer's
/// first.
StatusOr<ProcessResult> runPipe(const Command &producer, const Command &consumer);

/// The command as a line for a shell, for messages.
std::string toShell(const Command &command);

} // namespace morph

#endif // MORPH_TOOLS_MORPH_PROCESS_H
