// SPDX-License-Identifier: Apache-2.0
// What the tests of CUDA devices share. They run on whatever driver there is: in ctest on the stand-ins, on a machine
// with a GPU on that. What only a stand-in can tell is asked where it is one.

#ifndef MORPH_TEST_CUDA_DEVICE_TESTDEVICE_H
#define MORPH_TEST_CUDA_DEVICE_TESTDEVICE_H

#include "runtime/device/CudaDevice.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <filesystem>
#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

namespace morph {

/// A function of the stand-in driver beyond CUDA's (test/cuda/StandIn.h); null where the driver is none.
template <typename Function> Function *standIn(const char *name) {
  void *library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  return library ? reinterpret_cast<Function *>(::dlsym(library, name)) : nullptr;
}

/// A message of a status, for comparisons.
inline std::string messageOf(const Status &status) { return status.ok() ? "no error" : status.message(); }
template <typename T> std::string messageOf(const StatusOr<T> &value) { return messageOf(value.status()); }

#define ASSERT_OK(expression) ASSERT_EQ(::morph::messageOf(expression), "no error")
#define EXPECT_OK(expression) EXPECT_EQ(::morph::messageOf(expression), "no error")

/// A device for each test, and a folder of its own for what is kept.
class CudaTest : public testing::Test {
protected:
  void SetUp() override {
    std::filesystem::create_directories(cache);
    ::setenv("MORPH_CACHE", cache.c_str(), 1);
    reopen();
  }
  void TearDown() override {
    device.reset();
    std::filesystem::remove_all(cache);
    if (auto *errors = standIn<uint64_t()>("morphStandInErrors")) {
      EXPECT_EQ(errors(), 0u);
    }
  }
  void reopen() {
    device.reset();
    StatusOr<std::shared_ptr<CudaDevice>> opened = CudaDevice::open(0);
    ASSERT_OK(opened);
    device = *std::move(opened);
  }
  /// Memory that ends with the device.
  template <typename T> T *memory(size_t count, const std::string &what = "test") {
    StatusOr<void *> allocated = device->allocate(static_cast<int64_t>(count * sizeof(T)), what);
    EXPECT_OK(allocated);
    return allocated.ok() ? static_cast<T *>(*allocated) : nullptr;
  }
  template <typename T> T *memoryOf(const std::vector<T> &values) {
    T *to = memory<T>(values.size());
    EXPECT_OK(device->copyIn(to, values.data(), static_cast<int64_t>(values.size() * sizeof(T))));
    return to;
  }
  template <typename T> std::vector<T> valuesOf(const T *from, size_t count) {
    std::vector<T> values(count);
    EXPECT_OK(device->copyOut(values.data(), from, static_cast<int64_t>(count * sizeof(T))));
    return values;
  }

  const std::filesystem::path cache =
      std::filesystem::temp_directory_path() / ("morph-cuda-" + std::to_string(::getpid()));
  std::shared_ptr<CudaDevice> device;
};

/// Kernels of the tests: y[i] = x[i] + by for i < count; one that writes `reach` bytes behind y; one that turns the
/// numbers of a block around through dynamic shared memory.
inline const char *const kTestPtx = R"(
.version 8.0
.target sm_80
.address_size 64

.extern .shared .align 16 .b8 dynamic[];

.visible .entry add_to(.param .u64 p_x, .param .u64 p_y, .param .f32 p_by, .param .u32 p_count)
{
  .reg .pred %p<2>;
  .reg .b32 %r<6>;
  .reg .f32 %f<4>;
  .reg .b64 %rd<7>;
  ld.param.u64 %rd1, [p_x];
  ld.param.u64 %rd2, [p_y];
  ld.param.f32 %f1, [p_by];
  ld.param.u32 %r1, [p_count];
  mov.u32 %r2, %ctaid.x;
  mov.u32 %r3, %ntid.x;
  mov.u32 %r4, %tid.x;
  mad.lo.s32 %r5, %r2, %r3, %r4;
  setp.ge.u32 %p1, %r5, %r1;
  @%p1 bra DONE;
  mul.wide.u32 %rd3, %r5, 4;
  add.s64 %rd4, %rd1, %rd3;
  add.s64 %rd5, %rd2, %rd3;
  ld.global.f32 %f2, [%rd4];
  add.f32 %f3, %f2, %f1;
  st.global.f32 [%rd5], %f3;
DONE:
  ret;
}

.visible .entry write_behind(.param .u64 p_y, .param .u64 p_reach)
{
  .reg .b32 %r<2>;
  .reg .b64 %rd<4>;
  ld.param.u64 %rd1, [p_y];
  ld.param.u64 %rd2, [p_reach];
  add.s64 %rd3, %rd1, %rd2;
  mov.u32 %r1, 7;
  st.global.u32 [%rd3], %r1;
  ret;
}

.visible .entry turn_around(.param .u64 p_y)
{
  .reg .b32 %r<8>;
  .reg .b64 %rd<4>;
  ld.param.u64 %rd1, [p_y];
  mov.u32 %r1, %tid.x;
  mov.u32 %r2, %ntid.x;
  mul.wide.u32 %rd2, %r1, 4;
  add.s64 %rd3, %rd1, %rd2;
  ld.global.u32 %r3, [%rd3];
  mov.u32 %r4, dynamic;
  shl.b32 %r5, %r1, 2;
  add.s32 %r6, %r4, %r5;
  st.shared.u32 [%r6], %r3;
  bar.sync 0;
  not.b32 %r5, %r1;
  add.s32 %r5, %r5, %r2;
  shl.b32 %r5, %r5, 2;
  add.s32 %r6, %r4, %r5;
  ld.shared.u32 %r7, [%r6];
  st.global.u32 [%rd3], %r7;
  ret;
}
)";

} // namespace morph

#endif // MORPH_TEST_CUDA_DEVICE_TESTDEVICE_H
