// SPDX-License-Identifier: Apache-2.0
#include "test/cuda/driver/Fiber.h"

#if defined(__x86_64__)
// The registers that a call keeps go onto the old stack and come from the new one. A new fiber begins with its entry in
// r13 and the argument in r12.
__asm__(".text\n"
        ".hidden morphStandInSwitch\n"
        ".globl morphStandInSwitch\n"
        ".type morphStandInSwitch, @function\n"
        "morphStandInSwitch:\n"
        "  pushq %rbx\n"
        "  pushq %rbp\n"
        "  pushq %r12\n"
        "  pushq %r13\n"
        "  pushq %r14\n"
        "  pushq %r15\n"
        "  movq %rsp, (%rdi)\n"
        "  movq %rsi, %rsp\n"
        "  popq %r15\n"
        "  popq %r14\n"
        "  popq %r13\n"
        "  popq %r12\n"
        "  popq %rbp\n"
        "  popq %rbx\n"
        "  ret\n"
        ".size morphStandInSwitch, .-morphStandInSwitch\n"
        ".hidden morphStandInEnter\n"
        ".globl morphStandInEnter\n"
        ".type morphStandInEnter, @function\n"
        "morphStandInEnter:\n"
        "  movq %r12, %rdi\n"
        "  callq *%r13\n"
        "  ud2\n"
        ".size morphStandInEnter, .-morphStandInEnter\n");
#endif
