// SPDX-License-Identifier: Apache-2.0

#include "tools/Containment.h"

#include "runtime/base/CrashReport.h"

#include "llvm/Support/CrashRecoveryContext.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/raw_ostream.h"

#include <csignal>
#include <cstdlib>

static void (*recover)(int) = nullptr;

static void onFault(int signal) {
  morph::appendStack();
  recover(signal);
}

int morph::runContained(llvm::StringRef program, llvm::function_ref<int()> work) {
  // LLVM installs its signal handlers once; those of the recovery must come after them.
  llvm::sys::PrintStackTraceOnErrorSignal(program);
  llvm::CrashRecoveryContext::Enable();
  const char *crashFile = openCrashReport();
  for (int number : {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV}) {
    struct sigaction action;
    sigaction(number, nullptr, &action);
    recover = action.sa_handler; // The same for all.
    if (crashFile)
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
  if (crashFile)
    llvm::errs() << "; the stack is in " << crashFile;
  llvm::errs() << "\n";
  llvm::sys::RunInterruptHandlers(); // Removes output files that were begun.
  std::_Exit(1);
}
