// SPDX-License-Identifier: Apache-2.0
// Entry points: modules, functions and launches.

#include "test/cuda/driver/Call.h"

#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>

using namespace morph::standin;

namespace {

/// Lets queued host functions come to their turn where the program waits for them without a call of the driver.
void startHelper() {
  if (driver.hasHelper)
    return;
  driver.hasHelper = true;
  std::thread([] {
    while (true) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      std::unique_lock<std::mutex> lock(driver.gate);
      if (driver.context && driver.context->streams.hasHostFunctions() &&
          std::chrono::steady_clock::now() - driver.lastCall > std::chrono::milliseconds(50))
        driver.context->streams.step();
    }
  }).detach();
}

/// Writes a log into a buffer of the JIT's options, and its length in place of the buffer's size.
void writeLog(unsigned count, CUjit_option *options, void **values, CUjit_option buffer, CUjit_option size,
              const std::string &text) {
  char *to = nullptr;
  size_t room = 0;
  unsigned sizeAt = count;
  for (unsigned i = 0; i < count; ++i) {
    if (options[i] == buffer)
      to = static_cast<char *>(values[i]);
    if (options[i] == size) {
      room = reinterpret_cast<size_t>(values[i]);
      sizeAt = i;
    }
  }
  if (!to || !room)
    return;
  size_t length = copyText(text, to, room);
  if (sizeAt < count)
    values[sizeAt] = reinterpret_cast<void *>(length ? length + 1 : 0);
}

} // namespace

extern "C" {

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned count, CUjit_option *options, void **values) {
  Call call;
  if (call.failed() || call.isUnsafe())
    return call.result;
  if (!module || !image)
    return CUDA_ERROR_INVALID_VALUE;
  uint32_t magic = 0;
  std::memcpy(&magic, image, std::min<size_t>(4, std::strlen(static_cast<const char *>(image))));
  if (magic == 0x464c457fu || magic == 0xba55ed50u || magic == 0x466243b1u) // Machine code is not played.
    return CUDA_ERROR_NO_BINARY_FOR_GPU;
  ModuleHandle *handle = nullptr;
  std::string log;
  CUresult result = call->loadModule(static_cast<const char *>(image), handle, log);
  if (result != CUDA_SUCCESS) {
    std::fprintf(stderr, "stand-in driver: %s\n", log.c_str());
    log = "stand-in driver, ptx input, " + log;
  }
  writeLog(count, options, values, CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, log);
  writeLog(count, options, values, CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES, "");
  if (result == CUDA_SUCCESS)
    *module = reinterpret_cast<CUmodule>(handle);
  return result;
}

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
  return cuModuleLoadDataEx(module, image, 0, nullptr, nullptr);
}

CUresult cuModuleUnload(CUmodule module) {
  Call call;
  ModuleHandle *handle = call.module(module);
  if (!handle || call.isUnsafe())
    return call.result;
  call->streams.runAll();
  call->unloadModule(handle);
  return call->error;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
  Call call;
  ModuleHandle *handle = call.module(module);
  if (!handle)
    return call.result;
  auto found = handle->functions.find(name);
  if (found == handle->functions.end())
    return CUDA_ERROR_NOT_FOUND;
  *function = reinterpret_cast<CUfunction>(found->second.get());
  return CUDA_SUCCESS;
}

CUresult cuModuleGetGlobal(CUdeviceptr *pointer, size_t *bytes, CUmodule module, const char *name) {
  Call call;
  ModuleHandle *handle = call.module(module);
  if (!handle)
    return call.result;
  auto found = handle->variables.find(name);
  if (found == handle->variables.end())
    return CUDA_ERROR_NOT_FOUND;
  if (pointer)
    *pointer = found->second.first;
  if (bytes)
    *bytes = found->second.second;
  return CUDA_SUCCESS;
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction handle) {
  Call call;
  LoadedFunction *function = call.function(handle);
  if (!function)
    return call.result;
  switch (attribute) {
  case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    *value = int(function->kernel->maximumThreads);
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
    *value = int(function->kernel->staticShared);
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
    *value = 0;
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
    *value = int(function->kernel->localBytes);
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_NUM_REGS: // Nobody allocates registers here: as many as every block size has room for.
    *value = 64;
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_PTX_VERSION:
    *value = function->target;
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
    *value = call->settings.device->major * 10 + call->settings.device->minor;
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
    *value = function->dynamicLimit;
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
    *value = function->carveout;
    return CUDA_SUCCESS;
  default:
    return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult cuFuncSetAttribute(CUfunction handle, CUfunction_attribute attribute, int value) {
  Call call;
  LoadedFunction *function = call.function(handle);
  if (!function)
    return call.result;
  if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
    if (value < 0 || value + int(function->kernel->staticShared) > call->settings.device->sharedPerBlock)
      return CUDA_ERROR_INVALID_VALUE;
    function->dynamicLimit = value;
    return CUDA_SUCCESS;
  }
  if (attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT) {
    if (value < -1 || value > 100)
      return CUDA_ERROR_INVALID_VALUE;
    function->carveout = value;
    return CUDA_SUCCESS;
  }
  return CUDA_ERROR_INVALID_VALUE;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction handle, int threads,
                                                     size_t dynamicShared) {
  Call call;
  LoadedFunction *function = call.function(handle);
  if (!function)
    return call.result;
  if (!blocks || threads < 1 || threads > int(function->kernel->maximumThreads))
    return CUDA_ERROR_INVALID_VALUE;
  size_t shared = function->kernel->staticShared + dynamicShared;
  *blocks = std::min(32, 2048 / ((threads + 31) / 32 * 32));
  *blocks = shared > size_t(call->settings.device->sharedPerBlock)
                ? 0
                : std::min(*blocks, int(size_t(call->settings.device->sharedPerProcessor) / (shared + 1024)));
  return CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction handle, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX,
                        unsigned blockY, unsigned blockZ, unsigned dynamicShared, CUstream streamHandle,
                        void **parameters, void **extra) {
  Call call;
  Stream *stream = call.stream(streamHandle);
  LoadedFunction *function = call.function(handle);
  if (!function)
    return call.result;
  const KernelInfo &kernel = *function->kernel;
  uint64_t threads = uint64_t(blockX) * blockY * blockZ;
  if (!gridX || !gridY || !gridZ || !threads || gridX > 2147483647u || gridY > 65535 || gridZ > 65535 ||
      blockX > 1024 || blockY > 1024 || blockZ > 64 || threads > kernel.maximumThreads)
    return CUDA_ERROR_INVALID_VALUE;
  if (kernel.requiredThreads[0] && (kernel.requiredThreads[0] != blockX || kernel.requiredThreads[1] != blockY ||
                                    kernel.requiredThreads[2] != blockZ))
    return CUDA_ERROR_INVALID_VALUE;
  if (int64_t(dynamicShared) > function->dynamicLimit)
    return CUDA_ERROR_INVALID_VALUE;
  auto launch = std::make_shared<Launch>();
  launch->module = function->module;
  launch->kernel = &kernel;
  launch->function = function->function;
  const uint32_t sizes[6] = {gridX, gridY, gridZ, blockX, blockY, blockZ};
  std::copy(sizes, sizes + 3, launch->grid);
  std::copy(sizes + 3, sizes + 6, launch->block);
  launch->dynamicShared = dynamicShared;
  launch->confinement = confinement;
  // Parameters are copied now, whenever the kernel runs.
  launch->params.resize(kernel.paramBytes + 16);
  if (parameters) {
    for (size_t i = 0; i < kernel.params.size(); ++i)
      std::memcpy(launch->params.data() + kernel.params[i].begin, parameters[i], kernel.params[i].bytes);
  } else if (extra) {
    const void *buffer = nullptr;
    size_t size = 0;
    for (; *extra != CU_LAUNCH_PARAM_END; extra += 2) {
      if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER)
        buffer = extra[1];
      else if (*extra == CU_LAUNCH_PARAM_BUFFER_SIZE)
        size = *static_cast<size_t *>(extra[1]);
      else
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (!buffer || size < kernel.paramBytes)
      return CUDA_ERROR_INVALID_VALUE;
    std::memcpy(launch->params.data(), buffer, kernel.paramBytes);
  } else if (!kernel.params.empty()) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return call.queue(stream, [launch](Context &context) {
    context.machine.run(*launch);
    context.noteFaults();
  });
}

CUresult cuLaunchHostFunc(CUstream handle, CUhostFn function, void *data) {
  Call call;
  Stream *stream = call.stream(handle);
  if (!stream)
    return call.result;
  if (!function)
    return CUDA_ERROR_INVALID_VALUE;
  startHelper();
  return call.queue(stream, [=](Context &) { function(data); }, true, true);
}

} // extern "C"
