// SPDX-License-Identifier: Apache-2.0
// The driver as the runtime opens it, by dlopen, and what tests do with it: modules of PTX, buffers, launches. With
// MORPH_CUDA_DRIVER=/path/to/libcuda.so.1 the tests that do not ask for the stand-in run on NVIDIA's own driver.

#ifndef MORPH_TEST_CUDA_CUDATESTING_H
#define MORPH_TEST_CUDA_CUDATESTING_H

#include "test/cuda/StandIn.h"

#include <cuda.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#define MORPH_CUDA_FUNCTIONS(X)                                                                                        \
  X(cuInit)                                                                                                            \
  X(cuDriverGetVersion)                                                                                                \
  X(cuDeviceGetCount)                                                                                                  \
  X(cuDeviceGet)                                                                                                       \
  X(cuDeviceGetName)                                                                                                   \
  X(cuDeviceTotalMem)                                                                                                  \
  X(cuDeviceGetAttribute)                                                                                              \
  X(cuDevicePrimaryCtxRetain)                                                                                          \
  X(cuDevicePrimaryCtxRelease)                                                                                         \
  X(cuCtxSetCurrent)                                                                                                   \
  X(cuCtxGetCurrent)                                                                                                   \
  X(cuCtxSynchronize)                                                                                                  \
  X(cuMemGetInfo)                                                                                                      \
  X(cuMemAlloc)                                                                                                        \
  X(cuMemFree)                                                                                                         \
  X(cuMemAllocAsync)                                                                                                   \
  X(cuMemFreeAsync)                                                                                                    \
  X(cuMemHostAlloc)                                                                                                    \
  X(cuMemFreeHost)                                                                                                     \
  X(cuMemHostRegister)                                                                                                 \
  X(cuMemHostUnregister)                                                                                               \
  X(cuMemcpyHtoD)                                                                                                      \
  X(cuMemcpyDtoH)                                                                                                      \
  X(cuMemcpyDtoD)                                                                                                      \
  X(cuMemcpyHtoDAsync)                                                                                                 \
  X(cuMemcpyDtoHAsync)                                                                                                 \
  X(cuMemcpyDtoDAsync)                                                                                                 \
  X(cuMemsetD8Async)                                                                                                   \
  X(cuMemsetD32Async)                                                                                                  \
  X(cuModuleLoadData)                                                                                                  \
  X(cuModuleLoadDataEx)                                                                                                \
  X(cuModuleUnload)                                                                                                    \
  X(cuModuleGetFunction)                                                                                               \
  X(cuModuleGetGlobal)                                                                                                 \
  X(cuFuncGetAttribute)                                                                                                \
  X(cuFuncSetAttribute)                                                                                                \
  X(cuLaunchKernel)                                                                                                    \
  X(cuLaunchHostFunc)                                                                                                  \
  X(cuStreamCreate)                                                                                                    \
  X(cuStreamDestroy)                                                                                                   \
  X(cuStreamSynchronize)                                                                                               \
  X(cuStreamQuery)                                                                                                     \
  X(cuStreamWaitEvent)                                                                                                 \
  X(cuStreamBeginCapture)                                                                                              \
  X(cuStreamEndCapture)                                                                                                \
  X(cuStreamIsCapturing)                                                                                               \
  X(cuEventCreate)                                                                                                     \
  X(cuEventDestroy)                                                                                                    \
  X(cuEventRecord)                                                                                                     \
  X(cuEventQuery)                                                                                                      \
  X(cuEventSynchronize)                                                                                                \
  X(cuEventElapsedTime)                                                                                                \
  X(cuGraphInstantiate)                                                                                                \
  X(cuGraphLaunch)                                                                                                     \
  X(cuGraphDestroy)                                                                                                    \
  X(cuGraphExecDestroy)                                                                                                \
  X(cuGetErrorName)                                                                                                    \
  X(cuGetErrorString)                                                                                                  \
  X(cuGetProcAddress)

#define MORPH_STAND_IN_FUNCTIONS(X)                                                                                    \
  X(morphStandInConfine)                                                                                               \
  X(morphStandInGraphLaunches)                                                                                         \
  X(morphStandInEnqueue)                                                                                               \
  X(morphStandInHostPointer)                                                                                           \
  X(morphStandInFail)                                                                                                  \
  X(morphStandInErrors)                                                                                                \
  X(morphStandInTakeErrors)                                                                                            \
  X(morphStandInCounters)                                                                                              \
  X(morphStandInCountersJson)                                                                                          \
  X(morphStandInResetCounters)

#define EXPECT_CUDA(call) EXPECT_EQ(morph::errorName(call), "CUDA_SUCCESS")
#define ASSERT_CUDA(call) ASSERT_EQ(morph::errorName(call), "CUDA_SUCCESS")
#define EXPECT_CUDA_ERROR(call, error) EXPECT_EQ(morph::errorName(call), #error)
/// Ends the test, as skipped, where the driver is not the stand-in.
#define NEED_STAND_IN()                                                                                                \
  if (!morph::isStandIn())                                                                                             \
  GTEST_SKIP() << "the driver is not the stand-in"

namespace morph {

/// The functions of the driver, under the names that cuda.h gives them.
struct CudaFunctions {
#define MEMBER(name) decltype(&::name) name = nullptr;
  MORPH_CUDA_FUNCTIONS(MEMBER)
  MORPH_STAND_IN_FUNCTIONS(MEMBER)
#undef MEMBER
};

/// Opens the driver, once in a process.
const CudaFunctions &cuda();
/// Whether it is the stand-in.
bool isStandIn();
std::string errorName(CUresult result);

/// What NVIDIA's assembler says against a text, for the architecture that it names; nothing where there is no
/// assembler.
std::string assemble(const std::string &ptx);

/// The folder of PTX files: of the source, or `test/cuda/ptx` here where the tests were built elsewhere.
std::string ptxFolder();
/// The text of a file of ptx/.
std::string readPtx(const std::string &name);

/// Vectors in device memory. A failed call is a failed test.
template <typename T> class Buffer {
public:
  explicit Buffer(size_t count) : count(count) { EXPECT_CUDA(cuda().cuMemAlloc(&pointer, bytes())); }
  explicit Buffer(const std::vector<T> &values) : Buffer(values.size()) {
    EXPECT_CUDA(cuda().cuMemcpyHtoD(pointer, values.data(), bytes()));
  }
  ~Buffer() { cuda().cuMemFree(pointer); }
  Buffer(const Buffer &) = delete;
  std::vector<T> read() const {
    std::vector<T> values(count);
    EXPECT_CUDA(cuda().cuMemcpyDtoH(values.data(), pointer, bytes()));
    return values;
  }
  size_t bytes() const { return count * sizeof(T); }

  CUdeviceptr pointer = 0;
  size_t count;
};

/// A context for each test, with the settings of the environment at its `open`.
class CudaTest : public testing::Test {
protected:
  void SetUp() override;
  void TearDown() override;

  /// Begins again with other settings: {{"DEVICE", "a100"}} for MORPH_STAND_IN_DEVICE.
  void open(const std::map<std::string, std::string> &settings = {});
  void close();

  /// Loads a text, which NVIDIA's assembler takes too.
  CUmodule load(const std::string &ptx);
  CUfunction find(CUmodule module, const std::string &name);
  /// The only kernel `name` of a text.
  CUfunction kernel(const std::string &ptx, const std::string &name) { return find(load(ptx), name); }
  /// Launches on the default stream, or on `stream`.
  template <typename... Arguments>
  CUresult launch(CUfunction function, unsigned grid, unsigned block, Arguments... arguments) {
    void *pointers[] = {static_cast<void *>(&arguments)..., nullptr};
    return cuda().cuLaunchKernel(function, grid, 1, 1, block, 1, 1, dynamicShared, stream, pointers, nullptr);
  }
  /// Launches and waits: what went wrong.
  template <typename... Arguments>
  CUresult run(CUfunction function, unsigned grid, unsigned block, Arguments... arguments) {
    CUresult result = launch(function, grid, block, arguments...);
    return result == CUDA_SUCCESS ? cuda().cuCtxSynchronize() : result;
  }
  /// The errors that the stand-in has found, one a line, and forgets them.
  std::string takeErrors();
  MorphStandInCounters counters(const std::string &kernel);

  CUcontext context = nullptr;
  CUstream stream = nullptr;
  unsigned dynamicShared = 0;
};

/// bf16 by its bits.
uint16_t toBf16(float value);
float fromBf16(uint16_t bits);

/// How far a sum of products by tensor cores may lie from the exact one: they truncate, after each step of `step`
/// products, to 24 bits of the largest magnitude. `magnitude`: the sum of all absolute products and the absolute
/// initial value; `count`: products in the sum.
double mmaBound(double magnitude, int count, int step = 8);

/// A kernel `k` of a few lines: version, target and registers around `body`. `parameters`: "u64 a, u32 n", which lie in
/// %rd0, %r0, ... of their kind in this order, pointers to global memory.
std::string kernelText(const std::string &parameters, const std::string &body, const std::string &before = "",
                       int target = 80, const std::string &directives = "");

} // namespace morph

#endif // MORPH_TEST_CUDA_CUDATESTING_H
