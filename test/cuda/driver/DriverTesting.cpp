// SPDX-License-Identifier: Apache-2.0
// The entry points of StandIn.h.

#include "test/cuda/driver/Call.h"

#include <cstring>
#include <string>
#include <vector>

using namespace morph::standin;

namespace {

CUresult setLive(CUdeviceptr begin, size_t bytes, int alive, bool isOrdered, CUstream handle) {
  Call call;
  if (call.failed())
    return call.result;
  if (!call.isInAllocation(begin, bytes))
    return CUDA_ERROR_INVALID_VALUE;
  if (!isOrdered)
    return call->memory.setLive(begin, bytes, alive != 0) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  Stream *stream = call.stream(handle);
  if (!stream)
    return call.result;
  return call.queue(stream, [=](Context &context) { context.memory.setLive(begin, bytes, alive != 0); });
}

} // namespace

extern "C" {

CUresult morphStandInSetLive(CUdeviceptr begin, size_t bytes, int alive) {
  return setLive(begin, bytes, alive, false, nullptr);
}

CUresult morphStandInSetLiveAsync(CUdeviceptr begin, size_t bytes, int alive, CUstream stream) {
  return setLive(begin, bytes, alive, true, stream);
}

CUresult morphStandInEnqueue(CUstream handle, void (*function)(const void *data), const void *data, size_t bytes) {
  Call call;
  Stream *stream = call.stream(handle);
  if (!stream)
    return call.result;
  std::vector<char> copy(static_cast<const char *>(data), static_cast<const char *>(data) + bytes);
  return call.queue(stream, [=, copy = std::move(copy)](Context &) { function(copy.data()); }, false, true);
}

void morphStandInFail(const char *text) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (driver.context)
    driver.context->fail(text, text, Fault::LaunchFailed);
}

void *morphStandInHostPointer(CUdeviceptr begin, size_t bytes, const char *what) {
  std::lock_guard<std::mutex> lock(driver.gate);
  return driver.context ? driver.context->span(begin, bytes, what ? what : "morphStandInHostPointer") : nullptr;
}

uint64_t morphStandInErrors(void) {
  std::lock_guard<std::mutex> lock(driver.gate);
  return driver.context ? driver.context->errors.count() : 0;
}

size_t morphStandInTakeErrors(char *buffer, size_t size) {
  std::lock_guard<std::mutex> lock(driver.gate);
  std::string texts = driver.context ? driver.context->errors.texts() : "";
  copyText(texts, buffer, size);
  if (driver.context) {
    driver.context->errors.clear();
    driver.context->error = CUDA_SUCCESS;
  }
  return texts.size();
}

CUresult morphStandInCounters(const char *kernel, MorphStandInCounters *counters) {
  std::lock_guard<std::mutex> lock(driver.gate);
  return driver.context && driver.context->counters.get(kernel, *counters) ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

size_t morphStandInCountersJson(const char *kernel, char *buffer, size_t size) {
  std::lock_guard<std::mutex> lock(driver.gate);
  std::string text = driver.context ? driver.context->counters.json(kernel) : "";
  copyText(text, buffer, size);
  return text.size();
}

void morphStandInResetCounters(void) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (driver.context)
    driver.context->counters.clear();
}

} // extern "C"
