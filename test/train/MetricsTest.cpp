// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/Metrics.h"
#include "runtime/train/Progress.h"
#include "test/train/TrainTesting.h"

#include <fstream>

namespace morph {
namespace {

TEST(Metrics, WritesALineAStep) {
  TemporaryFolder folder;
  const std::string path = folder.file("metrics.jsonl");
  auto metrics = MetricsFile::open(path, "align", "", 0);
  ASSERT_TRUE(metrics.ok());
  ASSERT_TRUE(metrics->append({{"step", 10}, {"loss", 0.5}, {"tokens", 5120}, {"seconds", 1.5}}).ok());
  EXPECT_EQ(fileText(path), "{\"stage\":\"align\",\"step\":10,\"loss\":0.5,\"tokens\":5120,\"seconds\":1.5}\n");
}

TEST(Metrics, IsCutBackToTheCheckpoint) {
  TemporaryFolder folder;
  const std::string path = folder.file("metrics.jsonl");
  const std::string ten = "{\"stage\":\"distill\",\"variant\":\"selected\",\"step\":10}\n";
  const std::string twenty = "{\"stage\":\"distill\",\"variant\":\"selected\",\"step\":20}\n";
  std::ofstream(path) << ten << twenty << "{\"stage\":\"distill\",\"var";
  ASSERT_TRUE(MetricsFile::open(path, "distill", "selected", 15).ok());
  EXPECT_EQ(fileText(path), ten);
  // A stage that begins again leaves nothing of its own.
  ASSERT_TRUE(MetricsFile::open(path, "distill", "selected", 0).ok());
  EXPECT_EQ(fileText(path), "");
}

TEST(Progress, FormatsForPeople) {
  EXPECT_EQ(formatDuration(12.4), "12 s");
  EXPECT_EQ(formatDuration(185), "3m05s");
  EXPECT_EQ(formatDuration(7620), "2h07m");
  EXPECT_EQ(formatCount(950), "950");
  EXPECT_EQ(formatCount(12345), "12.3k");
}

} // namespace
} // namespace morph
