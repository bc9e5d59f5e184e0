// SPDX-License-Identifier: Apache-2.0
// A program's runs as graphs: which are, and what of the caller's they read.

#include "runtime/exec/Executor.h"
#include "test/cuda/device/TestTorchDevice.h"
#include "test/plan/PlanBuilder.h"

namespace morph {
namespace {

/// sum[i] += x[i] * share.
const char *const kAccumulatePtx = R"(
.version 8.0
.target sm_80
.address_size 64

.visible .entry accumulate(.param .u64 p_sum, .param .u64 p_x, .param .u64 p_share, .param .u64 p_result)
{
  .reg .b32 %r<2>;
  .reg .f32 %f<4>;
  .reg .b64 %rd<9>;
  ld.param.u64 %rd1, [p_sum];
  ld.param.u64 %rd2, [p_x];
  ld.param.u64 %rd3, [p_share];
  ld.param.u64 %rd4, [p_result];
  mov.u32 %r1, %tid.x;
  mul.wide.u32 %rd5, %r1, 4;
  add.s64 %rd6, %rd1, %rd5;
  add.s64 %rd7, %rd2, %rd5;
  add.s64 %rd8, %rd4, %rd5;
  ld.global.f32 %f1, [%rd6];
  ld.global.f32 %f2, [%rd7];
  ld.global.f32 %f3, [%rd3];
  fma.rn.f32 %f1, %f2, %f3, %f1;
  st.global.f32 [%rd8], %f1;
  ret;
}
)";

/// A program that updates its input `sum` [4].
plan::Plan accumulatePlan() {
  PlanBuilder b("gates");
  const plan::Dim four = int64_t(4);
  const int64_t sum = b.input("sum", {four}), x = b.input("x", {four}), share = b.input("share", {});
  b.output("sum", b.op("accumulate", {sum, x, share}));
  using Kind = plan::LaunchArgument::Kind;
  plan::DeviceLaunch launch;
  launch.kernel = "accumulate";
  launch.grid.fill(plan::constantFormula(1));
  launch.threads = 4;
  launch.arguments = {{Kind::Operand, 0, {}}, {Kind::Operand, 1, {}}, {Kind::Operand, 2, {}}, {Kind::Result, 0, {}}};
  b.plan.devices = {{"sm_80", std::string(64, '0'), {{{launch}, {}}}, kAccumulatePtx}};
  return b.plan;
}

class GraphTest : public TorchDeviceTest {
protected:
  void SetUp() override {
    TorchDeviceTest::SetUp();
    auto made = Executor::create(accumulatePlan(), WeightStore::inMemory({}), Precision::F32, 1, nullptr, device);
    ASSERT_OK(made);
    executor = *std::move(made);
    launchesBefore = launches();
  }
  void TearDown() override {
    executor.reset();
    TorchDeviceTest::TearDown();
  }
  at::Tensor numbers(float each) const { return at::full({4}, each).to(device); }
  /// Adds to a sum; the other inputs are gone when this returns.
  void add(const at::Tensor &sum, float each) {
    ASSERT_OK(executor->run({{"sum", sum}, {"x", numbers(each)}, {"share", at::ones({})}}));
  }
  /// The stand-in counts launches of graphs.
  static uint64_t launches() {
    auto *count = standIn<uint64_t()>("morphStandInGraphLaunches");
    return count ? count() : 0;
  }
  void expectLaunches(uint64_t count) {
    if (standIn<uint64_t()>("morphStandInGraphLaunches")) {
      EXPECT_EQ(launches() - launchesBefore, count);
    }
  }

  std::unique_ptr<Executor> executor;
  uint64_t launchesBefore = 0;
};

TEST_F(GraphTest, IsWhatRunsForTheSecondTime) {
  const at::Tensor sum = numbers(0);
  add(sum, 1);
  expectLaunches(0);
  add(sum, 2);
  expectLaunches(1);
  add(sum, 4);
  expectLaunches(2);
  expectEqual(sum, at::full({4}, 7.0f));
}

// What a run was given may be freed or replaced before the next one, which is a graph where it updates the same memory.
TEST_F(GraphTest, KeepsNoneOfTheCallersTensors) {
  at::Tensor sum = numbers(0), other = numbers(0);
  add(sum, 1);
  add(sum, 2);
  add(other, 8);
  expectLaunches(1);
  expectEqual(other, at::full({4}, 8.0f));
  expectEqual(sum, at::full({4}, 3.0f));
  sum.reset();
  add(other, 16);
  add(other, 32);
  expectLaunches(3);
  expectEqual(other, at::full({4}, 56.0f));
  other = numbers(0); // The stand-in gives other memory for long.
  add(other, 1);
  add(other, 1);
  expectLaunches(4);
  expectEqual(other, at::full({4}, 2.0f));
}

} // namespace
} // namespace morph
