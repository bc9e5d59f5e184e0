// SPDX-License-Identifier: Apache-2.0
// SIGINT and SIGTERM as a flag that loops look at between steps.

#ifndef MORPH_RUNTIME_TRAIN_INTERRUPT_H
#define MORPH_RUNTIME_TRAIN_INTERRUPT_H

namespace morph {

/// From now on the first SIGINT or SIGTERM sets the flag, and one that comes two seconds later or more ends the program
/// at once. One before is the same request: a signal to a process group comes from the sender and from the driver.
void catchInterrupts();

/// Whether a signal has come.
bool interrupted();

/// Sets the flag as a signal would (tests).
void requestInterrupt(bool value = true);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_INTERRUPT_H
