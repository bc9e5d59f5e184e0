// SPDX-License-Identifier: Apache-2.0

#include "tools/morph-lsp-server/Channel.h"

#include "llvm/Support/FormatVariadic.h"

#include <cerrno>
#include <poll.h>
#include <unistd.h>

using namespace morph::lsp;

/// Bytes of a line of the header.
static constexpr size_t kMaxLineBytes = 4096;

bool Channel::fill() {
  char bytes[1 << 16];
  ssize_t count;
  do
    count = ::read(in_, bytes, sizeof bytes);
  while (count < 0 && errno == EINTR);
  if (count <= 0)
    return false;
  buffer_.append(bytes, size_t(count));
  return true;
}

std::optional<std::string> Channel::readLine() {
  size_t end;
  while ((end = buffer_.find('\n')) == std::string::npos) {
    // Of a line that never ends nothing is kept.
    if (buffer_.size() > kMaxLineBytes)
      buffer_.clear();
    if (!fill())
      return std::nullopt;
  }
  std::string line = buffer_.substr(0, end);
  buffer_.erase(0, end + 1);
  return line;
}

std::optional<std::string> Channel::read() {
  for (;;) {
    size_t length = 0;
    for (;;) {
      std::optional<std::string> line = readLine();
      if (!line)
        return std::nullopt;
      llvm::StringRef text = llvm::StringRef(*line).trim();
      if (text.consume_front_insensitive("Content-Length:"))
        text.trim().getAsInteger(10, length);
      else if (text.empty() && length != 0)
        break;
    }
    bool skipped = length > kMaxMessageBytes;
    while (buffer_.size() < length) {
      if (skipped) {
        length -= buffer_.size();
        buffer_.clear();
      }
      if (!fill())
        return std::nullopt;
    }
    std::string message = skipped ? "" : buffer_.substr(0, length);
    buffer_.erase(0, length);
    if (!skipped)
      return message;
  }
}

bool Channel::hasInput(int milliseconds) const {
  pollfd input{in_, POLLIN, 0};
  return !buffer_.empty() || poll(&input, 1, milliseconds) > 0;
}

void Channel::writeText(llvm::StringRef json) {
  std::string message = llvm::formatv("Content-Length: {0}\r\n\r\n{1}", json.size(), json);
  std::lock_guard<std::mutex> lock(writing_);
  for (llvm::StringRef rest = message; !rest.empty();) {
    ssize_t count = ::write(out_, rest.data(), rest.size());
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return;
    rest = rest.drop_front(size_t(count));
  }
}

void Channel::write(const llvm::json::Value &message) { writeText(llvm::formatv("{0}", message).str()); }

void Channel::reply(const llvm::json::Value &id, llvm::json::Value result) {
  write(llvm::json::Object{{"jsonrpc", "2.0"}, {"id", id}, {"result", std::move(result)}});
}

void Channel::replyError(const llvm::json::Value &id, int code, llvm::StringRef message) {
  write(llvm::json::Object{
      {"jsonrpc", "2.0"}, {"id", id}, {"error", llvm::json::Object{{"code", code}, {"message", message}}}});
}
