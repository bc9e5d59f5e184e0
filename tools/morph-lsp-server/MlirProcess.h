// SPDX-License-Identifier: Apache-2.0
// MLIR's own language server in a process of its own, which its crashes end and no other.

#ifndef MORPH_TOOLS_MORPHLSPSERVER_MLIRPROCESS_H
#define MORPH_TOOLS_MORPHLSPSERVER_MLIRPROCESS_H

#include "tools/morph-lsp-server/Channel.h"

#include <condition_variable>
#include <memory>
#include <thread>
#include <vector>

namespace morph::lsp {

/// Messages go to it as the client sent them, and its own go to the client as they come: ids are the client's.
class MlirProcess {
public:
  explicit MlirProcess(Channel &client) : client_(client) {}
  ~MlirProcess() { stop(); }

  /// Starts this program as MLIR's server. False where the system does not let it.
  bool start();
  bool isRunning();
  void stop();

  /// Sends a request and waits for its result; nothing after an error or 10 seconds.
  std::optional<llvm::json::Value> call(const llvm::json::Object &request);
  /// Sends a message. Its reply goes to the client, an error where the process ends before. False where it has ended.
  bool forward(const llvm::json::Object &message);

private:
  void readMessages();
  void handleReply(const llvm::json::Value &id, llvm::json::Object &message, llvm::StringRef text);

  Channel &client_;
  pid_t process_ = -1;
  int in_ = -1, out_ = -1; ///< Its input and output.
  std::unique_ptr<Channel> channel_;
  std::thread reader_;

  std::mutex mutex_; ///< Of what follows.
  std::condition_variable changed_;
  bool running_ = false;
  std::vector<llvm::json::Value> pending_;   ///< Ids of requests whose replies are the client's.
  std::optional<llvm::json::Value> awaited_; ///< The id that `call` waits for.
  std::optional<llvm::json::Value> result_;  ///< And what came.
};

} // namespace morph::lsp

#endif // MORPH_TOOLS_MORPHLSPSERVER_MLIRPROCESS_H
