// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/HeldOutCourse.h"

#include "runtime/base/Intervals.h"

#include "gtest/gtest.h"

#include <limits>

using namespace morph;

namespace {

HeldOutParts parts(int64_t step, std::vector<double> task, std::vector<double> text) {
  return {step, {{"recall", std::move(task)}, {"text", std::move(text)}}};
}

TEST(HeldOutCourse, TheFirstIsBestUntilAnotherIsBetter) {
  HeldOutCourse course;
  EXPECT_TRUE(course.empty());
  EXPECT_TRUE(course.add(parts(0, {2, 2}, {1, 1})));
  EXPECT_FALSE(course.add(parts(1, {2, 2}, {1, 1}))); // As good is not better.
  EXPECT_TRUE(course.add(parts(2, {1, 1}, {1, 1})));
  EXPECT_EQ(course.best().step, 2);
  EXPECT_FALSE(course.add(parts(3, {1.5, 1.5}, {1, 1})));
  EXPECT_EQ(course.best().step, 2);
  EXPECT_EQ(course.last().step, 3);
}

TEST(HeldOutCourse, PartsCountInUnitsOfTheirBeginning) {
  HeldOutCourse course;
  course.add(parts(0, {100, 100}, {0.1, 0.1}));
  EXPECT_TRUE(course.add(parts(1, {50, 50}, {0.1, 0.1})));   // .5 and 1.
  EXPECT_TRUE(course.add(parts(2, {90, 90}, {0.05, 0.05}))); // .9 and .5, though the sum is larger.
  EXPECT_EQ(course.best().step, 2);
}

TEST(HeldOutCourse, APartThatIsWorseBeyondItsErrorIsNotPaidByAnother) {
  HeldOutCourse course;
  course.add(parts(0, {2, 2, 2, 2}, {1, 1.2, 0.8, 1}));
  EXPECT_FALSE(course.add(parts(1, {0.1, 0.1, 0.1, 0.1}, {1.1, 1.3, 0.9, 1.1}))); // Every batch by a tenth.
  const auto worse = course.worse(course.last());
  ASSERT_EQ(worse.size(), 1u);
  EXPECT_NEAR(worse.at("text").mean, 0.1, 1e-12);
  EXPECT_NEAR(worse.at("text").standardError, 0, 1e-12);
  // The same mean rise, now within the noise of the differences.
  EXPECT_TRUE(course.add(parts(2, {0.1, 0.1, 0.1, 0.1}, {1.8, 0.7, 1.1, 0.8})));
  EXPECT_TRUE(course.worse(course.last()).empty());
  EXPECT_EQ(course.best().step, 2);
}

TEST(HeldOutCourse, TwoBatchesTellLittle) {
  EXPECT_EQ(studentFactor(1), std::numeric_limits<double>::infinity());
  EXPECT_NEAR(studentFactor(2), 12.706, 1e-3);
  EXPECT_NEAR(studentFactor(12), 2.201, 5e-3);
  EXPECT_NEAR(studentFactor(31), 2.042, 5e-3);
  EXPECT_NEAR(studentFactor(1000), 1.962, 5e-3);
  for (size_t count : {2, 6, 11, 12, 1000}) // One formula for all that is said with 95 %.
    EXPECT_EQ(studentFactor(count), studentQuantile(count - 1)) << count;
  HeldOutCourse course;
  course.add(parts(0, {2, 2}, {1, 1}));
  // Ten times the standard error of two differences is no sign yet; of four it is one.
  EXPECT_TRUE(course.add(parts(1, {1, 1}, {1.09, 1.11})));
  HeldOutCourse longer;
  longer.add(parts(0, {2, 2, 2, 2}, {1, 1, 1, 1}));
  EXPECT_FALSE(longer.add(parts(1, {1, 1, 1, 1}, {1.09, 1.11, 1.09, 1.11})));
}

TEST(HeldOutCourse, APartWithoutALossCanOnlyRise) {
  HeldOutCourse course;
  course.add(parts(0, {0, 0}, {1, 1}));
  EXPECT_FALSE(course.add(parts(1, {1e-3, 1e-3}, {0.5, 0.5})));
  EXPECT_TRUE(course.add(parts(2, {0, 0}, {0.5, 0.5})));
}

TEST(HeldOutCourse, IsInCheckpoints) {
  HeldOutCourse course, other;
  course.add(parts(0, {2, 3}, {1, 1}));
  course.add(parts(4, {1, 1.0 / 3}, {1, 1}));
  course.add(parts(8, {3, 3}, {1, 1}));
  other.restore(Json::parse(course.state().dump()));
  EXPECT_EQ(other.best().step, 4);
  EXPECT_EQ(other.best().losses, course.best().losses);
  EXPECT_EQ(other.last().step, 8);
  EXPECT_FALSE(other.add(parts(9, {1, 1.0 / 3}, {1, 1})));
  EXPECT_THROW(other.restore(Json{{"best", 0}}), Json::exception);
}

} // namespace
