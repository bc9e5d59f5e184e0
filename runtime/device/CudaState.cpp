// SPDX-License-Identifier: Apache-2.0
#include "runtime/device/CudaState.h"

#include "runtime/device/CudaProducts.h"

#include <algorithm>

namespace morph {
namespace {

/// Errors of work on the device, after which its context is of no more use. Whatever call comes next reports them.
bool isOfTheDevice(CUresult result) {
  switch (result) {
  case CUDA_ERROR_ECC_UNCORRECTABLE:
  case CUDA_ERROR_ILLEGAL_ADDRESS:
  case CUDA_ERROR_LAUNCH_TIMEOUT:
  case CUDA_ERROR_ASSERT:
  case CUDA_ERROR_HARDWARE_STACK_ERROR:
  case CUDA_ERROR_ILLEGAL_INSTRUCTION:
  case CUDA_ERROR_MISALIGNED_ADDRESS:
  case CUDA_ERROR_INVALID_ADDRESS_SPACE:
  case CUDA_ERROR_INVALID_PC:
  case CUDA_ERROR_LAUNCH_FAILED:
    return true;
  default:
    return false;
  }
}

} // namespace

Status PinnedPair::make(const CudaState &state) {
  const CudaDriver &driver = *state.driver;
  for (Buffer &buffer : buffers_) {
    if (!buffer.memory) {
      void *memory = nullptr;
      MORPH_RETURN_IF_ERROR(driver.check(driver.cuMemHostAlloc(&memory, kBytes, 0),
                                         std::to_string(kBytes) + " bytes of pinned memory for copies"));
      buffer.memory = static_cast<char *>(memory);
    }
    if (!buffer.event)
      MORPH_RETURN_IF_ERROR(
          driver.check(driver.cuEventCreate(&buffer.event, CU_EVENT_DISABLE_TIMING), "an event for copies"));
  }
  return Status();
}

void PinnedPair::destroy(const CudaState &state) {
  for (Buffer &buffer : buffers_) {
    if (buffer.event)
      state.driver->cuEventDestroy(buffer.event);
    if (buffer.memory)
      state.driver->cuMemFreeHost(buffer.memory);
    buffer = Buffer();
  }
}

CudaState::CudaState() = default;

CudaState::~CudaState() {
  if (!context)
    return;
  // Errors do not matter any more: a broken context takes everything with it.
  driver->cuCtxSetCurrent(context);
  if (stream)
    driver->cuStreamSynchronize(stream);
  products.reset();
  in.destroy(*this);
  out.destroy(*this);
  for (const auto &[memory, bytes] : allocations)
    driver->cuMemFree(reinterpret_cast<CUdeviceptr>(memory));
  if (stream)
    driver->cuStreamDestroy(stream);
  driver->cuDevicePrimaryCtxRelease(device);
}

Status CudaState::enter() {
  if (!broken_.ok())
    return broken_;
  return check(driver->cuCtxSetCurrent(context), "the context of " + properties.name);
}

Status CudaState::enterOutsideCapture(const std::string &what) {
  if (capturing)
    return Status::failed(what + " cannot be part of a graph");
  return enter();
}

std::string CudaState::amongLaunches() const {
  const size_t count = std::min(started_, kNames);
  std::string text = "in one of the " + std::to_string(started_) + " launches since the device was last waited for" +
                     (count < started_ ? ", of which the last are: " : ": ");
  for (size_t i = started_ - count; i < started_; ++i)
    text += (i > started_ - count ? ", " : "") + names_[i % kNames];
  return text;
}

StatusOr<CUdeviceptr> CudaState::allocate(int64_t bytes, const std::string &what) {
  CUdeviceptr memory = 0;
  const CUresult result = driver->cuMemAlloc(&memory, static_cast<size_t>(bytes));
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    size_t free = 0, total = 0;
    const bool known = driver->cuMemGetInfo(&free, &total) == CUDA_SUCCESS;
    return Status::failed("out of memory on " + properties.name + ": " + what + " takes " + std::to_string(bytes) +
                          " bytes beside " + std::to_string(held) + " that are held" +
                          (known ? ", " + std::to_string(free) + " of " + std::to_string(total) + " are free" : ""));
  }
  MORPH_RETURN_IF_ERROR(check(result, "memory for " + what));
  return memory;
}

Status CudaState::check(CUresult result, const std::string &what) {
  Status status = driver->check(result, what);
  if (status.ok() || !isOfTheDevice(result))
    return status;
  if (!waits && started_ > 0)
    status =
        Status::failed(status.message() + ", " + amongLaunches(),
                       "the same again with MORPH_CUDA_SYNC=1 starts no graphs, waits for every launch, and names the "
                       "one that failed; morph run goes on from its last checkpoint");
  broken_ = status;
  return status;
}

Status CudaState::started(const std::string &what, const std::string &kernel) {
  if (capturing)
    return Status();
  std::string &name = names_[started_++ % kNames]; // Its memory is used again.
  name = what;
  if (!kernel.empty())
    name.append(": kernel '").append(kernel).append("'");
  return waits ? wait(std::string(name)) : Status();
}

Status CudaState::wait(const std::string &what) {
  MORPH_RETURN_IF_ERROR(check(driver->cuStreamSynchronize(stream), what));
  started_ = 0;
  return Status();
}

} // namespace morph
