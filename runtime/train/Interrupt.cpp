// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/Interrupt.h"

#include <atomic>
#include <csignal>
#include <cstdint>
#include <ctime>

namespace morph {

static volatile std::sig_atomic_t interruptFlag = 0;
static std::atomic<int64_t> firstNanoseconds{0};
static_assert(std::atomic<int64_t>::is_always_lock_free, "a signal's handler takes no lock");

extern "C" {
static void handleInterrupt(int signal) {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const int64_t nanoseconds = int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  if (!interruptFlag) {
    firstNanoseconds = nanoseconds;
    interruptFlag = 1;
  } else if (nanoseconds >= firstNanoseconds + 2'000'000'000) {
    std::signal(signal, SIG_DFL);
    std::raise(signal); // Comes when this handler returns.
  }
}
}

void catchInterrupts() {
  std::signal(SIGINT, handleInterrupt);
  std::signal(SIGTERM, handleInterrupt);
}

bool interrupted() { return interruptFlag != 0; }

void requestInterrupt(bool value) { interruptFlag = value ? 1 : 0; }

} // namespace morph
