// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/Interrupt.h"

#include <csignal>

namespace morph {

static volatile std::sig_atomic_t interruptFlag = 0;

extern "C" {
static void handleInterrupt(int signal) {
  interruptFlag = 1;
  std::signal(signal, SIG_DFL);
}
}

void catchInterrupts() {
  std::signal(SIGINT, handleInterrupt);
  std::signal(SIGTERM, handleInterrupt);
}

bool interrupted() { return interruptFlag != 0; }

void requestInterrupt(bool value) { interruptFlag = value ? 1 : 0; }

} // namespace morph
