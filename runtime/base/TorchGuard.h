// SPDX-License-Identifier: Apache-2.0
// The border between exceptions (LibTorch, the standard library) and Status.

#ifndef MORPH_RUNTIME_BASE_TORCHGUARD_H
#define MORPH_RUNTIME_BASE_TORCHGUARD_H

#include "runtime/base/Status.h"

#include <c10/util/Exception.h>

#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

namespace morph {

/// An error where LibTorch's functions throw theirs: guardTorch gives it back with its kind and hint.
class StatusError : public std::runtime_error {
public:
  explicit StatusError(Status status) : std::runtime_error(status.message()), status_(std::move(status)) {}
  const Status &status() const { return status_; }

private:
  Status status_;
};

/// Throws what is an error.
inline void throwIfError(Status status) {
  if (!status.ok())
    throw StatusError(std::move(status));
}

/// Runs `function`, which returns a Status or a StatusOr, and turns an exception into an error "what: message".
/// LibTorch's stack traces are left out; the first line of its message says what was wrong.
template <typename Function> auto guardTorch(const std::string &what, Function &&function) -> decltype(function()) {
  try {
    return function();
  } catch (const StatusError &error) {
    return Status(error.status()).withContext(what);
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
