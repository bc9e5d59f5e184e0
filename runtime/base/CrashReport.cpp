// SPDX-License-Identifier: Apache-2.0

#include "runtime/base/CrashReport.h"

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <execinfo.h>
#include <fcntl.h>
#include <initializer_list>
#include <unistd.h>

// GCC says it by a macro, clang by a feature.
#if defined(__SANITIZE_ADDRESS__)
#define MORPH_SANITIZE_ADDRESS
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MORPH_SANITIZE_ADDRESS
#endif
#endif

namespace {

const char *crashFile = nullptr;

int openReport() { return ::open(crashFile, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666); }

void print(int file, const char *text) {
  [[maybe_unused]] const ssize_t count = ::write(file, text, std::strlen(text));
}

void onCrash(int number) {
  morph::appendStack();
  // SA_RESETHAND has put the default action back: the process dies from the signal that it got.
  std::raise(number);
}

void onTerminate() {
  if (const int file = openReport(); file >= 0) {
    try {
      if (const std::exception_ptr error = std::current_exception())
        std::rethrow_exception(error);
    } catch (const std::exception &error) {
      print(file, "exception that nobody caught: ");
      print(file, error.what());
      print(file, "\n");
    } catch (...) {
      print(file, "exception of an unknown type that nobody caught\n");
    }
    ::close(file);
  }
  std::abort();
}

} // namespace

const char *morph::openCrashReport() {
  crashFile = std::getenv(kCrashFileVariable);
  if (!crashFile || !*crashFile)
    return nullptr;
  void *frame[1];
  ::backtrace(frame, 1); // Loads what appendStack needs.
  return crashFile;
}

// Only calls that are safe in a signal handler; `backtrace` is, once it has been called before.
void morph::appendStack() {
  if (const int file = openReport(); file >= 0) {
    void *frames[64];
    print(file, "stack:\n");
    ::backtrace_symbols_fd(frames, ::backtrace(frames, 64), file);
    ::close(file);
  }
}

void morph::installCrashReport() {
#ifdef MORPH_SANITIZE_ADDRESS
  return;
#endif
  if (!openCrashReport())
    return;
  struct sigaction action{};
  action.sa_handler = onCrash;
  // The signal is not blocked in its handler, so that raising it again ends the process there.
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER);
  sigemptyset(&action.sa_mask);
  for (int number : {SIGSEGV, SIGABRT, SIGILL, SIGFPE})
    sigaction(number, &action, nullptr);
  std::set_terminate(onTerminate);
}
