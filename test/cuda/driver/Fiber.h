// SPDX-License-Identifier: Apache-2.0
// Stacks that take turns on one host thread.

#ifndef MORPH_TEST_CUDA_DRIVER_FIBER_H
#define MORPH_TEST_CUDA_DRIVER_FIBER_H

#include <cstddef>
#include <cstdint>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace morph::standin {

#if defined(__x86_64__)

/// A place to go on at: the stack pointer, under it the registers that a call keeps.
struct Fiber {
  void *stack = nullptr;
};

/// Leaves for `to`; returns when something switches to `from`.
inline void switchFiber(Fiber &from, const Fiber &to);

extern "C" void morphStandInSwitch(void **from, void *to);
extern "C" void morphStandInEnter();

inline void switchFiber(Fiber &from, const Fiber &to) { morphStandInSwitch(&from.stack, to.stack); }

/// Makes `fiber` begin with entry(argument), which never returns.
inline void prepareFiber(Fiber &fiber, char *stack, size_t bytes, void (*entry)(void *), void *argument) {
  uintptr_t top = (reinterpret_cast<uintptr_t>(stack) + bytes) & ~uintptr_t(15);
  void **frame = reinterpret_cast<void **>(top) - 9;       // Aligned to 16 where the entry is called.
  frame[0] = nullptr;                                      // r15
  frame[1] = nullptr;                                      // r14
  frame[2] = reinterpret_cast<void *>(entry);              // r13
  frame[3] = argument;                                     // r12
  frame[4] = nullptr;                                      // rbp
  frame[5] = nullptr;                                      // rbx
  frame[6] = reinterpret_cast<void *>(&morphStandInEnter); // where the switch returns to
  frame[7] = frame[8] = nullptr;
  fiber.stack = frame;
}

#else

struct Fiber {
  ucontext_t context;
};

inline void switchFiber(Fiber &from, const Fiber &to) { swapcontext(&from.context, &to.context); }

inline void enterFiber(unsigned entryHigh, unsigned entryLow, unsigned argumentHigh, unsigned argumentLow) {
  auto entry = reinterpret_cast<void (*)(void *)>(uintptr_t(entryHigh) << 32 | entryLow);
  entry(reinterpret_cast<void *>(uintptr_t(argumentHigh) << 32 | argumentLow));
}

inline void prepareFiber(Fiber &fiber, char *stack, size_t bytes, void (*entry)(void *), void *argument) {
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = stack;
  fiber.context.uc_stack.ss_size = bytes;
  fiber.context.uc_link = nullptr;
  uintptr_t function = reinterpret_cast<uintptr_t>(entry), data = reinterpret_cast<uintptr_t>(argument);
  makecontext(&fiber.context, reinterpret_cast<void (*)()>(enterFiber), 4, unsigned(function >> 32), unsigned(function),
              unsigned(data >> 32), unsigned(data));
}

#endif

} // namespace morph::standin

#endif // MORPH_TEST_CUDA_DRIVER_FIBER_H
