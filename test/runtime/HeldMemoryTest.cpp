// SPDX-License-Identifier: Apache-2.0

#include "runtime/exec/HeldMemory.h"

#include <ATen/ATen.h>
#include <c10/core/CPUAllocator.h>

#include <gtest/gtest.h>

#include <cstdint>

using namespace morph;

TEST(HeldMemory, CountsTensorsWhileTheyLive) {
  countHeldMemory();
  const int64_t before = heldBytes(), allocations = allocationCount();
  {
    const at::Tensor x = at::empty({100}, at::kFloat);
    EXPECT_EQ(heldBytes() - before, 400);
    EXPECT_EQ(allocationCount() - allocations, 1);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(x.const_data_ptr()) % 64, 0u);
    const at::Tensor none = at::empty({0}, at::kFloat);
    EXPECT_EQ(heldBytes() - before, 400);
  }
  EXPECT_EQ(heldBytes(), before);
  EXPECT_GE(peakHeldBytes(), before + 400);
}

// As oneDNN inside LibTorch does, on processors with bf16 instructions.
TEST(HeldMemory, LibrariesAllocateRawMemory) {
  countHeldMemory();
  const int64_t before = heldBytes();
  c10::Allocator &allocator = *c10::GetCPUAllocator();
  void *const block = allocator.raw_allocate(1000);
  EXPECT_EQ(heldBytes() - before, 1000);
  allocator.raw_deallocate(block);
  EXPECT_EQ(heldBytes(), before);
  at::Tensor x = at::ones({64, 64}, at::kBFloat16);
  EXPECT_EQ(at::mm(x, x).sum().item<float>(), 64.0f * 64 * 64);
}
