// SPDX-License-Identifier: Apache-2.0
// The entry points of StandIn.h.

#include "test/cuda/driver/Call.h"

#include <cstring>
#include <string>
#include <vector>

using namespace morph::standin;

extern "C" {

void morphStandInConfine(const CUdeviceptr *bounds, size_t count) {
  confinement = nullptr;
  if (count == 0)
    return;
  std::vector<Span> spans;
  for (size_t i = 0; i < count; ++i)
    spans.push_back({bounds[2 * i], bounds[2 * i + 1]});
  confinement = std::make_shared<const std::vector<Span>>(std::move(spans));
}

CUresult morphStandInEnqueue(CUstream handle, void (*function)(const void *data), const void *data, size_t bytes) {
  Call call;
  Stream *stream = call.stream(handle);
  if (!stream)
    return call.result;
  std::vector<char> copy(static_cast<const char *>(data), static_cast<const char *>(data) + bytes);
  auto run = [=, copy = std::move(copy), spans = confinement](Context &) {
    runningConfinement = spans;
    function(copy.data());
    runningConfinement = nullptr;
  };
  return call.queue(stream, std::move(run), false, true);
}

void morphStandInFail(const char *text) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (driver.context)
    driver.context->fail(text, text, Fault::LaunchFailed);
}

void *morphStandInHostPointer(CUdeviceptr begin, size_t bytes, const char *what) {
  std::lock_guard<std::mutex> lock(driver.gate);
  return driver.context
             ? driver.context->span(begin, bytes, what ? what : "morphStandInHostPointer", runningConfinement)
             : nullptr;
}

uint64_t morphStandInGraphLaunches(void) {
  std::lock_guard<std::mutex> lock(driver.gate);
  return driver.graphLaunches;
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
