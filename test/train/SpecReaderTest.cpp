// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/SpecReader.h"

#include <gtest/gtest.h>

namespace morph {
namespace {

TEST(SpecReader, GivesValuesAndDefaults) {
  const Json spec = {{"align", {{"steps", 5}, {"lr", 1e-3}, {"tasks", {"a", "b"}}, {"warmup", nullptr}}}};
  SpecReader reader(spec, "align");
  EXPECT_EQ(reader.integer("steps", 1), 5);
  EXPECT_EQ(reader.number("lr", 0), 1e-3);
  EXPECT_EQ(reader.number("steps", 0), 5);
  EXPECT_EQ(reader.texts("tasks"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(reader.integer("warmup", 3), 3);
  EXPECT_EQ(reader.integer("absent", 4), 4);
  EXPECT_TRUE(reader.status().ok());
}

TEST(SpecReader, KeepsTheFirstError) {
  const Json spec = {{"align", {{"steps", "many"}, {"lr", "fast"}}}};
  SpecReader reader(spec, "align");
  EXPECT_EQ(reader.integer("steps", 1), 1);
  EXPECT_EQ(reader.number("lr", 2), 2);
  ASSERT_FALSE(reader.status().ok());
  EXPECT_EQ(reader.status().message(), "spec: 'align.steps' is not an integer: \"many\"");
  EXPECT_EQ(reader.status().exitCode(), 2);
}

TEST(SpecReader, NamesTheTasksThatThereAre) {
  const Json spec = {{"tasks", Json::array({{{"name", "one"}}, {{"name", "two"}}})}};
  EXPECT_TRUE(findTask(spec, "two").ok());
  const auto missing = findTask(spec, "three");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.status().hint(), "the tasks are: one, two");
}

} // namespace
} // namespace morph
