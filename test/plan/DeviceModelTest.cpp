// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/DeviceModel.h"
#include "test/plan/PlanBuilder.h"

#include <gmock/gmock.h>

namespace morph {
namespace {

using plan::DeviceShares;
using plan::Dim;

/// Round numbers: a byte takes a nanosecond, a FLOP of bf16 one and one of fp32 ten.
plan::DeviceModel roundDevice() {
  plan::DeviceModel device;
  device.rowBytes = device.halfProducts = 1e9;
  device.floatProducts = 1e8;
  return device;
}

std::vector<double> secondsOf(const PlanBuilder &b, const plan::DeviceModel &device = roundDevice()) {
  auto seconds = plan::instructionSeconds(b.plan, {{"N", 100}}, device);
  EXPECT_TRUE(seconds.ok()) << seconds.status().message();
  return seconds.ok() ? *seconds : std::vector<double>();
}

TEST(DeviceModelTest, ProductsByArithmeticOrBytes) {
  for (bool isHalf : {false, true}) {
    PlanBuilder b;
    int64_t x = b.input("x", {Dim(int64_t(1)), Dim(std::string("N")), Dim(int64_t(256))});
    int64_t w = b.weight("w", {512, 256});
    if (isHalf) {
      x = b.op("cast", {x}, {{"dtype", std::string("bf16")}});
      w = b.op("cast", {w}, {{"dtype", std::string("bf16")}});
    }
    b.output("y", b.op("linear", {x, w, -1}));
    const double flops = 2.0 * 100 * 256 * 512;
    EXPECT_DOUBLE_EQ(secondsOf(b).back(), flops * (isHalf ? 1e-9 : 1e-8));
    plan::DeviceModel fast = roundDevice();
    fast.halfProducts = fast.floatProducts = 1e15;
    const double element = isHalf ? 2 : 4;
    EXPECT_NEAR(secondsOf(b, fast).back(), 1e-9 * (element * (100 * 256 + 256 * 512) + 4.0 * 100 * 512), 1e-12);
  }
}

TEST(DeviceModelTest, RowsByBytesAndSmallOnesByTheirLaunch) {
  PlanBuilder b;
  int64_t x = b.input("x", {Dim(std::string("N")), Dim(int64_t(1000))});
  b.output("y", b.op("exp", {x}));
  b.output("z", b.op("exp", {b.input("few", {Dim(int64_t(3))})}));
  const std::vector<double> seconds = secondsOf(b);
  EXPECT_NEAR(seconds[0], 1e-9 * 2 * 4 * 100 * 1000, 1e-12);
  EXPECT_DOUBLE_EQ(seconds[1], DeviceShares::kLaunchSeconds);
}

TEST(DeviceModelTest, ViewsTakeNothing) {
  PlanBuilder b;
  int64_t x = b.input("x", {Dim(int64_t(1)), Dim(std::string("N")), Dim(int64_t(64))});
  b.output("y", b.op("split_heads", {x}, {{"heads", int64_t(4)}}));
  EXPECT_EQ(secondsOf(b), std::vector<double>{0});
}

// A cache is written where positions come in; a table is read where rows are picked.
TEST(DeviceModelTest, WhatIsTouchedAndNotWhatIsThere) {
  PlanBuilder b;
  int64_t cache = b.input("cache.k", {Dim(int64_t(1)), Dim(int64_t(1 << 20)), Dim(int64_t(2)), Dim(int64_t(8))});
  int64_t x = b.input("x", {Dim(int64_t(1)), Dim(std::string("N")), Dim(int64_t(2)), Dim(int64_t(8))});
  int64_t offset = b.input("offset", {Dim(int64_t(1))}, plan::DType::I64);
  b.output("next", b.op("cache_write", {cache, x, offset}));
  int64_t tokens = b.input("tokens", {Dim(int64_t(1)), Dim(std::string("N"))}, plan::DType::I64);
  b.output("e", b.op("embedding", {tokens, b.weight("table", {1 << 20, 64})}));
  const std::vector<double> seconds = secondsOf(b);
  EXPECT_NEAR(seconds[0], 1e-9 * 3 * (4 * 100 * 16 + 8), 1e-9 * 16);
  EXPECT_NEAR(seconds[1], 1e-9 * 2 * 4 * 100 * 64, 1e-12);
}

// Parameter, gradient and moments are read, all but the gradient written; rate and step are a few bytes.
TEST(DeviceModelTest, UpdatesReadAndWrite) {
  const plan::Plan trains = withUpdate(smallTrainingPlan());
  ASSERT_TRUE(trains.update);
  plan::DeviceModel slow = roundDevice();
  slow.rowBytes = 1;
  const auto seconds = plan::instructionSeconds(*trains.update, {{"B", 2}, {"T", 8}, {"N", 4}}, slow);
  ASSERT_TRUE(seconds.ok()) << seconds.status().message();
  bool found = false;
  for (size_t i = 0; i < trains.update->instructions.size(); ++i) {
    const plan::Instruction &instruction = trains.update->instructions[i];
    if (instruction.op != "adamw")
      continue;
    found = true;
    double elements = 1;
    for (const Dim &dim : trains.update->values[static_cast<size_t>(instruction.operands[0])].shape)
      elements *= static_cast<double>(std::get<int64_t>(dim));
    EXPECT_NEAR((*seconds)[i], 4 * 7 * elements, 16);
  }
  EXPECT_TRUE(found);
}

TEST(DeviceModelTest, AttentionAtItsShare) {
  PlanBuilder b;
  std::vector<Dim> shape = {Dim(int64_t(1)), Dim(std::string("N")), Dim(int64_t(2)), Dim(int64_t(8))};
  int64_t q = b.input("q", shape), k = b.input("k", shape), v = b.input("v", shape);
  b.output("y", b.op("attention", {q, k, v, -1, -1}, {{"scale", 1.0}}));
  EXPECT_DOUBLE_EQ(secondsOf(b)[0], 4.0 * 2 * 8 * 5050 / (1e8 * DeviceShares::kAttention));
}

TEST(DeviceModelTest, DevicesOfTheTable) {
  EXPECT_THAT(plan::deviceNames(), testing::ElementsAre("a100", "h100", "b200"));
  for (const std::string &name : plan::deviceNames()) {
    auto device = plan::findDeviceModel(name);
    ASSERT_TRUE(device.ok());
    // Gigabytes and teraflops, not bytes and gigaflops.
    EXPECT_GE(device->memoryBytes, 80e9);
    EXPECT_GT(device->rowBytes, 1e12);
    EXPECT_GT(device->halfProducts, 1e14);
    EXPECT_GT(device->halfProducts, 4 * device->floatProducts);
    EXPECT_THAT(device->target, testing::StartsWith("sm_"));
  }
  auto none = plan::findDeviceModel("v100");
  EXPECT_EQ(none.status().message(), "there is no device 'v100'");
  EXPECT_EQ(none.status().hint(), "known are a100, h100, b200");
}

} // namespace
} // namespace morph
