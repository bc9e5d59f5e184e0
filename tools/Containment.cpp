// SPDX-License-Identifier: Apache-2.0

#include "tools/Containment.h"

#include "runtime/base/CrashReport.h"

#include "llvm/Support/CrashRecoveryContext.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/raw_ostream.h"

#include <csignal>
#include <cstdlib>
#include <execinfo.h>
#include <fcntl.h>
#include <unistd.h>

static const char *crashFile = nullptr;
static void (*recover)(int) = nullptr;

// Only calls that are safe in a signal handler; `backtrace` is, once it has been called before.
static void onFault(int signal) {
  if (const int file = ::open(crashFile, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666); file >= 0) {
    void *frames[64];
    ::backtrace_symbols_fd(frames, ::backtrace(frames, 64), file);
    ::close(file);
  }
  recover(signal);
}

int morph::runContained(llvm::StringRef program, llvm::function_ref<int()> work) {
  // LLVM installs its signal handlers once; those of the recovery must come after them.
  llvm::sys::PrintStackTraceOnErrorSignal(program);
  llvm::CrashRecoveryContext::Enable();
  crashFile = std::getenv(kCrashFileVariable);
  const bool reports = crashFile && *crashFile;
  void *frame[1];
  ::backtrace(frame, 1); // Loads what the handler needs.
  for (int number : {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV}) {
    struct sigaction action;
    sigaction(number, nullptr, &action);
    recover = action.sa_handler; // The same for all.
    if (reports)
      action.sa_handler = onFault;
    // Text that nests too deep for the parser overflows the stack: the handler needs the other one, which LLVM has
    // made.
    action.sa_flags |= SA_ONSTACK;
    sigaction(number, &action, nullptr);
  }
  int status = 1;
  llvm::CrashRecoveryContext recovery;
  if (recovery.RunSafely([&] { status = work(); }))
    return status;
  llvm::errs() << program << ": error: broke off by a fault of its own (status " << recovery.RetCode
               << "); errors above this line come first, and no output was written";
  if (reports)
    llvm::errs() << "; the stack is in " << crashFile;
  llvm::errs() << "\n";
  llvm::sys::RunInterruptHandlers(); // Removes output files that were begun.
  std::_Exit(1);
}
