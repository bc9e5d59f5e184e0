// SPDX-License-Identifier: Apache-2.0
// What the tests of LibTorch's device share.

#ifndef MORPH_TEST_CUDA_DEVICE_TESTTORCHDEVICE_H
#define MORPH_TEST_CUDA_DEVICE_TESTTORCHDEVICE_H

#include "runtime/device/TorchDevice.h"
#include "test/cuda/device/TestDevice.h"

namespace morph {

/// LibTorch has one device for all tests of the process.
class TorchDeviceTest : public testing::Test {
protected:
  void SetUp() override {
    static const StatusOr<std::shared_ptr<CudaDevice>> opened = CudaDevice::open(0);
    ASSERT_OK(opened);
    cuda = opened->get();
    StatusOr<at::Device> known = torchDevice(*opened);
    ASSERT_OK(known);
    device = *known;
    before = cuda->allocations();
  }
  void TearDown() override {
    if (!cuda)
      return;
    EXPECT_EQ(cuda->allocations(), before);
    EXPECT_OK(cuda->synchronize());
    if (auto *errors = standIn<uint64_t()>("morphStandInErrors")) {
      EXPECT_EQ(errors(), 0u);
    }
  }
  void expectEqual(const at::Tensor &there, const at::Tensor &here) {
    EXPECT_EQ(there.device(), device);
    const at::Tensor copy = there.cpu();
    EXPECT_EQ(copy.sizes(), here.sizes());
    EXPECT_EQ(copy.scalar_type(), here.scalar_type());
    EXPECT_TRUE(at::equal(copy, here)) << copy << "\n" << here;
  }

  CudaDevice *cuda = nullptr;
  at::Device device = at::kCPU;
  int64_t before = 0;
};

} // namespace morph

#endif // MORPH_TEST_CUDA_DEVICE_TESTTORCHDEVICE_H
