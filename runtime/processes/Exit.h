// SPDX-License-Identifier: Apache-2.0
// What a process of a stage and the driver that has started it agree on.

#ifndef MORPH_RUNTIME_PROCESSES_EXIT_H
#define MORPH_RUNTIME_PROCESSES_EXIT_H

namespace morph {

/// Exit code of a program that stopped after a checkpoint because it was asked to.
inline constexpr int kInterruptedExitCode = 130;
/// Exit code of a process that ends because others have: what went wrong is theirs to say.
inline constexpr int kLostOthersExitCode = 3;

/// Names the descriptor of the socket on which the leader listens: no other program can take its port before it does.
inline constexpr const char *kListenVariable = "MORPH_LISTEN";
/// Set where a driver tells why a stage has ended: a process that has lost the others says nothing.
inline constexpr const char *kDriverVariable = "MORPH_DRIVER";

} // namespace morph

#endif // MORPH_RUNTIME_PROCESSES_EXIT_H
