// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/Schedule.h"

#include <gtest/gtest.h>

namespace morph {
namespace {

Schedule make(Schedule::Kind kind, int64_t warmup, int64_t steps) {
  Schedule schedule;
  schedule.kind = kind;
  schedule.peak = 1;
  schedule.end = 0.1;
  schedule.warmup = warmup;
  schedule.steps = steps;
  return schedule;
}

TEST(Schedule, WarmsUpLinearly) {
  for (Schedule::Kind kind : {Schedule::Kind::Constant, Schedule::Kind::Cosine, Schedule::Kind::Linear}) {
    const Schedule schedule = make(kind, 4, 20);
    EXPECT_DOUBLE_EQ(schedule.rate(0), 0.25);
    EXPECT_DOUBLE_EQ(schedule.rate(3), 1);
    EXPECT_DOUBLE_EQ(schedule.rate(4), 1);
  }
}

TEST(Schedule, CosineEndsAtItsEndValue) {
  const Schedule schedule = make(Schedule::Kind::Cosine, 0, 101);
  EXPECT_DOUBLE_EQ(schedule.rate(0), 1);
  EXPECT_NEAR(schedule.rate(50), 0.55, 1e-12);
  EXPECT_NEAR(schedule.rate(100), 0.1, 1e-12);
  for (int64_t step = 1; step <= 100; ++step)
    EXPECT_LT(schedule.rate(step), schedule.rate(step - 1));
}

TEST(Schedule, LinearFallsEvenly) {
  const Schedule schedule = make(Schedule::Kind::Linear, 0, 11);
  for (int64_t step = 0; step <= 10; ++step)
    EXPECT_NEAR(schedule.rate(step), 1 - 0.09 * static_cast<double>(step), 1e-12);
}

TEST(Schedule, WarmFlatCooldownIsTwentySixtyTwenty) {
  const Schedule schedule = make(Schedule::Kind::WarmFlatCooldown, 0, 100);
  EXPECT_NEAR(schedule.rate(0), 0.05, 1e-12);
  EXPECT_NEAR(schedule.rate(19), 1, 1e-12);
  EXPECT_NEAR(schedule.rate(79), 1, 1e-12);
  EXPECT_LT(schedule.rate(80), 1);
  EXPECT_NEAR(schedule.rate(99), 0.1, 1e-12);
}

TEST(Schedule, OneStepHasAFiniteRate) {
  for (Schedule::Kind kind :
       {Schedule::Kind::Constant, Schedule::Kind::Cosine, Schedule::Kind::Linear, Schedule::Kind::WarmFlatCooldown})
    EXPECT_NEAR(make(kind, 0, 1).rate(0), 1, 1e-12);
}

} // namespace
} // namespace morph
