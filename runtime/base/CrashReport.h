// SPDX-License-Identifier: Apache-2.0
// Where a process says how it died: in a file, so that the driver can report a death in two lines.

#ifndef MORPH_RUNTIME_BASE_CRASHREPORT_H
#define MORPH_RUNTIME_BASE_CRASHREPORT_H

namespace morph {

/// The environment variable in which the driver names the file.
inline constexpr const char *kCrashFileVariable = "MORPH_CRASH_FILE";

/// From now on a death of this process (a signal such as SIGSEGV, an exception that nobody catches) appends its stack
/// to the file that MORPH_CRASH_FILE names. Nothing where it names none, and under a sanitizer, whose own report is
/// better.
void installCrashReport();

/// The file that MORPH_CRASH_FILE names, to which `appendStack` writes from now on; null where it names none.
const char *openCrashReport();

/// Appends this thread's stack to that file. Safe in a signal handler.
void appendStack();

} // namespace morph

#endif // MORPH_RUNTIME_BASE_CRASHREPORT_H
