// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/Interrupt.h"

#include <csignal>
#include <ctime>

namespace morph {

static volatile std::sig_atomic_t interruptFlag = 0;
static volatile std::sig_atomic_t firstSecond = 0;

extern "C" {
static void handleInterrupt(int signal) {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const auto second = static_cast<std::sig_atomic_t>(now.tv_sec);
  if (!interruptFlag) {
    interruptFlag = 1;
    firstSecond = second;
  } else if (second > firstSecond + 1) {
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
