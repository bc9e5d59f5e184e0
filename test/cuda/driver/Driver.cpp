// SPDX-License-Identifier: Apache-2.0
// The entry points of the driver, as cuda.h of CUDA 13 names them, and those of StandIn.h.

#pragma GCC visibility push(default)
#include "test/cuda/StandIn.h"
#include <cuda.h>
#pragma GCC visibility pop

#include "test/cuda/driver/Context.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

using namespace morph::standin;

namespace {

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
};
Driver &driver = *new Driver;
thread_local bool isCurrent = false; ///< Whether the thread has made the context current.

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
  Context &operator*() const { return *driver.context; }

  /// The stream of a handle, or null with `result` set.
  Stream *stream(CUstream handle) {
    if (!handle || handle == CU_STREAM_LEGACY)
      return driver.context->streams.defaultStream();
    if (handle == CU_STREAM_PER_THREAD) {
      result = CUDA_ERROR_NOT_SUPPORTED;
      return nullptr;
    }
    auto *stream = reinterpret_cast<Stream *>(handle);
    if (driver.context->streams.isKnown(stream))
      return stream;
    result = CUDA_ERROR_INVALID_HANDLE;
    return nullptr;
  }
  Event *event(CUevent handle) {
    auto *event = reinterpret_cast<Event *>(handle);
    if (driver.context->events.count(event))
      return event;
    result = CUDA_ERROR_INVALID_HANDLE;
    return nullptr;
  }

  CUresult result = CUDA_SUCCESS;

private:
  std::unique_lock<std::mutex> lock;
};

/// Waits until a stream is empty. The error that came up meanwhile.
CUresult drain(Call &call, Stream *stream) {
  call->streams.runUntil([&] { return stream->items.empty(); });
  return call->error;
}

/// Whether an event was recorded in a capture, which asking for it makes invalid.
bool isCaptured(const Event &event) {
  if (event.capture)
    event.capture->isInvalid = true;
  return event.capture != nullptr;
}

/// What a call may not do while a capture of the global kind is open.
bool isUnsafe(Call &call) {
  if (!call->streams.forbidsUnsafe())
    return false;
  call.result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  return true;
}

/// Queues work that does nothing once the context has an error.
CUresult queue(Call &call, Stream *stream, std::function<void()> run) {
  Context *context = &*call;
  return call->streams.enqueue(stream, {[context, run = std::move(run)] {
                                 if (context->error == CUDA_SUCCESS)
                                   run();
                               }});
}

/// Whether memory of a device lies in one allocation, as the driver itself checks.
bool isInAllocation(Call &call, uint64_t address, uint64_t bytes) {
  uint64_t begin = 0, size = 0;
  return call->memory.find(address, begin, size) && bytes <= size - (address - begin);
}

/// Larger copies of pageable memory wait for their stream: weights would lie twice in memory.
constexpr size_t kMostStaged = size_t(16) << 20;

CUresult copyToDevice(Call &call, Stream *stream, CUdeviceptr to, const void *from, size_t bytes, const char *name) {
  if (bytes == 0)
    return CUDA_SUCCESS;
  if (!isInAllocation(call, to, bytes) || !from)
    return CUDA_ERROR_INVALID_VALUE;
  Context *context = &*call;
  // Pageable memory is read before the call returns; pinned memory when the stream comes to it.
  bool isPageable = !stream->capture && !call->memory.isHost(reinterpret_cast<uint64_t>(from), bytes);
  std::shared_ptr<std::vector<char>> staged;
  if (isPageable && bytes <= kMostStaged)
    staged =
        std::make_shared<std::vector<char>>(static_cast<const char *>(from), static_cast<const char *>(from) + bytes);
  CUresult result = queue(call, stream, [=] {
    if (char *target = context->span(to, bytes, name))
      std::memcpy(target, staged ? staged->data() : from, bytes);
  });
  return result == CUDA_SUCCESS && isPageable && !staged ? drain(call, stream) : result;
}

CUresult copyToHost(Call &call, Stream *stream, void *to, CUdeviceptr from, size_t bytes, const char *name) {
  if (bytes == 0)
    return CUDA_SUCCESS;
  if (!isInAllocation(call, from, bytes) || !to)
    return CUDA_ERROR_INVALID_VALUE;
  Context *context = &*call;
  CUresult result = queue(call, stream, [=] {
    if (const char *source = context->span(from, bytes, name))
      std::memcpy(to, source, bytes);
  });
  // Into pageable memory the call itself waits.
  if (result == CUDA_SUCCESS && !stream->capture && !call->memory.isHost(reinterpret_cast<uint64_t>(to), bytes))
    return drain(call, stream);
  return result;
}

CUresult copyOnDevice(Call &call, Stream *stream, CUdeviceptr to, CUdeviceptr from, size_t bytes, const char *name) {
  if (bytes == 0)
    return CUDA_SUCCESS;
  if (!isInAllocation(call, to, bytes) || !isInAllocation(call, from, bytes))
    return CUDA_ERROR_INVALID_VALUE;
  Context *context = &*call;
  return queue(call, stream, [=] {
    const char *source = context->span(from, bytes, name);
    char *target = source ? context->span(to, bytes, name) : nullptr;
    if (target)
      std::memmove(target, source, bytes);
  });
}

CUresult setOnDevice(Call &call, Stream *stream, CUdeviceptr to, uint32_t value, unsigned width, size_t count,
                     const char *name) {
  if (count == 0)
    return CUDA_SUCCESS;
  if (to % width || !isInAllocation(call, to, count * width))
    return CUDA_ERROR_INVALID_VALUE;
  Context *context = &*call;
  return queue(call, stream, [=] {
    char *target = context->span(to, count * width, name);
    if (!target)
      return;
    if (width == 1)
      std::memset(target, int(value & 0xff), count);
    else
      for (size_t i = 0; i < count; ++i)
        std::memcpy(target + i * width, &value, width);
  });
}

CUresult allocatePinned(Call &call, void **pointer, size_t bytes) {
  if (isUnsafe(call))
    return call.result;
  if (bytes == 0)
    return CUDA_ERROR_INVALID_VALUE;
  void *memory = nullptr;
  if (posix_memalign(&memory, 4096, (bytes + 4095) / 4096 * 4096) != 0)
    return CUDA_ERROR_OUT_OF_MEMORY;
  if (call->settings.machine.checks)
    std::memset(memory, 0xff, bytes);
  call->memory.addHost(reinterpret_cast<uint64_t>(memory), bytes);
  call->hostAllocations[memory] = true;
  *pointer = memory;
  return CUDA_SUCCESS;
}

CUresult setLive(CUdeviceptr begin, size_t bytes, int alive, bool isOrdered, CUstream handle) {
  Call call;
  if (call.failed())
    return call.result;
  if (!isInAllocation(call, begin, bytes))
    return CUDA_ERROR_INVALID_VALUE;
  if (!isOrdered)
    return call->memory.setLive(begin, bytes, alive != 0) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  Stream *stream = call.stream(handle);
  if (!stream)
    return call.result;
  Context *context = &*call;
  return queue(call, stream, [=] { context->memory.setLive(begin, bytes, alive != 0); });
}

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
  size_t length = std::min(text.size(), room - 1);
  std::memcpy(to, text.data(), length);
  to[length] = '\0';
  if (sizeAt < count)
    values[sizeAt] = reinterpret_cast<void *>(length ? length + 1 : 0);
}

struct ErrorName {
  CUresult result;
  const char *name, *text;
};
const ErrorName kErrors[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {CUDA_ERROR_DEINITIALIZED, "CUDA_ERROR_DEINITIALIZED", "driver shutting down"},
    {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CUDA_ERROR_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {CUDA_ERROR_NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU",
     "no kernel image is available for execution on the device"},
    {CUDA_ERROR_INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
     "the provided PTX was compiled with an unsupported toolchain."},
    {CUDA_ERROR_INVALID_SOURCE, "CUDA_ERROR_INVALID_SOURCE", "device kernel image is invalid"},
    {CUDA_ERROR_FILE_NOT_FOUND, "CUDA_ERROR_FILE_NOT_FOUND", "file not found"},
    {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {CUDA_ERROR_ILLEGAL_STATE, "CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed in the present state"},
    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
     "too many resources requested for launch"},
    {CUDA_ERROR_LAUNCH_TIMEOUT, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
    {CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED",
     "part or all of the requested memory range is already mapped"},
    {CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED",
     "pointer does not correspond to a registered memory region"},
    {CUDA_ERROR_MISALIGNED_ADDRESS, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {CUDA_ERROR_NOT_PERMITTED, "CUDA_ERROR_NOT_PERMITTED", "operation not permitted"},
    {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
    {CUDA_ERROR_STREAM_CAPTURE_MERGE, "CUDA_ERROR_STREAM_CAPTURE_MERGE",
     "operation would result in a merge of separate capture sequences"},
    {CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED",
     "capture was not ended in the same stream as it began"},
    {CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED", "capturing stream has unjoined work"},
    {CUDA_ERROR_STREAM_CAPTURE_ISOLATION, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION",
     "dependency created on uncaptured work in another stream"},
    {CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {CUDA_ERROR_CAPTURED_EVENT, "CUDA_ERROR_CAPTURED_EVENT",
     "operation not permitted on an event last recorded in a capturing stream"},
    {CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD",
     "attempt to terminate a thread-local capture sequence from another thread"},
    {CUDA_ERROR_UNKNOWN, "CUDA_ERROR_UNKNOWN", "unknown error"}};

const ErrorName *findError(CUresult result) {
  for (const ErrorName &error : kErrors)
    if (error.result == result)
      return &error;
  return nullptr;
}

CUcontext contextHandle() { return reinterpret_cast<CUcontext>(driver.context.get()); }

} // namespace

extern "C" {

// --- The driver and the device
// -----------------------------------------------------------------------------------------

CUresult cuInit(unsigned flags) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (flags)
    return CUDA_ERROR_INVALID_VALUE;
  if (!driver.context) {
    driver.settings = Settings::read();
    driver.isInitialised = driver.settings.device != nullptr;
  }
  return driver.isInitialised ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE;
}

CUresult cuDriverGetVersion(int *version) {
  if (!version)
    return CUDA_ERROR_INVALID_VALUE;
  *version = CUDA_VERSION;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *count) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (!driver.isInitialised)
    return CUDA_ERROR_NOT_INITIALIZED;
  *count = 1;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (!driver.isInitialised)
    return CUDA_ERROR_NOT_INITIALIZED;
  if (ordinal != 0)
    return CUDA_ERROR_INVALID_DEVICE;
  *device = 0;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (!driver.isInitialised)
    return CUDA_ERROR_NOT_INITIALIZED;
  if (device != 0)
    return CUDA_ERROR_INVALID_DEVICE;
  if (!name || length < 1)
    return CUDA_ERROR_INVALID_VALUE;
  std::snprintf(name, size_t(length), "%s", driver.settings.device->name);
  return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem(size_t *bytes, CUdevice device) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (!driver.isInitialised)
    return CUDA_ERROR_NOT_INITIALIZED;
  if (device != 0)
    return CUDA_ERROR_INVALID_DEVICE;
  *bytes = driver.settings.memory;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (!driver.isInitialised)
    return CUDA_ERROR_NOT_INITIALIZED;
  if (device != 0)
    return CUDA_ERROR_INVALID_DEVICE;
  return value && deviceAttribute(*driver.settings.device, attribute, *value) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (!driver.isInitialised)
    return CUDA_ERROR_NOT_INITIALIZED;
  if (device != 0)
    return CUDA_ERROR_INVALID_DEVICE;
  std::memset(uuid, 0, sizeof(*uuid));
  std::snprintf(uuid->bytes, sizeof(uuid->bytes), "stand-in %s", driver.settings.device->key);
  return CUDA_SUCCESS;
}

// --- Contexts
// ----------------------------------------------------------------------------------------------------------

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (!driver.isInitialised)
    return CUDA_ERROR_NOT_INITIALIZED;
  if (device != 0)
    return CUDA_ERROR_INVALID_DEVICE;
  if (!driver.context)
    driver.context = std::make_unique<Context>(driver.settings, driver.gate);
  ++driver.retained;
  *context = contextHandle();
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice device) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (!driver.isInitialised)
    return CUDA_ERROR_NOT_INITIALIZED;
  if (device != 0)
    return CUDA_ERROR_INVALID_DEVICE;
  if (driver.retained == 0)
    return CUDA_ERROR_INVALID_CONTEXT;
  if (--driver.retained == 0) {
    // What is queued still runs.
    driver.context->streams.runAll();
    driver.context.reset();
  }
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxSetFlags(CUdevice device, unsigned flags) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (device != 0)
    return CUDA_ERROR_INVALID_DEVICE;
  driver.flags = flags;
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (device != 0)
    return CUDA_ERROR_INVALID_DEVICE;
  *flags = driver.flags;
  *active = driver.context != nullptr;
  return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (!driver.isInitialised)
    return CUDA_ERROR_NOT_INITIALIZED;
  if (context && context != contextHandle())
    return CUDA_ERROR_INVALID_CONTEXT;
  isCurrent = context != nullptr;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *context) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (!driver.isInitialised)
    return CUDA_ERROR_NOT_INITIALIZED;
  *context = isCurrent ? contextHandle() : nullptr;
  return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent(CUcontext context) { return cuCtxSetCurrent(context); }

CUresult cuCtxPopCurrent(CUcontext *context) {
  if (context) {
    CUresult result = cuCtxGetCurrent(context);
    if (result != CUDA_SUCCESS)
      return result;
  }
  return cuCtxSetCurrent(nullptr);
}

CUresult cuCtxGetDevice(CUdevice *device) {
  Call call(true);
  if (call.failed())
    return call.result;
  *device = 0;
  return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize(void) {
  Call call;
  if (call.failed() || isUnsafe(call))
    return call.result;
  call->streams.runAll();
  return call->error;
}

CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  Call call;
  if (call.failed())
    return call.result;
  if (least)
    *least = 0;
  if (greatest)
    *greatest = -5;
  return CUDA_SUCCESS;
}

// --- Memory
// ------------------------------------------------------------------------------------------------------------

CUresult cuMemGetInfo(size_t *free, size_t *total) {
  Call call;
  if (call.failed())
    return call.result;
  *total = call->memory.total();
  *free = call->memory.total() - call->memory.used();
  return CUDA_SUCCESS;
}

CUresult cuMemAlloc(CUdeviceptr *pointer, size_t bytes) {
  Call call;
  if (call.failed() || isUnsafe(call))
    return call.result;
  if (!pointer || bytes == 0)
    return CUDA_ERROR_INVALID_VALUE;
  uint64_t address = call->memory.reserve(bytes);
  if (!address)
    return CUDA_ERROR_OUT_OF_MEMORY;
  call->memory.setAllocated(address);
  *pointer = address;
  return CUDA_SUCCESS;
}

CUresult cuMemFree(CUdeviceptr pointer) {
  Call call;
  if (call.failed() || isUnsafe(call))
    return call.result;
  if (!pointer)
    return CUDA_SUCCESS;
  if (!call->memory.isAllocation(pointer) || call->freeing.count(pointer))
    return CUDA_ERROR_INVALID_VALUE;
  call->streams.runAll();
  call->memory.release(pointer);
  return call->error;
}

CUresult cuMemAllocAsync(CUdeviceptr *pointer, size_t bytes, CUstream handle) {
  Call call;
  Stream *stream = call.failed() ? nullptr : call.stream(handle);
  if (!stream)
    return call.result;
  if (!pointer || bytes == 0)
    return CUDA_ERROR_INVALID_VALUE;
  if (stream->capture) // Nodes that allocate are not played.
    return CUDA_ERROR_NOT_SUPPORTED;
  uint64_t address = call->memory.reserve(bytes);
  if (!address)
    return CUDA_ERROR_OUT_OF_MEMORY;
  *pointer = address;
  Context *context = &*call;
  return queue(call, stream, [=] { context->memory.setAllocated(address); });
}

CUresult cuMemFreeAsync(CUdeviceptr pointer, CUstream handle) {
  Call call;
  Stream *stream = call.failed() ? nullptr : call.stream(handle);
  if (!stream)
    return call.result;
  if (stream->capture)
    return CUDA_ERROR_NOT_SUPPORTED;
  if (!call->memory.isAllocation(pointer) || !call->freeing.insert(pointer).second)
    return CUDA_ERROR_INVALID_VALUE;
  Context *context = &*call;
  return queue(call, stream, [=] {
    context->memory.release(pointer);
    context->freeing.erase(pointer);
  });
}

CUresult cuMemGetAddressRange(CUdeviceptr *begin, size_t *bytes, CUdeviceptr pointer) {
  Call call;
  if (call.failed())
    return call.result;
  uint64_t first = 0, size = 0;
  if (!call->memory.find(pointer, first, size))
    return CUDA_ERROR_NOT_FOUND;
  if (begin)
    *begin = first;
  if (bytes)
    *bytes = size;
  return CUDA_SUCCESS;
}

CUresult cuMemHostAlloc(void **pointer, size_t bytes, unsigned) {
  Call call;
  return call.failed() ? call.result : allocatePinned(call, pointer, bytes);
}

CUresult cuMemAllocHost(void **pointer, size_t bytes) {
  Call call;
  return call.failed() ? call.result : allocatePinned(call, pointer, bytes);
}

CUresult cuMemFreeHost(void *pointer) {
  Call call;
  if (call.failed() || isUnsafe(call))
    return call.result;
  auto found = call->hostAllocations.find(pointer);
  if (found == call->hostAllocations.end() || !found->second)
    return CUDA_ERROR_INVALID_VALUE;
  call->streams.runAll();
  call->memory.removeHost(reinterpret_cast<uint64_t>(pointer));
  call->hostAllocations.erase(found);
  std::free(pointer);
  return call->error;
}

CUresult cuMemHostRegister(void *pointer, size_t bytes, unsigned) {
  Call call;
  if (call.failed() || isUnsafe(call))
    return call.result;
  if (!pointer || bytes == 0)
    return CUDA_ERROR_INVALID_VALUE;
  if (call->hostAllocations.count(pointer))
    return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
  call->hostAllocations[pointer] = false;
  call->memory.addHost(reinterpret_cast<uint64_t>(pointer), bytes);
  return CUDA_SUCCESS;
}

CUresult cuMemHostUnregister(void *pointer) {
  Call call;
  if (call.failed() || isUnsafe(call))
    return call.result;
  auto found = call->hostAllocations.find(pointer);
  if (found == call->hostAllocations.end() || found->second)
    return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
  call->streams.runAll();
  call->memory.removeHost(reinterpret_cast<uint64_t>(pointer));
  call->hostAllocations.erase(found);
  return call->error;
}

CUresult cuMemHostGetDevicePointer(CUdeviceptr *device, void *pointer, unsigned) {
  Call call;
  if (call.failed())
    return call.result;
  if (!call->memory.isHost(reinterpret_cast<uint64_t>(pointer), 1))
    return CUDA_ERROR_INVALID_VALUE;
  *device = reinterpret_cast<CUdeviceptr>(pointer);
  return CUDA_SUCCESS;
}

CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream handle) {
  Call call;
  Stream *stream = call.failed() ? nullptr : call.stream(handle);
  return stream ? copyToDevice(call, stream, to, from, bytes, "cuMemcpyHtoDAsync") : call.result;
}

CUresult cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream handle) {
  Call call;
  Stream *stream = call.failed() ? nullptr : call.stream(handle);
  return stream ? copyToHost(call, stream, to, from, bytes, "cuMemcpyDtoHAsync") : call.result;
}

CUresult cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream handle) {
  Call call;
  Stream *stream = call.failed() ? nullptr : call.stream(handle);
  return stream ? copyOnDevice(call, stream, to, from, bytes, "cuMemcpyDtoDAsync") : call.result;
}

CUresult cuMemcpyHtoD(CUdeviceptr to, const void *from, size_t bytes) {
  Call call;
  if (call.failed() || isUnsafe(call))
    return call.result;
  Stream *stream = call->streams.defaultStream();
  CUresult result = copyToDevice(call, stream, to, from, bytes, "cuMemcpyHtoD");
  return result == CUDA_SUCCESS ? drain(call, stream) : result;
}

CUresult cuMemcpyDtoH(void *to, CUdeviceptr from, size_t bytes) {
  Call call;
  if (call.failed() || isUnsafe(call))
    return call.result;
  Stream *stream = call->streams.defaultStream();
  CUresult result = copyToHost(call, stream, to, from, bytes, "cuMemcpyDtoH");
  return result == CUDA_SUCCESS ? drain(call, stream) : result;
}

CUresult cuMemcpyDtoD(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  Call call;
  if (call.failed() || isUnsafe(call))
    return call.result;
  return copyOnDevice(call, call->streams.defaultStream(), to, from, bytes, "cuMemcpyDtoD");
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream handle) {
  Call call;
  Stream *stream = call.failed() ? nullptr : call.stream(handle);
  return stream ? setOnDevice(call, stream, to, value, 1, count, "cuMemsetD8Async") : call.result;
}

CUresult cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream handle) {
  Call call;
  Stream *stream = call.failed() ? nullptr : call.stream(handle);
  return stream ? setOnDevice(call, stream, to, value, 2, count, "cuMemsetD16Async") : call.result;
}

CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream handle) {
  Call call;
  Stream *stream = call.failed() ? nullptr : call.stream(handle);
  return stream ? setOnDevice(call, stream, to, value, 4, count, "cuMemsetD32Async") : call.result;
}

CUresult cuMemsetD8(CUdeviceptr to, unsigned char value, size_t count) {
  return cuMemsetD8Async(to, value, count, nullptr);
}
CUresult cuMemsetD16(CUdeviceptr to, unsigned short value, size_t count) {
  return cuMemsetD16Async(to, value, count, nullptr);
}
CUresult cuMemsetD32(CUdeviceptr to, unsigned value, size_t count) {
  return cuMemsetD32Async(to, value, count, nullptr);
}

// --- Modules and functions
// ---------------------------------------------------------------------------------------------

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned count, CUjit_option *options, void **values) {
  Call call;
  if (call.failed() || isUnsafe(call))
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
  if (call.failed() || isUnsafe(call))
    return call.result;
  auto *handle = reinterpret_cast<ModuleHandle *>(module);
  if (!call->modules.count(handle))
    return CUDA_ERROR_INVALID_HANDLE;
  call->streams.runAll();
  call->unloadModule(handle);
  return call->error;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
  Call call;
  if (call.failed())
    return call.result;
  auto *handle = reinterpret_cast<ModuleHandle *>(module);
  if (!call->modules.count(handle))
    return CUDA_ERROR_INVALID_HANDLE;
  auto found = handle->functions.find(name);
  if (found == handle->functions.end())
    return CUDA_ERROR_NOT_FOUND;
  *function = reinterpret_cast<CUfunction>(found->second.get());
  return CUDA_SUCCESS;
}

CUresult cuModuleGetGlobal(CUdeviceptr *pointer, size_t *bytes, CUmodule module, const char *name) {
  Call call;
  if (call.failed())
    return call.result;
  auto *handle = reinterpret_cast<ModuleHandle *>(module);
  if (!call->modules.count(handle))
    return CUDA_ERROR_INVALID_HANDLE;
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
  if (call.failed())
    return call.result;
  auto *function = reinterpret_cast<LoadedFunction *>(handle);
  if (!call->functions.count(function))
    return CUDA_ERROR_INVALID_HANDLE;
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
    *value = int(function->localBytes);
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
  if (call.failed())
    return call.result;
  auto *function = reinterpret_cast<LoadedFunction *>(handle);
  if (!call->functions.count(function))
    return CUDA_ERROR_INVALID_HANDLE;
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
  if (call.failed())
    return call.result;
  auto *function = reinterpret_cast<LoadedFunction *>(handle);
  if (!call->functions.count(function))
    return CUDA_ERROR_INVALID_HANDLE;
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
  Stream *stream = call.failed() ? nullptr : call.stream(streamHandle);
  if (!stream)
    return call.result;
  auto *function = reinterpret_cast<LoadedFunction *>(handle);
  if (!call->functions.count(function))
    return CUDA_ERROR_INVALID_HANDLE;
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
  Context *context = &*call;
  return queue(call, stream, [context, launch] {
    context->machine.run(*launch);
    context->noteFaults();
  });
}

CUresult cuLaunchHostFunc(CUstream handle, CUhostFn function, void *data) {
  Call call;
  Stream *stream = call.failed() ? nullptr : call.stream(handle);
  if (!stream)
    return call.result;
  if (!function)
    return CUDA_ERROR_INVALID_VALUE;
  startHelper();
  Context *context = &*call;
  return call->streams.enqueue(stream, {[=] {
                                          if (context->error == CUDA_SUCCESS)
                                            function(data);
                                        },
                                        true, true});
}

// --- Streams and events
// ------------------------------------------------------------------------------------------------

CUresult cuStreamCreateWithPriority(CUstream *handle, unsigned flags, int priority) {
  Call call;
  if (call.failed())
    return call.result;
  if (!handle || flags > CU_STREAM_NON_BLOCKING)
    return CUDA_ERROR_INVALID_VALUE;
  *handle = reinterpret_cast<CUstream>(call->streams.create(flags, priority));
  return CUDA_SUCCESS;
}

CUresult cuStreamCreate(CUstream *handle, unsigned flags) { return cuStreamCreateWithPriority(handle, flags, 0); }

CUresult cuStreamDestroy(CUstream handle) {
  Call call(true);
  Stream *stream = call.failed() ? nullptr : call.stream(handle);
  if (!stream)
    return call.result;
  if (stream->isDefault)
    return CUDA_ERROR_INVALID_HANDLE;
  call->streams.destroy(stream);
  return CUDA_SUCCESS;
}

CUresult cuStreamSynchronize(CUstream handle) {
  Call call;
  Stream *stream = call.failed() ? nullptr : call.stream(handle);
  if (!stream)
    return call.result;
  if (stream->capture) {
    call->streams.invalidate(stream);
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  if (stream->isDefault) {
    // The default stream is done when what it waits for is.
    CUresult result = queue(call, stream, [] {});
    if (result != CUDA_SUCCESS)
      return result;
  }
  return drain(call, stream);
}

CUresult cuStreamQuery(CUstream handle) {
  Call call;
  Stream *stream = call.failed() ? nullptr : call.stream(handle);
  if (!stream)
    return call.result;
  if (stream->capture) {
    call->streams.invalidate(stream);
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  call->streams.runSome();
  if (call->error != CUDA_SUCCESS)
    return call->error;
  return stream->items.empty() ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult cuStreamWaitEvent(CUstream handle, CUevent eventHandle, unsigned flags) {
  Call call;
  Stream *stream = call.failed() ? nullptr : call.stream(handle);
  Event *event = stream ? call.event(eventHandle) : nullptr;
  if (!event)
    return call.result;
  return flags ? CUDA_ERROR_NOT_SUPPORTED : call->streams.wait(stream, *event);
}

CUresult cuStreamGetFlags(CUstream handle, unsigned *flags) {
  Call call;
  Stream *stream = call.failed() ? nullptr : call.stream(handle);
  if (!stream)
    return call.result;
  *flags = stream->flags;
  return CUDA_SUCCESS;
}

CUresult cuStreamGetPriority(CUstream handle, int *priority) {
  Call call;
  Stream *stream = call.failed() ? nullptr : call.stream(handle);
  if (!stream)
    return call.result;
  *priority = stream->priority;
  return CUDA_SUCCESS;
}

CUresult cuStreamBeginCapture(CUstream handle, CUstreamCaptureMode mode) {
  Call call;
  Stream *stream = call.failed() ? nullptr : call.stream(handle);
  return stream ? call->streams.beginCapture(stream, mode) : call.result;
}

CUresult cuStreamEndCapture(CUstream handle, CUgraph *graph) {
  Call call;
  Stream *stream = call.failed() ? nullptr : call.stream(handle);
  if (!stream)
    return call.result;
  std::shared_ptr<Graph> captured;
  CUresult result = call->streams.endCapture(stream, captured);
  *graph = nullptr;
  if (result != CUDA_SUCCESS)
    return result;
  auto *made = new std::shared_ptr<Graph>(captured);
  call->graphs.insert(made);
  *graph = reinterpret_cast<CUgraph>(made);
  return CUDA_SUCCESS;
}

CUresult cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus *status) {
  Call call;
  Stream *stream = call.failed() ? nullptr : call.stream(handle);
  if (!stream)
    return call.result;
  *status = !stream->capture             ? CU_STREAM_CAPTURE_STATUS_NONE
            : stream->capture->isInvalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                         : CU_STREAM_CAPTURE_STATUS_ACTIVE;
  return CUDA_SUCCESS;
}

CUresult cuEventCreate(CUevent *handle, unsigned flags) {
  Call call;
  if (call.failed())
    return call.result;
  if (!handle || (flags & ~unsigned(CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING)))
    return CUDA_ERROR_INVALID_VALUE;
  auto *event = new Event;
  event->hasTiming = !(flags & CU_EVENT_DISABLE_TIMING);
  call->events.insert(event);
  *handle = reinterpret_cast<CUevent>(event);
  return CUDA_SUCCESS;
}

CUresult cuEventDestroy(CUevent handle) {
  Call call(true);
  Event *event = call.failed() ? nullptr : call.event(handle);
  if (!event)
    return call.result;
  call->events.erase(event);
  delete event;
  return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent handle, CUstream streamHandle) {
  Call call;
  Stream *stream = call.failed() ? nullptr : call.stream(streamHandle);
  Event *event = stream ? call.event(handle) : nullptr;
  return event ? call->streams.record(*event, stream) : call.result;
}

CUresult cuEventQuery(CUevent handle) {
  Call call;
  Event *event = call.failed() ? nullptr : call.event(handle);
  if (!event)
    return call.result;
  if (isCaptured(*event))
    return CUDA_ERROR_CAPTURED_EVENT;
  if (isUnsafe(call))
    return call.result;
  call->streams.runSome();
  if (call->error != CUDA_SUCCESS)
    return call->error;
  return !event->completion || event->completion->isDone ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult cuEventSynchronize(CUevent handle) {
  Call call;
  Event *event = call.failed() ? nullptr : call.event(handle);
  if (!event)
    return call.result;
  if (isCaptured(*event))
    return CUDA_ERROR_CAPTURED_EVENT;
  std::shared_ptr<Completion> completion = event->completion;
  if (completion)
    call->streams.runUntil([&] { return completion->isDone; });
  return call->error;
}

CUresult cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to) {
  Call call;
  Event *first = call.failed() ? nullptr : call.event(from);
  Event *second = first ? call.event(to) : nullptr;
  if (!second)
    return call.result;
  if (!first->hasTiming || !second->hasTiming || !first->completion || !second->completion)
    return CUDA_ERROR_INVALID_HANDLE;
  if (!first->completion->isDone || !second->completion->isDone)
    return CUDA_ERROR_NOT_READY;
  *milliseconds = std::chrono::duration<float, std::milli>(second->completion->time - first->completion->time).count();
  return CUDA_SUCCESS;
}

// --- Graphs
// ------------------------------------------------------------------------------------------------------------

CUresult cuGraphInstantiate(CUgraphExec *handle, CUgraph graph, unsigned long long flags) {
  Call call;
  if (call.failed())
    return call.result;
  auto *source = reinterpret_cast<std::shared_ptr<Graph> *>(graph);
  if (!call->graphs.count(source))
    return CUDA_ERROR_INVALID_VALUE;
  if (flags & ~(unsigned long long)(CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH |
                                    CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY))
    return CUDA_ERROR_NOT_SUPPORTED;
  auto *made = new std::shared_ptr<const Graph>(std::make_shared<Graph>(**source));
  call->executables.insert(made);
  *handle = reinterpret_cast<CUgraphExec>(made);
  return CUDA_SUCCESS;
}

CUresult cuGraphUpload(CUgraphExec handle, CUstream streamHandle) {
  Call call;
  Stream *stream = call.failed() ? nullptr : call.stream(streamHandle);
  if (!stream)
    return call.result;
  return call->executables.count(reinterpret_cast<std::shared_ptr<const Graph> *>(handle)) ? CUDA_SUCCESS
                                                                                           : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGraphLaunch(CUgraphExec handle, CUstream streamHandle) {
  Call call;
  Stream *stream = call.failed() ? nullptr : call.stream(streamHandle);
  if (!stream)
    return call.result;
  auto *graph = reinterpret_cast<std::shared_ptr<const Graph> *>(handle);
  if (!call->executables.count(graph))
    return CUDA_ERROR_INVALID_VALUE;
  return call->streams.launch(stream, *graph);
}

CUresult cuGraphGetNodes(CUgraph handle, CUgraphNode *nodes, size_t *count) {
  Call call;
  if (call.failed())
    return call.result;
  auto *graph = reinterpret_cast<std::shared_ptr<Graph> *>(handle);
  if (!call->graphs.count(graph) || !count)
    return CUDA_ERROR_INVALID_VALUE;
  if (nodes)
    for (size_t i = 0; i < *count; ++i)
      nodes[i] = i < (*graph)->nodes.size() ? reinterpret_cast<CUgraphNode>(&(*graph)->nodes[i]) : nullptr;
  *count = nodes ? std::min(*count, (*graph)->nodes.size()) : (*graph)->nodes.size();
  return CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph handle) {
  Call call(true);
  if (call.failed())
    return call.result;
  auto *graph = reinterpret_cast<std::shared_ptr<Graph> *>(handle);
  if (!call->graphs.erase(graph))
    return CUDA_ERROR_INVALID_VALUE;
  delete graph;
  return CUDA_SUCCESS;
}

CUresult cuGraphExecDestroy(CUgraphExec handle) {
  Call call(true);
  if (call.failed())
    return call.result;
  auto *graph = reinterpret_cast<std::shared_ptr<const Graph> *>(handle);
  if (!call->executables.erase(graph))
    return CUDA_ERROR_INVALID_VALUE;
  delete graph;
  return CUDA_SUCCESS;
}

// --- Errors and entry points
// -------------------------------------------------------------------------------------------

CUresult cuGetErrorName(CUresult result, const char **text) {
  const ErrorName *error = findError(result);
  *text = error ? error->name : nullptr;
  return error ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult result, const char **text) {
  const ErrorName *error = findError(result);
  *text = error ? error->text : nullptr;
  return error ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetProcAddress(const char *symbol, void **function, int version, cuuint64_t flags,
                          CUdriverProcAddressQueryResult *status) {
  if (!symbol || !function || version < 2000 || flags > 2)
    return CUDA_ERROR_INVALID_VALUE;
  struct Entry {
    const char *name;
    void *function;
  };
#define ENTRY(name) {#name, reinterpret_cast<void *>(&name)}
  static const Entry entries[] = {ENTRY(cuInit),
                                  ENTRY(cuDriverGetVersion),
                                  ENTRY(cuDeviceGetCount),
                                  ENTRY(cuDeviceGet),
                                  ENTRY(cuDeviceGetName),
                                  ENTRY(cuDeviceTotalMem),
                                  ENTRY(cuDeviceGetAttribute),
                                  ENTRY(cuDeviceGetUuid),
                                  ENTRY(cuDevicePrimaryCtxRetain),
                                  ENTRY(cuDevicePrimaryCtxRelease),
                                  ENTRY(cuDevicePrimaryCtxSetFlags),
                                  ENTRY(cuDevicePrimaryCtxGetState),
                                  ENTRY(cuCtxSetCurrent),
                                  ENTRY(cuCtxGetCurrent),
                                  ENTRY(cuCtxPushCurrent),
                                  ENTRY(cuCtxPopCurrent),
                                  ENTRY(cuCtxGetDevice),
                                  ENTRY(cuCtxSynchronize),
                                  ENTRY(cuCtxGetStreamPriorityRange),
                                  ENTRY(cuMemGetInfo),
                                  ENTRY(cuMemAlloc),
                                  ENTRY(cuMemFree),
                                  ENTRY(cuMemAllocAsync),
                                  ENTRY(cuMemFreeAsync),
                                  ENTRY(cuMemGetAddressRange),
                                  ENTRY(cuMemHostAlloc),
                                  ENTRY(cuMemAllocHost),
                                  ENTRY(cuMemFreeHost),
                                  ENTRY(cuMemHostRegister),
                                  ENTRY(cuMemHostUnregister),
                                  ENTRY(cuMemHostGetDevicePointer),
                                  ENTRY(cuMemcpyHtoDAsync),
                                  ENTRY(cuMemcpyDtoHAsync),
                                  ENTRY(cuMemcpyDtoDAsync),
                                  ENTRY(cuMemcpyHtoD),
                                  ENTRY(cuMemcpyDtoH),
                                  ENTRY(cuMemcpyDtoD),
                                  ENTRY(cuMemsetD8Async),
                                  ENTRY(cuMemsetD16Async),
                                  ENTRY(cuMemsetD32Async),
                                  ENTRY(cuMemsetD8),
                                  ENTRY(cuMemsetD16),
                                  ENTRY(cuMemsetD32),
                                  ENTRY(cuModuleLoadData),
                                  ENTRY(cuModuleLoadDataEx),
                                  ENTRY(cuModuleUnload),
                                  ENTRY(cuModuleGetFunction),
                                  ENTRY(cuModuleGetGlobal),
                                  ENTRY(cuFuncGetAttribute),
                                  ENTRY(cuFuncSetAttribute),
                                  ENTRY(cuOccupancyMaxActiveBlocksPerMultiprocessor),
                                  ENTRY(cuLaunchKernel),
                                  ENTRY(cuLaunchHostFunc),
                                  ENTRY(cuStreamCreate),
                                  ENTRY(cuStreamCreateWithPriority),
                                  ENTRY(cuStreamDestroy),
                                  ENTRY(cuStreamSynchronize),
                                  ENTRY(cuStreamQuery),
                                  ENTRY(cuStreamWaitEvent),
                                  ENTRY(cuStreamGetFlags),
                                  ENTRY(cuStreamGetPriority),
                                  ENTRY(cuStreamBeginCapture),
                                  ENTRY(cuStreamEndCapture),
                                  ENTRY(cuStreamIsCapturing),
                                  ENTRY(cuEventCreate),
                                  ENTRY(cuEventDestroy),
                                  ENTRY(cuEventRecord),
                                  ENTRY(cuEventQuery),
                                  ENTRY(cuEventSynchronize),
                                  ENTRY(cuEventElapsedTime),
                                  ENTRY(cuGraphInstantiate),
                                  ENTRY(cuGraphUpload),
                                  ENTRY(cuGraphLaunch),
                                  ENTRY(cuGraphGetNodes),
                                  ENTRY(cuGraphDestroy),
                                  ENTRY(cuGraphExecDestroy),
                                  ENTRY(cuGetErrorName),
                                  ENTRY(cuGetErrorString),
                                  ENTRY(cuGetProcAddress)};
#undef ENTRY
  *function = nullptr;
  for (const Entry &entry : entries)
    if (std::strcmp(entry.name, symbol) == 0)
      *function = entry.function;
  if (status)
    *status = *function ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  return *function || status ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

// --- The stand-in's own
// ------------------------------------------------------------------------------------------------

CUresult morphStandInSetLive(CUdeviceptr begin, size_t bytes, int alive) {
  return setLive(begin, bytes, alive, false, nullptr);
}

CUresult morphStandInSetLiveAsync(CUdeviceptr begin, size_t bytes, int alive, CUstream stream) {
  return setLive(begin, bytes, alive, true, stream);
}

CUresult morphStandInEnqueue(CUstream handle, void (*function)(const void *data), const void *data, size_t bytes) {
  Call call;
  Stream *stream = call.failed() ? nullptr : call.stream(handle);
  if (!stream)
    return call.result;
  std::vector<char> copy(static_cast<const char *>(data), static_cast<const char *>(data) + bytes);
  Context *context = &*call;
  return call->streams.enqueue(stream, {[=, copy = std::move(copy)] {
                                          if (context->error == CUDA_SUCCESS)
                                            function(copy.data());
                                        },
                                        false, true});
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
  if (buffer && size) {
    size_t length = std::min(texts.size(), size - 1);
    std::memcpy(buffer, texts.data(), length);
    buffer[length] = '\0';
  }
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
  if (buffer && size) {
    size_t length = std::min(text.size(), size - 1);
    std::memcpy(buffer, text.data(), length);
    buffer[length] = '\0';
  }
  return text.size();
}

void morphStandInResetCounters(void) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (driver.context)
    driver.context->counters.clear();
}

} // extern "C"
