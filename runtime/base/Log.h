// SPDX-License-Identifier: Apache-2.0
// Lines on stderr, with the program's name in front.

#ifndef MORPH_RUNTIME_BASE_LOG_H
#define MORPH_RUNTIME_BASE_LOG_H

#include "runtime/base/Status.h"

#include <cstdio>
#include <string>

namespace morph {

/// Control characters of a message (of a name in a hostile file, say) do not reach the terminal.
inline void logLine(const char *program, const char *kind, const std::string &message) {
  std::string line = std::string(program) + ": " + kind + message + "\n";
  for (char &c : line)
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
      c = '?';
  // One write a line: lines of several processes on one terminal do not mix.
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
}
inline void logInfo(const char *program, const std::string &message) { logLine(program, "", message); }
inline void logWarning(const char *program, const std::string &message) { logLine(program, "warning: ", message); }

/// Prints an error and its hint, and returns the exit code that belongs to it (0 for success, without a line).
inline int reportError(const char *program, const Status &status) {
  if (status.ok())
    return 0;
  logLine(program, "error: ", status.message());
  if (!status.hint().empty())
    logLine(program, "hint: ", status.hint());
  return status.exitCode();
}

} // namespace morph

#endif // MORPH_RUNTIME_BASE_LOG_H
