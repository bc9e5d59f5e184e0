// SPDX-License-Identifier: Apache-2.0
// Errors as values. Every public entry of the runtime returns a Status or a StatusOr; exceptions of LibTorch and of the
// standard library are caught inside (TorchGuard.h).

#ifndef MORPH_RUNTIME_BASE_STATUS_H
#define MORPH_RUNTIME_BASE_STATUS_H

#include <cassert>
#include <optional>
#include <string>
#include <utility>

namespace morph {

/// What kind of thing went wrong; tools map it to their exit code.
enum class StatusCode {
  Ok,
  InvalidInput, ///< The user's spec, plan, checkpoint or arguments: exit code 2.
  Failed,       ///< Everything else: disk full, out of memory, a failed check: exit code 1.
  Interrupted,  ///< A signal came, and what is done is kept: exit code 130.
};

/// At most `limit` bytes of UTF-8 text: the beginning and the end, with "..." for what is left out between them.
inline std::string shortened(std::string text, size_t limit) {
  if (text.size() <= limit)
    return text;
  auto inside = [&](size_t i) { return (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80; };
  size_t head = limit * 2 / 3, tail = text.size() - (limit - head - 3);
  while (head > 0 && inside(head))
    --head;
  while (tail < text.size() && inside(tail))
    ++tail;
  return text.replace(head, tail - head, "...");
}

/// The most bytes of an error's message: names from hostile files may be of any length.
inline constexpr size_t kMaximumMessage = 4000;

/// Success, or an error with a message of at most kMaximumMessage bytes and an optional hint.
class [[nodiscard]] Status {
public:
  Status() = default;
  static Status invalid(std::string message, std::string hint = "") {
    return Status(StatusCode::InvalidInput, std::move(message), std::move(hint));
  }
  static Status failed(std::string message, std::string hint = "") {
    return Status(StatusCode::Failed, std::move(message), std::move(hint));
  }
  static Status interrupted() { return Status(StatusCode::Interrupted, "stopped by a signal", ""); }

  bool ok() const { return code_ == StatusCode::Ok; }
  StatusCode code() const { return code_; }
  const std::string &message() const { return message_; }
  const std::string &hint() const { return hint_; }
  int exitCode() const {
    switch (code_) {
    case StatusCode::Ok:
      return 0;
    case StatusCode::InvalidInput:
      return 2;
    case StatusCode::Failed:
      return 1;
    case StatusCode::Interrupted:
      return 130;
    }
    return 1;
  }

  /// The same error with `context` in front: "context: message".
  Status withContext(const std::string &context) && {
    if (!ok())
      message_ = shortened(context + ": " + message_, kMaximumMessage);
    return std::move(*this);
  }

private:
  Status(StatusCode code, std::string message, std::string hint)
      : code_(code), message_(shortened(std::move(message), kMaximumMessage)), hint_(std::move(hint)) {}

  StatusCode code_ = StatusCode::Ok;
  std::string message_;
  std::string hint_;
};

/// A value or the error that prevented it.
template <typename T> class [[nodiscard]] StatusOr {
public:
  StatusOr(T value) : value_(std::move(value)) {}
  StatusOr(Status status) : status_(std::move(status)) {
    assert(!status_.ok() && "a StatusOr without a value needs an error");
  }

  bool ok() const { return value_.has_value(); }
  const Status &status() const & { return status_; }
  Status status() && { return std::move(status_); }
  T &operator*() & { return *value_; }
  const T &operator*() const & { return *value_; }
  T &&operator*() && { return *std::move(value_); }
  T *operator->() { return &*value_; }
  const T *operator->() const { return &*value_; }

private:
  Status status_;
  std::optional<T> value_;
};

} // namespace morph

#define MORPH_CONCAT_IMPL(a, b) a##b
#define MORPH_CONCAT(a, b) MORPH_CONCAT_IMPL(a, b)

/// Returns the error of `expression` from the enclosing function, if it is one.
#define MORPH_RETURN_IF_ERROR(expression)                                                                              \
  do {                                                                                                                 \
    if (::morph::Status status_ = (expression); !status_.ok())                                                         \
      return status_;                                                                                                  \
  } while (false)

/// Declares `variable` as the value of a StatusOr, or returns its error from the enclosing function.
#define MORPH_ASSIGN_OR_RETURN(variable, expression)                                                                   \
  auto MORPH_CONCAT(statusOr_, __LINE__) = (expression);                                                               \
  if (!MORPH_CONCAT(statusOr_, __LINE__).ok())                                                                         \
    return std::move(MORPH_CONCAT(statusOr_, __LINE__)).status();                                                      \
  variable = *std::move(MORPH_CONCAT(statusOr_, __LINE__))

#endif // MORPH_RUNTIME_BASE_STATUS_H
