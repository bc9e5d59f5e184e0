// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/Readings.h"

#include <ATen/Functions.h>
#include <gtest/gtest.h>

namespace morph {
namespace {

TEST(Readings, KeepsWhatValuesWere) {
  Readings readings;
  const at::Tensor value = at::zeros({2});
  // More than the first block has room for; the program's tensor is overwritten by every run.
  for (int64_t step = 0; step < 40; ++step) {
    value.fill_(static_cast<double>(step));
    value[1] = -1;
    readings.keep(step, 0.5 * static_cast<double>(step), value);
  }
  const std::vector<Readings::Reading> taken = readings.take();
  ASSERT_EQ(taken.size(), 40U);
  for (int64_t step = 0; step < 40; ++step) {
    const Readings::Reading &reading = taken[static_cast<size_t>(step)];
    EXPECT_EQ(reading.step, step);
    EXPECT_EQ(reading.weight, 0.5 * static_cast<double>(step));
    EXPECT_EQ(reading.value, (std::vector<double>{static_cast<double>(step), -1}));
  }
}

TEST(Readings, EachIsTakenOnce) {
  Readings readings;
  EXPECT_TRUE(readings.take().empty());
  readings.keep(3, 1, at::full({}, 7.0, at::kDouble));
  const std::vector<Readings::Reading> first = readings.take();
  ASSERT_EQ(first.size(), 1U);
  EXPECT_TRUE(readings.take().empty());
  readings.keep(4, 1, at::full({}, 8.0, at::kDouble));
  EXPECT_EQ(first[0].value.front(), 7) << "what was taken stays";
  EXPECT_EQ(readings.take()[0].value.front(), 8);
}

} // namespace
} // namespace morph
