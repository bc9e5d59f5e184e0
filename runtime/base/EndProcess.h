// SPDX-License-Identifier: Apache-2.0
// The end of a program that has loaded LibTorch.

#ifndef MORPH_RUNTIME_BASE_ENDPROCESS_H
#define MORPH_RUNTIME_BASE_ENDPROCESS_H

#include <cstdio>
#include <cstdlib>
#include <iostream>

namespace morph {

/// Ends the process with an exit code once main has nothing left. What was written is flushed; destructors of globals
/// are left out: LibTorch takes its thousands of operators apart one by one, a third of the time of a short stage. With
/// sanitizers they run, for what sanitizers say at the end.
[[noreturn]] inline void endProcess(int code) {
#ifdef MORPH_SANITIZE
  std::exit(code);
#else
  std::cout.flush();
  std::fflush(nullptr);
  std::quick_exit(code);
#endif
}

} // namespace morph

#endif // MORPH_RUNTIME_BASE_ENDPROCESS_H
