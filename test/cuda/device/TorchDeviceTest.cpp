// SPDX-License-Identifier: Apache-2.0

#include "runtime/base/TorchGuard.h"
#include "runtime/exec/HostCopies.h"
#include "test/cuda/device/TestTorchDevice.h"

#include <gmock/gmock.h>

namespace morph {
namespace {

using testing::HasSubstr;

TEST_F(TorchDeviceTest, IsOneDeviceForAnOrdinal) {
  EXPECT_EQ(device.index(), 0);
  EXPECT_EQ(device.str(), "cuda_driver:0");
  EXPECT_TRUE(isCuda(device));
  EXPECT_FALSE(isCuda(at::kCPU));
  EXPECT_EQ(&cudaDeviceOf(device), cuda);
  EXPECT_THAT(messageOf(torchDevice(*CudaDevice::open(0))), HasSubstr("belong to another CudaDevice"));
}

TEST_F(TorchDeviceTest, ThereAndBack) {
  for (const at::ScalarType type :
       {at::kFloat, at::kDouble, at::kBFloat16, at::kLong, at::kInt, at::kBool, at::kByte}) {
    const at::Tensor here = at::arange(24).reshape({2, 3, 4}).to(type);
    const at::Tensor there = here.to(device);
    EXPECT_EQ(there.strides(), here.strides());
    expectEqual(there, here);
  }
  expectEqual(at::empty({0, 3}, at::TensorOptions(device)), at::empty({0, 3}));
  expectEqual(at::scalar_tensor(3.5).to(device), at::scalar_tensor(3.5));
  EXPECT_EQ(at::arange(5).to(device)[3].item<int64_t>(), 3);
  // Layouts stay, types change on the way.
  const at::Tensor turned = at::arange(12).reshape({3, 4}).t();
  EXPECT_EQ(turned.to(device).strides(), turned.strides());
  expectEqual(turned.to(device), turned);
  expectEqual(turned.to(device, at::kFloat), turned.to(at::kFloat));
  expectEqual(turned.to(device).contiguous(), turned.contiguous());
}

TEST_F(TorchDeviceTest, ViewsAreOfTheSameMemory) {
  const at::Tensor here = at::arange(24).to(at::kFloat).reshape({4, 6}), there = here.to(device);
  EXPECT_EQ(there.view({6, 4}).data_ptr(), there.data_ptr());
  EXPECT_EQ(there.reshape({2, -1}).data_ptr(), there.data_ptr());
  EXPECT_EQ(there.select(0, 2).data_ptr(), static_cast<float *>(there.data_ptr()) + 12);
  expectEqual(there.view({3, 8}), here.view({3, 8}));
  expectEqual(there.narrow(0, 1, 2).view({12}), here.narrow(0, 1, 2).view({12}));
  expectEqual(there.narrow(0, 1, 2).reshape({3, 4}), here.narrow(0, 1, 2).reshape({3, 4}));
  expectEqual(there.t(), here.t());
  expectEqual(there.slice(1, 1, 6, 2), here.slice(1, 1, 6, 2));
  expectEqual(there.narrow(0, 1, 2).select(1, 3), here.narrow(0, 1, 2).select(1, 3));
  expectEqual(there.unsqueeze(1).expand({4, 2, 6}), here.unsqueeze(1).expand({4, 2, 6}));
  expectEqual(there.as_strided({3, 2}, {1, 7}, 5), here.as_strided({3, 2}, {1, 7}, 5));
  expectEqual(there.t().reshape({8, 3}), here.t().reshape({8, 3}));
  EXPECT_ANY_THROW(there.t().view({24}));
  EXPECT_ANY_THROW(there.as_strided({25}, {1}));
  EXPECT_ANY_THROW(there.view({5, 5}));
}

TEST_F(TorchDeviceTest, CopiesIntoViewsLeaveTheRest) {
  const at::Tensor here = at::arange(24).to(at::kFloat).reshape({4, 6}), there = here.to(device);
  const at::Tensor column = at::full({4}, -1.0f);
  here.select(1, 2).copy_(column);
  there.select(1, 2).copy_(column);
  expectEqual(there, here);
  // From the device, converted and broadcast.
  const at::Tensor row = at::arange(3);
  here.slice(1, 0, 6, 2).copy_(row);
  there.slice(1, 0, 6, 2).copy_(row.to(device));
  expectEqual(there, here);
  at::Tensor back = at::zeros({6, 4}, at::kDouble);
  back.t().copy_(there);
  EXPECT_TRUE(at::equal(back.t(), here.to(at::kDouble)));
  const at::Tensor clone = there.clone();
  EXPECT_NE(clone.data_ptr(), there.data_ptr());
  expectEqual(clone, here);
  EXPECT_ANY_THROW(there.copy_(at::zeros({5})));
}

TEST_F(TorchDeviceTest, HostCopiesOfOneMemoryAreParts) {
  const at::Tensor together = at::arange(12).to(at::kFloat).to(device), alone = at::full({2}, 5.0f).to(device);
  const at::Tensor first = together.narrow(0, 0, 4), second = together.narrow(0, 4, 8).view({2, 4}).t();
  const at::Tensor host = at::ones({3});
  HostCopies copies;
  EXPECT_TRUE(copies.of(host).is_same(host)) << "a tensor of the CPU stands for itself";
  EXPECT_TRUE(at::equal(copies.of(second), at::arange(4, 12).to(at::kFloat).view({2, 4}).t()));
  EXPECT_EQ(copies.of(first).storage().data(), copies.of(second).storage().data()) << "one copy brings both";
  copies.of(first).fill_(-1);
  copies.of(second).select(0, 1).fill_(-2);
  copies.of(alone).add_(1);
  EXPECT_EQ(copies.of(first)[3].item<float>(), -1) << "what is written is seen";
  expectEqual(first, at::tensor({0.f, 1.f, 2.f, 3.f})); // Not yet there.
  copies.write();
  expectEqual(together, at::tensor({-1.f, -1.f, -1.f, -1.f, 4.f, -2.f, 6.f, 7.f, 8.f, -2.f, 10.f, 11.f}));
  expectEqual(alone, at::full({2}, 6.0f));
}

TEST_F(TorchDeviceTest, Fills) {
  const at::TensorOptions there(device);
  expectEqual(at::zeros({3, 5}, there), at::zeros({3, 5}));
  expectEqual(at::ones({3, 5}, there), at::ones({3, 5}));
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kBFloat16, at::kLong, at::kInt, at::kByte}) {
    expectEqual(at::full({7}, 5, there.dtype(type)), at::full({7}, 5, type));
    const at::Tensor here = at::arange(12).to(type).reshape({3, 4}), copy = here.to(device);
    here.select(1, 1).zero_();
    copy.select(1, 1).zero_();
    here.narrow(0, 1, 1).fill_(9);
    copy.narrow(0, 1, 1).fill_(9);
    expectEqual(copy, here);
  }
  expectEqual(at::empty({0}, there).fill_(3), at::empty({0}));
}

TEST_F(TorchDeviceTest, EverythingElseIsRight) {
  at::manual_seed(1);
  const at::Tensor a = at::randn({5, 7}), b = at::randn({7, 3}), x = a.to(device), y = b.to(device);
  expectEqual(x.mm(y), a.mm(b));
  expectEqual(x + 1, a + 1);
  expectEqual(x * x - x / 3, a * a - a / 3);
  expectEqual(x.softmax(-1), a.softmax(-1));
  expectEqual(at::cat({x, x}, 1), at::cat({a, a}, 1));
  expectEqual(x.argmax(1), a.argmax(1));
  expectEqual((x > 0).to(at::kFloat), (a > 0).to(at::kFloat));
  expectEqual(x.index_select(0, at::tensor({4, 1}).to(device)), a.index_select(0, at::tensor({4, 1})));
  expectEqual(x.sum({0}), a.sum({0}));
  EXPECT_EQ(x.max().item<float>(), a.max().item<float>());
  EXPECT_TRUE(at::equal(x, a.to(device)));
  EXPECT_TRUE(at::allclose(x, x));
  // In place, also in views.
  const at::Tensor c = a.clone(), z = c.to(device);
  c.mul_(2).select(0, 1).add_(5);
  z.mul_(2).select(0, 1).add_(5);
  expectEqual(z, c);
  c.index_put_({at::tensor({0, 2})}, at::full({7}, 3.0f));
  z.index_put_({at::tensor({0, 2}).to(device)}, at::full({7}, 3.0f).to(device));
  expectEqual(z, c);
  at::Tensor out = at::empty({5, 3}, at::TensorOptions(device));
  const void *memory = out.data_ptr();
  at::mm_out(out, x, y);
  EXPECT_EQ(out.data_ptr(), memory);
  expectEqual(out, a.mm(b));
  EXPECT_EQ(at::rand({100}, at::TensorOptions(device)).lt(1).sum().item<int64_t>(), 100);
  expectEqual(at::empty_like(x).copy_(x), a);
}

TEST_F(TorchDeviceTest, SizesAndStoragesChange) {
  at::Tensor there = at::arange(6).to(device);
  const void *memory = there.data_ptr();
  there.resize_({2, 2});
  EXPECT_EQ(there.data_ptr(), memory);
  expectEqual(there, at::arange(4).reshape({2, 2}));
  there.resize_({5, 5});
  EXPECT_EQ(there.numel(), 25);
  expectEqual(there.view({25}).narrow(0, 0, 6), at::arange(6)); // The storage kept what it had.
  at::Tensor other = at::empty({0}, there.options());
  other.set_(there);
  EXPECT_EQ(other.data_ptr(), there.data_ptr());
  other.set_(there.storage(), 2, {2, 2}, {1, 2});
  expectEqual(other, at::arange(6).as_strided({2, 2}, {1, 2}, 2));
  other.set_(there.storage());
  EXPECT_EQ(other.numel(), 25);
  other.set_();
  EXPECT_EQ(other.numel(), 0);
}

TEST_F(TorchDeviceTest, MemoryOfTheDeviceIsATensor) {
  const StatusOr<void *> memory = cuda->allocate(1024, "an arena");
  ASSERT_OK(memory);
  {
    const at::Tensor whole = at::from_blob(*memory, {16, 16}, at::TensorOptions(device).dtype(at::kFloat));
    EXPECT_EQ(whole.device(), device);
    EXPECT_EQ(whole.data_ptr(), *memory);
    whole.fill_(2.5);
    const at::Tensor part =
        at::from_blob(static_cast<float *>(*memory) + 16, {16}, at::TensorOptions(device).dtype(at::kFloat));
    part.copy_(at::arange(16));
    at::Tensor here = at::full({16, 16}, 2.5f);
    here[1].copy_(at::arange(16));
    expectEqual(whole, here);
    int host = 0;
    EXPECT_ANY_THROW(at::from_blob(&host, {1}, at::TensorOptions(device).dtype(at::kInt)));
  }
  cuda->release(*memory);
}

TEST_F(TorchDeviceTest, KernelsAndTensorsAreInOneOrder) {
  const CudaModule module = *cuda->load(kTestPtx, "the test");
  const CudaFunction add = *module.find("add_to");
  const at::Tensor x = at::arange(100).to(device, at::kFloat), y = at::zeros_like(x);
  for (int i = 0; i < 3; ++i) {
    const void *from = x.data_ptr();
    void *to = y.data_ptr();
    float by = 1;
    uint32_t count = 100;
    void *arguments[] = {&from, &to, &by, &count};
    ASSERT_OK(cuda->launch(add, {2, 1, 1}, {64, 1, 1}, 0, arguments, "add"));
    x.copy_(y);
  }
  expectEqual(x, at::arange(100).to(at::kFloat) + 3);
}

TEST_F(TorchDeviceTest, ErrorsAreExceptionsWithTheReason) {
  try {
    at::empty({cuda->properties().memoryBytes}, at::TensorOptions(device));
    FAIL() << "that much memory";
  } catch (const StatusError &error) {
    EXPECT_THAT(error.what(), HasSubstr("out of memory on NVIDIA"));
  }
  // Kind and hint come through; LibTorch's own errors have none.
  const Status status =
      guardTorch("a stage", []() -> Status { throw StatusError(Status::invalid("wrong", "a hint")); });
  EXPECT_EQ(status.message(), "a stage: wrong");
  EXPECT_EQ(status.hint(), "a hint");
  EXPECT_EQ(status.code(), StatusCode::InvalidInput);
}

} // namespace
} // namespace morph
