// SPDX-License-Identifier: Apache-2.0
// Messages of the language server protocol on a pair of file descriptors: `Content-Length: N`, an empty line, N bytes
// of JSON.

#ifndef MORPH_TOOLS_MORPHLSPSERVER_CHANNEL_H
#define MORPH_TOOLS_MORPHLSPSERVER_CHANNEL_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/JSON.h"

#include <mutex>
#include <optional>
#include <string>

namespace morph::lsp {

class Channel {
public:
  /// Bytes of a message; longer ones are skipped.
  static constexpr size_t kMaxMessageBytes = 256 << 20;

  Channel(int in, int out) : in_(in), out_(out) {}

  /// The next message's JSON, nothing at the end of the input. Lines that are no headers are skipped.
  std::optional<std::string> read();
  /// Whether something comes in within some milliseconds, or has come.
  bool hasInput(int milliseconds) const;

  /// Writes a message; any thread may. What nobody reads any more is lost.
  void writeText(llvm::StringRef json);
  void write(const llvm::json::Value &message);
  void reply(const llvm::json::Value &id, llvm::json::Value result);
  void replyError(const llvm::json::Value &id, int code, llvm::StringRef message);

private:
  /// Reads more bytes behind those that are there. False at the end.
  bool fill();
  std::optional<std::string> readLine();

  int in_, out_;
  std::string buffer_; ///< What came in and is not used.
  std::mutex writing_;
};

} // namespace morph::lsp

#endif // MORPH_TOOLS_MORPHLSPSERVER_CHANNEL_H
