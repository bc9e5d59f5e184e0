// SPDX-License-Identifier: Apache-2.0
// Entry points: memory, copies and sets.

#include "test/cuda/driver/Call.h"

#include <cstdlib>
#include <cstring>
#include <vector>

using namespace morph::standin;

namespace {

/// Larger copies of pageable memory wait for their stream: weights would lie twice in memory.
constexpr size_t kMostStaged = size_t(16) << 20;

CUresult copyToDevice(Call &call, Stream *stream, CUdeviceptr to, const void *from, size_t bytes, const char *name) {
  if (bytes == 0)
    return CUDA_SUCCESS;
  if (!call.isInAllocation(to, bytes) || !from)
    return CUDA_ERROR_INVALID_VALUE;
  // Pageable memory is read before the call returns; pinned memory when the stream comes to it.
  bool isPageable = !stream->capture && !call->memory.isHost(reinterpret_cast<uint64_t>(from), bytes);
  std::shared_ptr<std::vector<char>> staged;
  if (isPageable && bytes <= kMostStaged)
    staged =
        std::make_shared<std::vector<char>>(static_cast<const char *>(from), static_cast<const char *>(from) + bytes);
  CUresult result = call.queue(stream, [=](Context &context) {
    if (char *target = context.span(to, bytes, name))
      std::memcpy(target, staged ? staged->data() : from, bytes);
  });
  return result == CUDA_SUCCESS && isPageable && !staged ? call.drain(stream) : result;
}

CUresult copyToHost(Call &call, Stream *stream, void *to, CUdeviceptr from, size_t bytes, const char *name) {
  if (bytes == 0)
    return CUDA_SUCCESS;
  if (!call.isInAllocation(from, bytes) || !to)
    return CUDA_ERROR_INVALID_VALUE;
  CUresult result = call.queue(stream, [=](Context &context) {
    if (const char *source = context.span(from, bytes, name))
      std::memcpy(to, source, bytes);
  });
  // Into pageable memory the call itself waits.
  if (result == CUDA_SUCCESS && !stream->capture && !call->memory.isHost(reinterpret_cast<uint64_t>(to), bytes))
    return call.drain(stream);
  return result;
}

CUresult copyOnDevice(Call &call, Stream *stream, CUdeviceptr to, CUdeviceptr from, size_t bytes, const char *name) {
  if (bytes == 0)
    return CUDA_SUCCESS;
  if (!call.isInAllocation(to, bytes) || !call.isInAllocation(from, bytes))
    return CUDA_ERROR_INVALID_VALUE;
  return call.queue(stream, [=](Context &context) {
    const char *source = context.span(from, bytes, name);
    char *target = source ? context.span(to, bytes, name) : nullptr;
    if (target)
      std::memmove(target, source, bytes);
  });
}

CUresult setOnDevice(Call &call, Stream *stream, CUdeviceptr to, uint32_t value, unsigned width, size_t count,
                     const char *name) {
  if (count == 0)
    return CUDA_SUCCESS;
  if (to % width || !call.isInAllocation(to, count * width))
    return CUDA_ERROR_INVALID_VALUE;
  return call.queue(stream, [=](Context &context) {
    char *target = context.span(to, count * width, name);
    if (!target)
      return;
    if (width == 1)
      std::memset(target, int(value & 0xff), count);
    else
      for (size_t i = 0; i < count; ++i)
        std::memcpy(target + i * width, &value, width);
  });
}

} // namespace

extern "C" {

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
  if (call.failed() || call.isUnsafe())
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
  if (call.failed() || call.isUnsafe())
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
  Stream *stream = call.stream(handle);
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
  return call.queue(stream, [=](Context &context) { context.memory.setAllocated(address); });
}

CUresult cuMemFreeAsync(CUdeviceptr pointer, CUstream handle) {
  Call call;
  Stream *stream = call.stream(handle);
  if (!stream)
    return call.result;
  if (stream->capture)
    return CUDA_ERROR_NOT_SUPPORTED;
  if (!call->memory.isAllocation(pointer) || !call->freeing.insert(pointer).second)
    return CUDA_ERROR_INVALID_VALUE;
  return call.queue(stream, [=](Context &context) {
    context.memory.release(pointer);
    context.freeing.erase(pointer);
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
  if (call.failed() || call.isUnsafe())
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

CUresult cuMemAllocHost(void **pointer, size_t bytes) { return cuMemHostAlloc(pointer, bytes, 0); }

CUresult cuMemFreeHost(void *pointer) {
  Call call;
  if (call.failed() || call.isUnsafe())
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
  if (call.failed() || call.isUnsafe())
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
  if (call.failed() || call.isUnsafe())
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
  Stream *stream = call.stream(handle);
  return stream ? copyToDevice(call, stream, to, from, bytes, "cuMemcpyHtoDAsync") : call.result;
}

CUresult cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream handle) {
  Call call;
  Stream *stream = call.stream(handle);
  return stream ? copyToHost(call, stream, to, from, bytes, "cuMemcpyDtoHAsync") : call.result;
}

CUresult cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream handle) {
  Call call;
  Stream *stream = call.stream(handle);
  return stream ? copyOnDevice(call, stream, to, from, bytes, "cuMemcpyDtoDAsync") : call.result;
}

CUresult cuMemcpyHtoD(CUdeviceptr to, const void *from, size_t bytes) {
  Call call;
  if (call.failed() || call.isUnsafe())
    return call.result;
  Stream *stream = call->streams.defaultStream();
  CUresult result = copyToDevice(call, stream, to, from, bytes, "cuMemcpyHtoD");
  return result == CUDA_SUCCESS ? call.drain(stream) : result;
}

CUresult cuMemcpyDtoH(void *to, CUdeviceptr from, size_t bytes) {
  Call call;
  if (call.failed() || call.isUnsafe())
    return call.result;
  Stream *stream = call->streams.defaultStream();
  CUresult result = copyToHost(call, stream, to, from, bytes, "cuMemcpyDtoH");
  return result == CUDA_SUCCESS ? call.drain(stream) : result;
}

CUresult cuMemcpyDtoD(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  Call call;
  if (call.failed() || call.isUnsafe())
    return call.result;
  return copyOnDevice(call, call->streams.defaultStream(), to, from, bytes, "cuMemcpyDtoD");
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream handle) {
  Call call;
  Stream *stream = call.stream(handle);
  return stream ? setOnDevice(call, stream, to, value, 1, count, "cuMemsetD8Async") : call.result;
}

CUresult cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream handle) {
  Call call;
  Stream *stream = call.stream(handle);
  return stream ? setOnDevice(call, stream, to, value, 2, count, "cuMemsetD16Async") : call.result;
}

CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream handle) {
  Call call;
  Stream *stream = call.stream(handle);
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

} // extern "C"
