// SPDX-License-Identifier: Apache-2.0
// The driver's functions, found when a program first asks for a device: one binary serves machines with and without
// GPUs. Internal to runtime/device: nothing else includes cuda.h.

#ifndef MORPH_RUNTIME_DEVICE_CUDADRIVER_H
#define MORPH_RUNTIME_DEVICE_CUDADRIVER_H

#include "runtime/base/Status.h"

#include <cuda.h>

#include <string>

namespace morph {

/// The functions that are used here. cuda.h maps the names to versions of them (cuMemAlloc to cuMemAlloc_v2); members
/// and symbols have the mapped names, so that signatures and symbols always agree.
#define MORPH_CUDA_FUNCTIONS(F)                                                                                        \
  F(cuInit)                                                                                                            \
  F(cuDriverGetVersion)                                                                                                \
  F(cuDeviceGetCount)                                                                                                  \
  F(cuDeviceGet)                                                                                                       \
  F(cuDeviceGetName)                                                                                                   \
  F(cuDeviceTotalMem)                                                                                                  \
  F(cuDeviceGetAttribute)                                                                                              \
  F(cuDevicePrimaryCtxRetain)                                                                                          \
  F(cuDevicePrimaryCtxRelease)                                                                                         \
  F(cuCtxSetCurrent)                                                                                                   \
  F(cuMemGetInfo)                                                                                                      \
  F(cuMemAlloc)                                                                                                        \
  F(cuMemFree)                                                                                                         \
  F(cuMemHostAlloc)                                                                                                    \
  F(cuMemFreeHost)                                                                                                     \
  F(cuMemcpyHtoDAsync)                                                                                                 \
  F(cuMemcpyDtoHAsync)                                                                                                 \
  F(cuMemcpyDtoDAsync)                                                                                                 \
  F(cuMemsetD8Async)                                                                                                   \
  F(cuMemsetD32Async)                                                                                                  \
  F(cuModuleLoadDataEx)                                                                                                \
  F(cuModuleUnload)                                                                                                    \
  F(cuModuleGetFunction)                                                                                               \
  F(cuFuncGetAttribute)                                                                                                \
  F(cuFuncSetAttribute)                                                                                                \
  F(cuLaunchKernel)                                                                                                    \
  F(cuStreamCreate)                                                                                                    \
  F(cuStreamDestroy)                                                                                                   \
  F(cuStreamSynchronize)                                                                                               \
  F(cuStreamBeginCapture)                                                                                              \
  F(cuStreamEndCapture)                                                                                                \
  F(cuEventCreate)                                                                                                     \
  F(cuEventRecord)                                                                                                     \
  F(cuEventSynchronize)                                                                                                \
  F(cuEventElapsedTime)                                                                                                \
  F(cuEventDestroy)                                                                                                    \
  F(cuGraphInstantiate)                                                                                                \
  F(cuGraphLaunch)                                                                                                     \
  F(cuGraphDestroy)                                                                                                    \
  F(cuGraphExecDestroy)                                                                                                \
  F(cuGetErrorName)                                                                                                    \
  F(cuGetErrorString)

struct CudaDriver {
#define MORPH_CUDA_MEMBER(name) decltype(&::name) name = nullptr;
  MORPH_CUDA_FUNCTIONS(MORPH_CUDA_MEMBER)
#undef MORPH_CUDA_MEMBER
  /// Of a driver that checks accesses (test/cuda/StandIn.h); null in others.
  void (*confine)(const CUdeviceptr *bounds, size_t count) = nullptr;
  int version = 0; ///< Of CUDA, as the driver says: 13000 is 13.0.
  void *library = nullptr;

  /// The driver of this process, initialised: `libcuda.so.1`, or the file that MORPH_CUDA_DRIVER names. It is opened
  /// once and stays. An error is the reason alone: "libcuda.so.1: cannot open shared object file: ...".
  static StatusOr<const CudaDriver *> open();

  /// "CUDA_ERROR_INVALID_VALUE (invalid argument)", in the driver's words.
  std::string describe(CUresult result) const;
  /// `what`: the driver's error; no error for CUDA_SUCCESS.
  Status check(CUresult result, const std::string &what) const {
    return result == CUDA_SUCCESS ? Status() : Status::failed(what + ": " + describe(result));
  }
};

/// "13.0" of 13000.
std::string cudaVersionText(int version);

} // namespace morph

#endif // MORPH_RUNTIME_DEVICE_CUDADRIVER_H
