// SPDX-License-Identifier: Apache-2.0
// The layout of a run's memory.

#include "runtime/plan/Buffers.h"

#include "runtime/plan/Workspace.h"
#include "test/plan/PlanBuilder.h"

#include <gmock/gmock.h>

namespace morph {
namespace {

using plan::Dim;

plan::Buffers layout(const plan::Plan &plan, const std::map<std::string, int64_t> &sizes, bool wide = false) {
  auto shapes = plan::resolveShapes(plan, sizes);
  EXPECT_TRUE(shapes.ok()) << shapes.status().message();
  auto buffers = plan::planBuffers(plan, *shapes, {wide, 2});
  EXPECT_TRUE(buffers.ok()) << buffers.status().message();
  EXPECT_TRUE(plan::checkBuffers(plan, *buffers).ok()) << plan::checkBuffers(plan, *buffers).message();
  return *buffers;
}

TEST(BuffersTest, AChainOfElementwiseOpsTakesTheMemoryOfOneValue) {
  PlanBuilder b;
  int64_t x = b.input("x", {Dim(std::string("N"))});
  for (int i = 0; i < 10; ++i)
    x = b.op("exp", {x});
  b.output("y", x);
  const plan::Buffers buffers = layout(b.plan, {{"N", 1000}});
  EXPECT_EQ(buffers.arenaBytes, 4032); // 4000 in whole cache lines.
  EXPECT_EQ(buffers.liveBytes, 4032);
  EXPECT_EQ(layout(b.plan, {{"N", 1000}}, /*wide=*/true).arenaBytes, 8000);
}

TEST(BuffersTest, InputsAndWeightsAreNeverWritten) {
  PlanBuilder b;
  int64_t x = b.input("x", {Dim(int64_t(16))}), w = b.weight("w", {16});
  b.output("a", b.op("exp", {x}));
  b.output("b", b.op("exp", {w}));
  const plan::Buffers buffers = layout(b.plan, {});
  EXPECT_EQ(buffers.offset[static_cast<size_t>(x)], -1);
  EXPECT_EQ(buffers.offset[static_cast<size_t>(w)], -1);
  EXPECT_EQ(buffers.arenaBytes, 128);
}

TEST(BuffersTest, WhatIsReadLaterOrIsAnOutputIsNotReplaced) {
  PlanBuilder b;
  int64_t x = b.op("exp", {b.input("x", {Dim(int64_t(16))})});
  int64_t y = b.op("exp", {x});    // x is read again.
  int64_t z = b.op("add", {y, x}); // y ends here.
  b.output("z", z);
  b.output("u", b.op("exp", {z})); // z is an output.
  const plan::Buffers buffers = layout(b.plan, {});
  auto owner = [&](int64_t value) { return buffers.owner[static_cast<size_t>(value)]; };
  EXPECT_EQ(owner(y), y);
  EXPECT_EQ(owner(z), y);
  EXPECT_NE(owner(b.plan.outputs[1].value), y);
}

TEST(BuffersTest, AViewKeepsWhatItViewsAlive) {
  PlanBuilder b;
  int64_t x = b.op("exp", {b.input("x", {Dim(std::string("B")), Dim(std::string("T")), Dim(int64_t(8))})});
  int64_t heads = b.op("split_heads", {x}, {{"heads", int64_t(2)}});
  int64_t other = b.op("exp", {b.plan.inputs[0].value});
  b.output("sum", b.op("add", {b.op("merge_heads", {heads}), other}));
  const plan::Buffers buffers = layout(b.plan, {{"B", 2}, {"T", 8}});
  EXPECT_EQ(buffers.owner[static_cast<size_t>(heads)], x);
  EXPECT_NE(buffers.offset[static_cast<size_t>(other)], buffers.offset[static_cast<size_t>(x)]);
  EXPECT_EQ(buffers.arenaBytes, 2 * 4 * 128);
}

TEST(BuffersTest, AnOperandReadTwiceIsReplacedOnlyWhereAllOfItIsElementwise) {
  PlanBuilder b;
  int64_t x = b.op("exp", {b.input("x", {Dim(int64_t(16))})});
  b.output("square", b.op("mul", {x, x}));
  const plan::Buffers buffers = layout(b.plan, {});
  EXPECT_EQ(buffers.arenaBytes, 128);
}

TEST(BuffersTest, AnUpdateLiesInWhatItUpdates) {
  PlanBuilder b;
  const Dim two = int64_t(2), eight = int64_t(8);
  const int64_t ring = b.input("ring", {two, Dim(int64_t(4)), eight}),
                offset = b.input("offset", {two}, plan::DType::I64);
  const int64_t next = b.op("cache_write", {ring, b.input("x", {two, Dim(std::string("T")), eight}), offset});
  const int64_t y = b.op("exp", {next}); // Not in place: the memory is not the run's.
  b.output("next", next);
  b.output("y", y);
  const plan::Buffers buffers = layout(b.plan, {{"T", 3}});
  EXPECT_EQ(buffers.owner[static_cast<size_t>(next)], ring);
  EXPECT_EQ(buffers.offset[static_cast<size_t>(next)], -1);
  EXPECT_EQ(buffers.owner[static_cast<size_t>(y)], y);
  EXPECT_EQ(buffers.arenaBytes, 2 * 4 * 8 * 4);
}

TEST(BuffersTest, EveryOpHasItsPlace) {
  for (int64_t positions : {1, 3, 64})
    for (bool wide : {false, true}) {
      const plan::Plan plan = everyOpPlan();
      const plan::Buffers buffers = layout(plan, {{"B", 2}, {"T", positions}, {"N", 4}}, wide);
      EXPECT_GE(buffers.arenaBytes, buffers.liveBytes);
      EXPECT_LE(static_cast<double>(buffers.arenaBytes), 1.3 * static_cast<double>(buffers.liveBytes));
    }
}

TEST(BuffersTest, ALaunchHasScratchForItsSumsOverRows) {
  const plan::Plan plan = everyOpPlan();
  // 2 x 65 rows are three blocks, of eight sums each.
  const plan::Buffers buffers = layout(plan, {{"B", 2}, {"T", 65}, {"N", 4}, {"S", 5}});
  int64_t launches = 0;
  for (size_t i = 0; i < plan.instructions.size(); ++i)
    if (plan.instructions[i].op == "launch") {
      const bool sums = plan::findKernel(plan, plan.instructions[i])->name == "silu_reduce_to";
      EXPECT_EQ(buffers.scratchBytes[i], sums ? plan::rowSumWorkspace(130, 8) : 0);
      EXPECT_EQ(plan::rowSumWorkspace(130, 8), 3 * 8 * 4 + 32);
      ++launches;
    }
  EXPECT_EQ(launches, 2);
}

TEST(BuffersTest, OverlapsAreFound) {
  PlanBuilder b;
  int64_t x = b.op("exp", {b.input("x", {Dim(int64_t(16))})});
  int64_t y = b.op("exp", {b.plan.inputs[0].value});
  b.output("z", b.op("add", {x, y}));
  plan::Buffers buffers = layout(b.plan, {});
  buffers.offset[static_cast<size_t>(y)] = buffers.offset[static_cast<size_t>(x)];
  EXPECT_THAT(plan::checkBuffers(b.plan, buffers).message(), testing::HasSubstr("overlaps"));
  buffers.offset[static_cast<size_t>(y)] = buffers.arenaBytes;
  EXPECT_THAT(plan::checkBuffers(b.plan, buffers).message(), testing::HasSubstr("outside the arena"));
}

} // namespace
} // namespace morph
