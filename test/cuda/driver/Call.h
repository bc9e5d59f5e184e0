// SPDX-License-Identifier: Apache-2.0
// What the driver's entry points share: the state of the driver, and a call of the program while it runs.

#ifndef MORPH_TEST_CUDA_DRIVER_CALL_H
#define MORPH_TEST_CUDA_DRIVER_CALL_H

#pragma GCC visibility push(default)
#include "test/cuda/StandIn.h"
#include <cuda.h>
#pragma GCC visibility pop

#include "test/cuda/driver/Context.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>

namespace morph::standin {

/// The driver's state. It is never destroyed: threads of the program may end after its static objects.
struct Driver {
  std::mutex gate;
  bool isInitialised = false;
  Settings settings;
  std::unique_ptr<Context> context;
  int retained = 0;
  unsigned flags = 0;
  std::chrono::steady_clock::time_point lastCall = std::chrono::steady_clock::now();
  bool hasHelper = false;
  bool hasReport = false;
  uint64_t graphLaunches = 0;
};
extern Driver &driver;
extern thread_local bool isCurrent; ///< Whether the thread has made the context current.
/// Of what the thread launches, and of the work of a library that it runs.
extern thread_local Confinement confinement, runningConfinement;

/// A call that needs a current context without an error. The lock is held while it lives.
class Call {
public:
  explicit Call(bool mayHaveError = false) : lock(driver.gate) {
    driver.lastCall = std::chrono::steady_clock::now();
    if (!driver.isInitialised)
      result = CUDA_ERROR_NOT_INITIALIZED;
    else if (!driver.context || !isCurrent)
      result = CUDA_ERROR_INVALID_CONTEXT;
    else if (!mayHaveError)
      result = driver.context->error;
  }
  bool failed() const { return result != CUDA_SUCCESS; }
  Context *operator->() const { return driver.context.get(); }

  // What a handle stands for; null with `result` set where it stands for nothing, or where the call has failed already.
  Stream *stream(CUstream handle) {
    if (failed())
      return nullptr;
    if (!handle || handle == CU_STREAM_LEGACY)
      return driver.context->streams.defaultStream();
    auto *stream = reinterpret_cast<Stream *>(handle);
    if (handle != CU_STREAM_PER_THREAD && driver.context->streams.isKnown(stream))
      return stream;
    result = handle == CU_STREAM_PER_THREAD ? CUDA_ERROR_NOT_SUPPORTED : CUDA_ERROR_INVALID_HANDLE;
    return nullptr;
  }
  Event *event(CUevent handle) { return known(handle, &Context::events); }
  ModuleHandle *module(CUmodule handle) { return known(handle, &Context::modules); }
  LoadedFunction *function(CUfunction handle) { return known(handle, &Context::functions); }
  std::shared_ptr<Graph> *graph(CUgraph handle) { return known(handle, &Context::graphs, CUDA_ERROR_INVALID_VALUE); }
  std::shared_ptr<const Graph> *executable(CUgraphExec handle) {
    return known(handle, &Context::executables, CUDA_ERROR_INVALID_VALUE);
  }

  /// Whether the call, which is not safe in a capture of the global kind, is made while one is open.
  bool isUnsafe() {
    if (!driver.context->streams.forbidsUnsafe())
      return false;
    result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    return true;
  }
  /// Whether memory of a device lies in one allocation, as the driver itself checks.
  bool isInAllocation(uint64_t address, uint64_t bytes) const {
    uint64_t begin = 0, size = 0;
    return driver.context->memory.find(address, begin, size) && bytes <= size - (address - begin);
  }
  /// Queues work that does nothing once the context has an error.
  CUresult queue(Stream *stream, std::function<void(Context &)> run, bool isHostFunction = false,
                 bool isUnlocked = false) {
    Context *context = driver.context.get();
    return context->streams.enqueue(stream, {[context, run = std::move(run)] {
                                               if (context->error == CUDA_SUCCESS)
                                                 run(*context);
                                             },
                                             isHostFunction, isUnlocked});
  }
  /// Waits until a stream is empty. The error that came up meanwhile.
  CUresult drain(Stream *stream) {
    driver.context->streams.runUntil([&] { return stream->items.empty(); });
    return driver.context->error;
  }

  CUresult result = CUDA_SUCCESS;

private:
  template <typename T, typename Handle>
  T *known(Handle handle, std::set<T *> Context::*all, CUresult error = CUDA_ERROR_INVALID_HANDLE) {
    auto *found = reinterpret_cast<T *>(handle);
    if (!failed() && !(driver.context.get()->*all).count(found))
      result = error;
    return failed() ? nullptr : found;
  }

  std::unique_lock<std::mutex> lock;
};

/// Writes a text, as far as it fits, and a zero byte. The length of what was written.
inline size_t copyText(const std::string &text, char *buffer, size_t size) {
  if (!buffer || !size)
    return 0;
  size_t length = std::min(text.size(), size - 1);
  std::memcpy(buffer, text.data(), length);
  buffer[length] = '\0';
  return length;
}

} // namespace morph::standin

#endif // MORPH_TEST_CUDA_DRIVER_CALL_H
