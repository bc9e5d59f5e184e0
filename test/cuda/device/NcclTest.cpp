// SPDX-License-Identifier: Apache-2.0
// Sums, broadcasts and gathers between GPUs: on the stand-in by two processes, which are threads here; on a GPU by one,
// for NCCL gives each process a GPU of its own.

#include "runtime/device/Nccl.h"
#include "test/cuda/device/TestDevice.h"

#include <thread>

namespace morph {
namespace {

using NcclTest = CudaTest;

TEST_F(NcclTest, SumsBroadcastsAndGathersInTheOrderOfTheStream) {
  const int64_t count = standIn<uint64_t()>("morphStandInErrors") ? 2 : 1;
  const StatusOr<std::string> id = Nccl::makeId();
  ASSERT_OK(id);
  const auto process = [&](int64_t rank) {
    const StatusOr<std::unique_ptr<Nccl>> group = Nccl::join(*device, *id, rank, count);
    ASSERT_OK(group);
    const float own = static_cast<float>(rank + 1), sum = count == 2 ? 3 : 1;
    float *values = memoryOf(std::vector<float>{own, -2 * own, 0.5f * own});
    ASSERT_OK((*group)->allReduce(values, 3, Nccl::Type::F32));
    double *doubles = memoryOf(std::vector<double>{own / 3.0});
    ASSERT_OK((*group)->allReduce(doubles, 1, Nccl::Type::F64));
    int64_t *numbers = memoryOf(std::vector<int64_t>{(int64_t(1) << 40) * (rank + 1)});
    ASSERT_OK((*group)->allReduce(numbers, 1, Nccl::Type::I64));
    float *given = memoryOf(std::vector<float>{own, own});
    ASSERT_OK((*group)->broadcast(given, 2 * sizeof(float), count - 1));
    float *part = memoryOf(std::vector<float>{own, -own}), *whole = memoryOf(std::vector<float>(4, 9));
    ASSERT_OK((*group)->allGather(part, whole, 2 * sizeof(float)));
    EXPECT_EQ(valuesOf(whole, 4), count == 2 ? (std::vector<float>{1, -1, 2, -2}) : (std::vector<float>{1, -1, 9, 9}));
    EXPECT_EQ(valuesOf(values, 3), (std::vector<float>{sum, -2 * sum, 0.5f * sum}));
    EXPECT_DOUBLE_EQ(valuesOf(doubles, 1)[0], sum / 3.0);
    EXPECT_EQ(valuesOf(numbers, 1)[0], (int64_t(1) << 40) * static_cast<int64_t>(sum));
    EXPECT_EQ(valuesOf(given, 2), std::vector<float>(2, static_cast<float>(count)));
    for (void *memory : {static_cast<void *>(values), static_cast<void *>(doubles), static_cast<void *>(numbers),
                         static_cast<void *>(given), static_cast<void *>(part), static_cast<void *>(whole)})
      device->release(memory);
  };
  std::vector<std::thread> others;
  for (int64_t rank = 1; rank < count; ++rank)
    others.emplace_back(process, rank);
  process(0);
  for (std::thread &other : others)
    other.join();
}

} // namespace
} // namespace morph
