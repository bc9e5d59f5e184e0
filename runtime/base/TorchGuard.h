// SPDX-License-Identifier: Apache-2.0
// The border between exceptions (LibTorch, the standard library) and Status.

#ifndef MORPH_RUNTIME_BASE_TORCHGUARD_H
#define MORPH_RUNTIME_BASE_TORCHGUARD_H

#include "runtime/base/Status.h"

#include <c10/util/Exception.h>

#include <exception>
#include <new>
#include <string>

namespace morph {

/// Runs `function`, which returns a Status or a StatusOr, and turns an exception into an error "what: message".
/// LibTorch's stack traces are left out; the first line of its message says what was wrong.
template <typename Function> auto guardTorch(const std::string &what, Function &&function) -> decltype(function()) {
  try {
    return function();
  } catch (const c10::OutOfMemoryError &error) {
    return Status::failed(what + ": out of memory", "use a smaller batch or length");
  } catch (const c10::Error &error) {
    std::string message = error.what_without_backtrace();
    return Status::failed(what + ": " + message.substr(0, message.find('\n')));
  } catch (const std::bad_alloc &) {
    return Status::failed(what + ": out of memory", "use a smaller batch or length");
  } catch (const std::exception &error) {
    return Status::failed(what + ": " + error.what());
  }
}

} // namespace morph

#endif // MORPH_RUNTIME_BASE_TORCHGUARD_H
