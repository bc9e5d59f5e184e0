// SPDX-License-Identifier: Apache-2.0
// The device that the stand-in plays, contexts, memory, modules and limits of launches.

#include "test/cuda/CudaTesting.h"

#include <cstring>
#include <thread>

namespace morph {
namespace {

using testing::HasSubstr;

class DriverTest : public CudaTest {
protected:
  int attribute(CUdevice_attribute which) {
    int value = -1;
    EXPECT_CUDA(cuda().cuDeviceGetAttribute(&value, which, 0));
    return value;
  }
};

TEST_F(DriverTest, Devices) {
  NEED_STAND_IN();
  struct Expected {
    const char *key, *name;
    int major, minor, processors, shared;
  };
  for (const Expected &one : {Expected{"a100", "NVIDIA A100-SXM4-80GB", 8, 0, 108, 166912},
                              Expected{"h100", "NVIDIA H100 80GB HBM3", 9, 0, 132, 232448},
                              Expected{"b200", "NVIDIA B200", 10, 0, 148, 232448}}) {
    open({{"DEVICE", one.key}});
    char name[64];
    ASSERT_CUDA(cuda().cuDeviceGetName(name, sizeof(name), 0));
    EXPECT_STREQ(name, one.name);
    EXPECT_EQ(attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR), one.major);
    EXPECT_EQ(attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR), one.minor);
    EXPECT_EQ(attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT), one.processors);
    EXPECT_EQ(attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN), one.shared);
  }
  // By default an H100.
  open();
  int count = 0, version = 0;
  CUdevice device = -1;
  EXPECT_CUDA(cuda().cuDeviceGetCount(&count));
  EXPECT_EQ(count, 1);
  EXPECT_CUDA(cuda().cuDeviceGet(&device, 0));
  EXPECT_CUDA_ERROR(cuda().cuDeviceGet(&device, 1), CUDA_ERROR_INVALID_DEVICE);
  EXPECT_CUDA(cuda().cuDriverGetVersion(&version));
  EXPECT_EQ(version, 13000);
  EXPECT_EQ(attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR), 9);
}

TEST_F(DriverTest, AttributesOfEveryDevice) {
  EXPECT_EQ(attribute(CU_DEVICE_ATTRIBUTE_WARP_SIZE), 32);
  EXPECT_EQ(attribute(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK), 1024);
  EXPECT_EQ(attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK), 49152);
  EXPECT_EQ(attribute(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y), 65535);
  EXPECT_EQ(attribute(CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING), 1);
  EXPECT_EQ(attribute(CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED), 1);
  if (attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) == 9) { // An H100 or H200.
    EXPECT_EQ(attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT), 132);
    EXPECT_EQ(attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN), 232448);
    EXPECT_EQ(attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR), 233472);
    EXPECT_EQ(attribute(CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK), 1024);
    EXPECT_EQ(attribute(CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR), 32);
    EXPECT_EQ(attribute(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR), 2048);
    EXPECT_EQ(attribute(CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT), 3);
  }
  int value = 0;
  EXPECT_CUDA_ERROR(cuda().cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_MAX, 0), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(DriverTest, NoDevice) {
  NEED_STAND_IN();
  close();
  setenv("MORPH_STAND_IN_DEVICE", "none", 1);
  EXPECT_CUDA_ERROR(cuda().cuInit(0), CUDA_ERROR_NO_DEVICE);
  int count = 0;
  EXPECT_CUDA_ERROR(cuda().cuDeviceGetCount(&count), CUDA_ERROR_NOT_INITIALIZED);
  EXPECT_CUDA_ERROR(cuda().cuDevicePrimaryCtxRetain(&context, 0), CUDA_ERROR_NOT_INITIALIZED);
}

TEST_F(DriverTest, MemoryIsLimited) {
  NEED_STAND_IN();
  open({{"MEMORY", "1000000"}});
  size_t free = 0, total = 0;
  ASSERT_CUDA(cuda().cuMemGetInfo(&free, &total));
  EXPECT_EQ(total, 1000000u);
  EXPECT_EQ(free, total);
  CUdeviceptr first = 0, second = 0;
  ASSERT_CUDA(cuda().cuMemAlloc(&first, 600000));
  EXPECT_CUDA_ERROR(cuda().cuMemAlloc(&second, 600000), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_CUDA_ERROR(cuda().cuMemAllocAsync(&second, 600000, nullptr), CUDA_ERROR_OUT_OF_MEMORY);
  ASSERT_CUDA(cuda().cuMemGetInfo(&free, &total));
  EXPECT_EQ(free, 1000000u - 600064); // In pieces of 512.
  ASSERT_CUDA(cuda().cuMemFree(first));
  ASSERT_CUDA(cuda().cuMemAlloc(&second, 900000));
  EXPECT_NE(first, second); // Addresses return late.
  EXPECT_CUDA(cuda().cuMemFree(second));
  // As often as one likes.
  for (int i = 0; i < 5000; ++i) {
    ASSERT_CUDA(cuda().cuMemAlloc(&first, 900000));
    ASSERT_CUDA(cuda().cuMemFree(first));
  }
  EXPECT_CUDA_ERROR(cuda().cuMemAlloc(&first, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_CUDA_ERROR(cuda().cuMemFree(12345), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(DriverTest, NewMemoryIsNoZeros) {
  NEED_STAND_IN();
  Buffer<uint32_t> buffer(16);
  EXPECT_EQ(buffer.read()[3], 0xffffffffu);
}

TEST_F(DriverTest, ContextsOfThreads) {
  CUcontext other = context, again = nullptr;
  std::thread([&] {
    CUdeviceptr pointer = 0;
    EXPECT_CUDA(cuda().cuCtxGetCurrent(&other));
    EXPECT_CUDA_ERROR(cuda().cuMemAlloc(&pointer, 16), CUDA_ERROR_INVALID_CONTEXT);
    EXPECT_CUDA(cuda().cuCtxSetCurrent(context));
    EXPECT_CUDA(cuda().cuMemAlloc(&pointer, 16));
    EXPECT_CUDA(cuda().cuMemFree(pointer));
  }).join();
  EXPECT_EQ(other, nullptr);
  EXPECT_CUDA(cuda().cuDevicePrimaryCtxRetain(&again, 0));
  EXPECT_EQ(again, context);
  EXPECT_CUDA(cuda().cuDevicePrimaryCtxRelease(0));
}

TEST_F(DriverTest, NewerTargetsAreRefused) {
  NEED_STAND_IN();
  open({{"DEVICE", "a100"}});
  CUmodule module = nullptr;
  std::string text = kernelText("u64 a", "", "", 90);
  EXPECT_CUDA_ERROR(cuda().cuModuleLoadData(&module, text.c_str()), CUDA_ERROR_INVALID_PTX);
  open({{"DEVICE", "h100"}});
  EXPECT_CUDA(cuda().cuModuleLoadData(&module, text.c_str()));
  text.replace(text.find("sm_90"), 5, "sm_90a");
  EXPECT_CUDA(cuda().cuModuleLoadData(&module, text.c_str()));
  open({{"DEVICE", "b200"}});
  EXPECT_CUDA_ERROR(cuda().cuModuleLoadData(&module, text.c_str()), CUDA_ERROR_INVALID_PTX);
}

TEST_F(DriverTest, RefusedModules) {
  CUmodule module = nullptr;
  std::string text = kernelText("u64 a", "");
  std::string newer = text;
  newer.replace(newer.find("7.8"), 3, "9.9");
  EXPECT_CUDA_ERROR(cuda().cuModuleLoadData(&module, newer.c_str()), CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
  text.replace(text.find("sm_80"), 5, "sm_120");
  EXPECT_CUDA_ERROR(cuda().cuModuleLoadData(&module, text.c_str()), CUDA_ERROR_INVALID_PTX);
  // They leave nothing in memory.
  if (!isStandIn())
    return;
  size_t before = 0, after = 0, total = 0;
  ASSERT_CUDA(cuda().cuMemGetInfo(&before, &total));
  for (const char *second : {".extern .global .u32 w;\n", ".global .u64 w = nothing;\n"}) {
    text = kernelText("u64 a", "", std::string(".global .align 4 .b8 v[4096];\n") + second);
    EXPECT_CUDA_ERROR(cuda().cuModuleLoadData(&module, text.c_str()), CUDA_ERROR_INVALID_PTX);
  }
  ASSERT_CUDA(cuda().cuMemGetInfo(&after, &total));
  EXPECT_EQ(after, before);
}

TEST_F(DriverTest, LogOfTheCompiler) {
  CUmodule module = nullptr;
  std::string text = kernelText("u64 a", "  add.s33 %r1, %r2, %r3;\n");
  char errors[512] = "", info[512] = "";
  CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, CU_JIT_INFO_LOG_BUFFER,
                            CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES};
  void *values[] = {errors, reinterpret_cast<void *>(sizeof(errors)), info, reinterpret_cast<void *>(sizeof(info))};
  EXPECT_CUDA_ERROR(cuda().cuModuleLoadDataEx(&module, text.c_str(), 4, options, values), CUDA_ERROR_INVALID_PTX);
  EXPECT_THAT(errors, HasSubstr("line 14"));
  EXPECT_GT(reinterpret_cast<size_t>(values[1]), 10u);
  text = kernelText("u64 a", "");
  values[1] = values[3] = reinterpret_cast<void *>(sizeof(errors));
  EXPECT_CUDA(cuda().cuModuleLoadDataEx(&module, text.c_str(), 4, options, values));
  EXPECT_CUDA(cuda().cuModuleUnload(module));
}

TEST_F(DriverTest, FunctionsAndVariables) {
  CUmodule module = load(
      kernelText("u64 a",
                 "  mov.u32 %r2, s;\n  st.shared.u32 [%r2], 0;\n  mov.u64 %rd1, v;\n  ld.global.u64 %rd2, [%rd1+8];\n"
                 "  ld.global.u32 %r1, [%rd2];\n  st.global.u32 [%rd0], %r1;\n",
                 ".shared .align 4 .b8 s[100];\n.visible .global .align 8 .u32 w = 77;\n.visible .global .align 8 .u64 "
                 "v[3] = {1, w, 3};\n",
                 80, " .maxntid 256, 1, 1"));
  CUfunction function = nullptr;
  EXPECT_CUDA_ERROR(cuda().cuModuleGetFunction(&function, module, "none"), CUDA_ERROR_NOT_FOUND);
  function = find(module, "k");
  int value = 0;
  EXPECT_CUDA(cuda().cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, function));
  EXPECT_EQ(value, 100);
  EXPECT_CUDA(cuda().cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, function));
  EXPECT_EQ(value, 256);
  EXPECT_CUDA(cuda().cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_PTX_VERSION, function));
  EXPECT_EQ(value, 80);
  EXPECT_CUDA(cuda().cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, function));
  EXPECT_EQ(value, 0);
  CUdeviceptr pointer = 0;
  size_t bytes = 0;
  ASSERT_CUDA(cuda().cuModuleGetGlobal(&pointer, &bytes, module, "v"));
  EXPECT_EQ(bytes, 24u);
  uint64_t third = 0;
  EXPECT_CUDA(cuda().cuMemcpyDtoH(&third, pointer + 16, 8));
  EXPECT_EQ(third, 3u);
  EXPECT_CUDA_ERROR(cuda().cuModuleGetGlobal(&pointer, &bytes, module, "none"), CUDA_ERROR_NOT_FOUND);
  Buffer<uint32_t> buffer(1);
  EXPECT_CUDA(run(function, 1, 1, buffer.pointer));
  EXPECT_EQ(buffer.read()[0], 77u);
  EXPECT_CUDA(cuda().cuModuleUnload(module));
  if (isStandIn()) {
    EXPECT_CUDA_ERROR(run(function, 1, 1, buffer.pointer), CUDA_ERROR_INVALID_HANDLE);
  }
}

TEST_F(DriverTest, DynamicSharedMemoryIsAskedFor) {
  CUfunction function = kernel(kernelText("u64 a, u32 n",
                                          "  mov.u32 %r1, d;\n  mov.u32 %r2, s;\n  st.shared.u32 [%r2], 0;\n  add.s32 "
                                          "%r1, %r1, %r0;\n  st.shared.u32 [%r1+-4], 55;\n"
                                          "  ld.shared.u32 %r3, [%r1+-4];\n  st.global.u32 [%rd0], %r3;\n",
                                          ".shared .align 4 .b8 s[1024];\n.extern .shared .align 16 .b8 d[];\n"),
                               "k");
  Buffer<uint32_t> buffer(1);
  dynamicShared = 48 * 1024 - 1024;
  EXPECT_CUDA(run(function, 1, 1, buffer.pointer, dynamicShared));
  dynamicShared += 4;
  EXPECT_CUDA_ERROR(run(function, 1, 1, buffer.pointer, dynamicShared), CUDA_ERROR_INVALID_VALUE);
  int most = attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN) - 1024;
  EXPECT_CUDA_ERROR(cuda().cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, most + 4),
                    CUDA_ERROR_INVALID_VALUE);
  EXPECT_CUDA(cuda().cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, most));
  dynamicShared = unsigned(most);
  EXPECT_CUDA(run(function, 1, 1, buffer.pointer, dynamicShared));
  EXPECT_EQ(buffer.read()[0], 55u);
  int value = 0;
  EXPECT_CUDA(cuda().cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, function));
  EXPECT_EQ(value, most);
}

TEST_F(DriverTest, LimitsOfLaunches) {
  CUfunction function = kernel(kernelText("u64 a", ""), "k");
  EXPECT_CUDA(run(function, 1, 1024, CUdeviceptr(0)));
  EXPECT_CUDA_ERROR(run(function, 1, 1025, CUdeviceptr(0)), CUDA_ERROR_INVALID_VALUE);
  EXPECT_CUDA_ERROR(run(function, 0, 32, CUdeviceptr(0)), CUDA_ERROR_INVALID_VALUE);
  EXPECT_CUDA_ERROR(run(function, 1, 0, CUdeviceptr(0)), CUDA_ERROR_INVALID_VALUE);
  CUdeviceptr null = 0;
  void *parameters[] = {&null};
  EXPECT_CUDA_ERROR(cuda().cuLaunchKernel(function, 1, 65536, 1, 1, 1, 1, 0, nullptr, parameters, nullptr),
                    CUDA_ERROR_INVALID_VALUE);
  EXPECT_CUDA_ERROR(cuda().cuLaunchKernel(function, 1, 1, 1, 1, 1, 65, 0, nullptr, parameters, nullptr),
                    CUDA_ERROR_INVALID_VALUE);
  size_t size = sizeof(null);
  void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &null, CU_LAUNCH_PARAM_BUFFER_SIZE, &size, CU_LAUNCH_PARAM_END};
  EXPECT_CUDA(cuda().cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, extra));
  EXPECT_CUDA(cuda().cuCtxSynchronize());
  CUfunction required = kernel(kernelText("u64 a", "", "", 80, " .reqntid 64, 1, 1"), "k");
  EXPECT_CUDA(run(required, 1, 64, CUdeviceptr(0)));
  EXPECT_CUDA_ERROR(run(required, 1, 32, CUdeviceptr(0)), CUDA_ERROR_INVALID_VALUE);
  CUfunction limited = kernel(kernelText("u64 a", "", "", 80, " .maxntid 64, 1, 1"), "k");
  EXPECT_CUDA(run(limited, 1, 64, CUdeviceptr(0)));
  EXPECT_CUDA_ERROR(run(limited, 1, 96, CUdeviceptr(0)), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(DriverTest, EntryPoints) {
  void *function = nullptr;
  CUdriverProcAddressQueryResult status;
  ASSERT_CUDA(cuda().cuGetProcAddress("cuMemAlloc", &function, 13000, 0, &status));
  EXPECT_EQ(status, CU_GET_PROC_ADDRESS_SUCCESS);
  CUdeviceptr pointer = 0;
  EXPECT_CUDA(reinterpret_cast<decltype(&cuMemAlloc)>(function)(&pointer, 16));
  EXPECT_CUDA(cuda().cuMemFree(pointer));
  cuda().cuGetProcAddress("cuNothing", &function, 13000, 0, &status);
  EXPECT_EQ(function, nullptr);
  EXPECT_EQ(status, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
  const char *text = nullptr;
  EXPECT_CUDA(cuda().cuGetErrorString(CUDA_ERROR_OUT_OF_MEMORY, &text));
  EXPECT_STREQ(text, "out of memory");
}

// --- Counts ----------------------------------------------------------------------------------------------------------

TEST_F(DriverTest, CountsOfAKernel) {
  NEED_STAND_IN();
  // Loads of 4 bytes side by side, stores 8 bytes apart; shared memory with conflicts of two and without.
  CUfunction function = kernel(kernelText("u64 a",
                                          "  mov.u32 %r0, %tid.x;\n  mul.wide.u32 %rd1, %r0, 4;\n  add.s64 %rd1, %rd0, "
                                          "%rd1;\n  ld.global.f32 %f1, [%rd1];\n"
                                          "  fma.rn.f32 %f1, %f1, %f1, %f1;\n  add.f32 %f1, %f1, %f1;\n  mov.u32 %r3, "
                                          "%ctaid.x;\n  mad.lo.u32 %r3, %r3, 64, %r0;\n  mul.wide.u32 %rd2, %r3, 8;\n"
                                          "  add.s64 %rd2, %rd0, %rd2;\n"
                                          "  mov.u32 %r2, s;\n  shl.b32 %r1, %r0, 3;\n  add.s32 %r1, %r1, %r2;\n  "
                                          "st.shared.f32 [%r1], %f1;\n  ld.shared.f32 %f2, [%r1];\n"
                                          "  st.global.f32 [%rd2+256], %f2;\n",
                                          ".shared .align 16 .b8 s[1024];\n"),
                               "k");
  Buffer<float> buffer(std::vector<float>(64 + 3 * 128, 1.f));
  ASSERT_CUDA(run(function, 3, 64, buffer.pointer));
  MorphStandInCounters counts = counters("k");
  EXPECT_EQ(counts.launches, 1u);
  EXPECT_EQ(counts.blocks, 3u);
  EXPECT_EQ(counts.threads, 192u);
  EXPECT_EQ(counts.bytesLoaded, 192u * 4);
  EXPECT_EQ(counts.bytesStored, 192u * 4);
  EXPECT_EQ(counts.firstLoaded, 64u * 4); // All blocks load the same.
  EXPECT_EQ(counts.firstStored, 192u * 4);
  EXPECT_EQ(counts.requests, 12u);
  EXPECT_EQ(counts.sectors, 6u * 4 + 6 * 8);
  EXPECT_EQ(counts.idealSectors, 12u * 4);
  EXPECT_EQ(counts.sharedRequests, 12u);
  EXPECT_EQ(counts.wavefronts, 24u);
  EXPECT_EQ(counts.idealWavefronts, 12u);
  EXPECT_EQ(counts.flops, 192u * 3);
  EXPECT_EQ(counts.mma, 0u);
  EXPECT_EQ(counts.instructions[1], 192u * 2); // float
  EXPECT_EQ(counts.instructions[6], 192u * 2); // global
  EXPECT_EQ(counts.instructions[7], 192u * 2); // shared
  std::string json(1 << 16, '\0');
  json.resize(cuda().morphStandInCountersJson("k", json.data(), json.size()));
  EXPECT_THAT(
      json,
      HasSubstr(
          "{\"line\": 30, \"class\": \"global\", \"instruction\": \"st.global.f32 [%rd2+256], %f2\", \"threads\": 192, "
          "\"bytes_stored\": 768, \"requests\": 6, "
          "\"sectors\": 48, \"ideal_sectors\": 24}"));
  ASSERT_CUDA(run(function, 1, 64, buffer.pointer));
  EXPECT_EQ(counters("k").launches, 2u);
  cuda().morphStandInResetCounters();
  EXPECT_CUDA_ERROR(cuda().morphStandInCounters("k", &counts), CUDA_ERROR_NOT_FOUND);
}

// Of the memory: what the second cache does not have. A block of one warp, of which an H100 has 32 a multiprocessor,
// has 50 MB / (132 * 32) of it, 96 lines of 128 bytes.
TEST_F(DriverTest, CountsWhatTheSecondCacheHasNot) {
  NEED_STAND_IN();
  // Loads and stores n numbers a thread from `a` to `b`, twice over.
  CUfunction function = kernel(kernelText("u64 a, u64 b, u32 n",
                                          "  mov.u32 %r1, 2;\n$L_again:\n  mov.u32 %r2, 0;\n$L_next:\n"
                                          "  mov.u32 %r3, %tid.x;\n  mad.lo.u32 %r3, %r2, 32, %r3;\n"
                                          "  mul.wide.u32 %rd2, %r3, 4;\n  add.s64 %rd3, %rd0, %rd2;\n"
                                          "  ld.global.f32 %f1, [%rd3];\n  mov.u32 %r4, %ctaid.x;\n"
                                          "  mad.lo.u32 %r3, %r4, 2048, %r3;\n  mul.wide.u32 %rd2, %r3, 4;\n"
                                          "  add.s64 %rd3, %rd1, %rd2;\n  st.global.f32 [%rd3], %f1;\n"
                                          "  add.s32 %r2, %r2, 1;\n  setp.lt.u32 %p1, %r2, %r0;\n"
                                          "  @%p1 bra $L_next;\n  sub.s32 %r1, %r1, 1;\n  setp.gt.s32 %p1, %r1, 0;\n"
                                          "  @%p1 bra $L_again;\n"),
                               "k");
  Buffer<float> from(std::vector<float>(2048, 1.f)), to(4 * 2048);
  struct Case {
    unsigned blocks, numbers;
    uint64_t loaded, stored;
  };
  for (Case each : {Case{1, 1, 128, 128}, Case{1, 48, 48 * 128, 48 * 128},
                    // One line too much: the oldest line has always gone when it is asked for.
                    Case{1, 49, 2 * 49 * 128, 2 * 49 * 128},
                    // Four blocks have four shares, and go through what they load together.
                    Case{4, 64, 64 * 128, 4 * 64 * 128}}) {
    cuda().morphStandInResetCounters();
    ASSERT_CUDA(run(function, each.blocks, 32, from.pointer, to.pointer, each.numbers));
    EXPECT_EQ(counters("k").memoryLoaded, each.loaded) << each.numbers;
    EXPECT_EQ(counters("k").memoryStored, each.stored) << each.numbers;
  }
  std::string json(1 << 14, '\0');
  json.resize(cuda().morphStandInCountersJson("k", json.data(), json.size()));
  EXPECT_THAT(json, HasSubstr("\"memory_loaded\": 8192, \"memory_stored\": 32768"));
}

// Counts do not depend on how threads run: as plain calls, as fibers, on one host thread or on two.
TEST_F(DriverTest, CountsAreTheSameInEveryOrder) {
  NEED_STAND_IN();
  std::vector<uint64_t> sectors;
  for (const char *barrier : {"", "  bar.sync 0;\n"})
    for (int seed = 0; seed < 3; ++seed) {
      open({{"SEED", std::to_string(seed)}, {"THREADS", seed == 1 ? "1" : "2"}});
      // Lanes go round a loop a different number of times.
      CUfunction function =
          kernel(kernelText("u64 a", std::string(barrier) +
                                         "  mov.u32 %r0, %tid.x;\n  and.b32 %r1, %r0, 3;\n$L_again:\n  mul.wide.u32 "
                                         "%rd1, %r0, 4;\n  add.s64 %rd1, %rd0, %rd1;\n"
                                         "  ld.global.f32 %f1, [%rd1];\n  add.s32 %r0, %r0, 64;\n  sub.s32 %r1, %r1, "
                                         "1;\n  setp.ge.s32 %p1, %r1, 0;\n  @%p1 bra $L_again;\n"),
                 "k");
      Buffer<float> buffer(1024);
      ASSERT_CUDA(run(function, 8, 64, buffer.pointer));
      sectors.push_back(counters("k").sectors);
      EXPECT_EQ(counters("k").requests, 8u * 2 * 4);
    }
  EXPECT_EQ(sectors, std::vector<uint64_t>(6, 8 * 2 * 4 * 4));
}

} // namespace
} // namespace morph
