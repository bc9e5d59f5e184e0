// SPDX-License-Identifier: Apache-2.0

#include "tools/morph-lsp-server/MlirProcess.h"

#include "llvm/ADT/STLExtras.h"

#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace morph::lsp;

bool MlirProcess::start() {
  stop();
  int input[2], output[2];
  if (pipe2(input, O_CLOEXEC) != 0)
    return false;
  if (pipe2(output, O_CLOEXEC) != 0) {
    close(input[0]);
    close(input[1]);
    return false;
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO);
  char name[] = "morph-lsp-server", flag[] = "--mlir";
  char *arguments[] = {name, flag, nullptr};
  bool started = posix_spawn(&process_, "/proc/self/exe", &actions, nullptr, arguments, environ) == 0;
  posix_spawn_file_actions_destroy(&actions);
  close(input[0]);
  close(output[1]);
  in_ = input[1];
  out_ = output[0];
  if (!started) {
    process_ = -1;
    stop();
    return false;
  }
  channel_ = std::make_unique<Channel>(out_, in_);
  running_ = true;
  reader_ = std::thread([this] { readMessages(); });
  return true;
}

void MlirProcess::stop() {
  // It has nothing that is worth saving.
  if (process_ > 0) {
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
  }
  process_ = -1;
  if (reader_.joinable())
    reader_.join();
  for (int *descriptor : {&in_, &out_}) {
    if (*descriptor >= 0)
      close(*descriptor);
    *descriptor = -1;
  }
}

bool MlirProcess::isRunning() {
  std::lock_guard<std::mutex> lock(mutex_);
  return running_;
}

void MlirProcess::readMessages() {
  while (std::optional<std::string> text = channel_->read()) {
    // It is our own program: its lists may be longer than those of files that nobody vouches for.
    llvm::Expected<llvm::json::Value> message = llvm::json::parse(*text);
    if (!message) {
      llvm::consumeError(message.takeError());
      continue;
    }
    llvm::json::Object *object = message->getAsObject();
    const llvm::json::Value *id = object && !object->get("method") ? object->get("id") : nullptr;
    if (id)
      handleReply(llvm::json::Value(*id), *object, *text);
    else
      client_.writeText(*text);
  }
  std::lock_guard<std::mutex> lock(mutex_);
  running_ = false;
  for (const llvm::json::Value &id : pending_)
    client_.replyError(id, -32603, "MLIR's language server has ended; it is started again");
  pending_.clear();
  changed_.notify_all();
}

void MlirProcess::handleReply(const llvm::json::Value &id, llvm::json::Object &message, llvm::StringRef text) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (awaited_ == id) {
    if (llvm::json::Value *result = message.get("result"))
      result_ = std::move(*result);
    awaited_.reset();
    changed_.notify_all();
    return;
  }
  llvm::erase(pending_, id);
  client_.writeText(text);
}

std::optional<llvm::json::Value> MlirProcess::call(const llvm::json::Object &request) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (!running_)
    return std::nullopt;
  awaited_ = *request.get("id");
  result_.reset();
  lock.unlock();
  channel_->write(llvm::json::Value(llvm::json::Object(request)));
  lock.lock();
  changed_.wait_for(lock, std::chrono::seconds(10), [&] { return !awaited_ || !running_; });
  awaited_.reset();
  return std::exchange(result_, std::nullopt);
}

bool MlirProcess::forward(const llvm::json::Object &message) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!running_)
      return false;
    if (const llvm::json::Value *id = message.get("id"))
      pending_.push_back(*id);
  }
  channel_->write(llvm::json::Value(llvm::json::Object(message)));
  return true;
}
