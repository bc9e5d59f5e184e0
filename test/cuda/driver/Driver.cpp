// SPDX-License-Identifier: Apache-2.0
// The driver's entry points, as cuda.h of CUDA 13 names them: here the driver, its device, the context and the names of
// errors and entry points; the others by what they are about in Driver*.cpp.

#include "test/cuda/driver/Call.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

using namespace morph::standin;

namespace morph::standin {
Driver &driver = *new Driver;
thread_local bool isCurrent = false;
thread_local Confinement confinement, runningConfinement;
} // namespace morph::standin

namespace {

/// Adds what the process did to the file of reports, which several may have. A process is its first two arguments, as
/// "morph-run align".
void writeReport() {
  std::ifstream arguments("/proc/self/cmdline");
  std::string program, first;
  std::getline(arguments, program, '\0');
  std::getline(arguments, first, '\0');
  std::ofstream(driver.settings.report, std::ios::app)
      << "{\"process\": \"" + program.substr(program.rfind('/') + 1) + " " + first +
             "\", \"graph_launches\": " + std::to_string(driver.graphLaunches) + "}\n";
}

/// What is wrong with a call about a device before there is a context.
CUresult deviceError(CUdevice device) {
  if (!driver.isInitialised)
    return CUDA_ERROR_NOT_INITIALIZED;
  return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

struct ErrorName {
  CUresult result;
  const char *name, *text;
};
#define ERROR(name, text) {name, #name, text}
const ErrorName kErrors[] = {
    ERROR(CUDA_SUCCESS, "no error"),
    ERROR(CUDA_ERROR_INVALID_VALUE, "invalid argument"),
    ERROR(CUDA_ERROR_OUT_OF_MEMORY, "out of memory"),
    ERROR(CUDA_ERROR_NOT_INITIALIZED, "initialization error"),
    ERROR(CUDA_ERROR_DEINITIALIZED, "driver shutting down"),
    ERROR(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected"),
    ERROR(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal"),
    ERROR(CUDA_ERROR_INVALID_IMAGE, "device kernel image is invalid"),
    ERROR(CUDA_ERROR_INVALID_CONTEXT, "invalid device context"),
    ERROR(CUDA_ERROR_NO_BINARY_FOR_GPU, "no kernel image is available for execution on the device"),
    ERROR(CUDA_ERROR_INVALID_PTX, "a PTX JIT compilation failed"),
    ERROR(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "the provided PTX was compiled with an unsupported toolchain."),
    ERROR(CUDA_ERROR_INVALID_SOURCE, "device kernel image is invalid"),
    ERROR(CUDA_ERROR_FILE_NOT_FOUND, "file not found"),
    ERROR(CUDA_ERROR_INVALID_HANDLE, "invalid resource handle"),
    ERROR(CUDA_ERROR_ILLEGAL_STATE, "the operation cannot be performed in the present state"),
    ERROR(CUDA_ERROR_NOT_FOUND, "named symbol not found"),
    ERROR(CUDA_ERROR_NOT_READY, "device not ready"),
    ERROR(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered"),
    ERROR(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "too many resources requested for launch"),
    ERROR(CUDA_ERROR_LAUNCH_TIMEOUT, "the launch timed out and was terminated"),
    ERROR(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, "part or all of the requested memory range is already mapped"),
    ERROR(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, "pointer does not correspond to a registered memory region"),
    ERROR(CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned address"),
    ERROR(CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure"),
    ERROR(CUDA_ERROR_NOT_PERMITTED, "operation not permitted"),
    ERROR(CUDA_ERROR_NOT_SUPPORTED, "operation not supported"),
    ERROR(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "operation not permitted when stream is capturing"),
    ERROR(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "operation failed due to a previous error during capture"),
    ERROR(CUDA_ERROR_STREAM_CAPTURE_MERGE, "operation would result in a merge of separate capture sequences"),
    ERROR(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "capture was not ended in the same stream as it began"),
    ERROR(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "capturing stream has unjoined work"),
    ERROR(CUDA_ERROR_STREAM_CAPTURE_ISOLATION, "dependency created on uncaptured work in another stream"),
    ERROR(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,
          "operation would make the legacy stream depend on a capturing blocking stream"),
    ERROR(CUDA_ERROR_CAPTURED_EVENT, "operation not permitted on an event last recorded in a capturing stream"),
    ERROR(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD,
          "attempt to terminate a thread-local capture sequence from another thread"),
    ERROR(CUDA_ERROR_UNKNOWN, "unknown error")};
#undef ERROR

const ErrorName *findError(CUresult result) {
  for (const ErrorName &error : kErrors)
    if (error.result == result)
      return &error;
  return nullptr;
}

CUcontext contextHandle() { return reinterpret_cast<CUcontext>(driver.context.get()); }

} // namespace

extern "C" {

CUresult cuInit(unsigned flags) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (flags)
    return CUDA_ERROR_INVALID_VALUE;
  if (!driver.context) {
    driver.settings = Settings::read();
    driver.isInitialised = driver.settings.device != nullptr;
    if (!driver.settings.report.empty() && !driver.hasReport)
      driver.hasReport = std::atexit(writeReport) == 0 && std::at_quick_exit(writeReport) == 0;
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
  if (CUresult error = deviceError(0))
    return error;
  *count = 1;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (CUresult error = deviceError(ordinal))
    return error;
  *device = 0;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (CUresult error = deviceError(device))
    return error;
  if (!name || length < 1)
    return CUDA_ERROR_INVALID_VALUE;
  std::snprintf(name, size_t(length), "%s", driver.settings.device->name);
  return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem(size_t *bytes, CUdevice device) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (CUresult error = deviceError(device))
    return error;
  *bytes = driver.settings.memory;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (CUresult error = deviceError(device))
    return error;
  return value && deviceAttribute(*driver.settings.device, attribute, *value) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (CUresult error = deviceError(device))
    return error;
  std::memset(uuid, 0, sizeof(*uuid));
  std::snprintf(uuid->bytes, sizeof(uuid->bytes), "stand-in %s", driver.settings.device->key);
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (CUresult error = deviceError(device))
    return error;
  if (!driver.context)
    driver.context = std::make_unique<Context>(driver.settings, driver.gate);
  ++driver.retained;
  *context = contextHandle();
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice device) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (CUresult error = deviceError(device))
    return error;
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
  if (CUresult error = deviceError(device))
    return error;
  driver.flags = flags;
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
  std::lock_guard<std::mutex> lock(driver.gate);
  if (CUresult error = deviceError(device))
    return error;
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
  if (call.failed() || call.isUnsafe())
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

} // extern "C"
