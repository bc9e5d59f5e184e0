// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/Checkpoint.h"
#include "test/train/TrainTesting.h"

#include <fstream>

namespace morph {
namespace {

Checkpoint example() {
  Checkpoint checkpoint;
  checkpoint.step = 7;
  checkpoint.tokens = 7000;
  checkpoint.seconds = 0.1;
  checkpoint.fingerprint = "a";
  checkpoint.state = {{"sum", 0.1 + 0.2}};
  checkpoint.masters = {{"w", at::full({2, 3}, 0.1f)}};
  checkpoint.optimizer = {{"step.w", at::full({1}, int64_t(7), at::kLong)}};
  checkpoint.stage = {{"logits/gate.0", at::full({1}, 3.0f)}};
  return checkpoint;
}

TEST(Checkpoint, ComesBackExactly) {
  TemporaryFolder folder;
  const std::string path = folder.file("checkpoint.safetensors");
  ASSERT_TRUE(writeCheckpoint(path, example()).ok());
  auto read = readCheckpoint(path, "a");
  ASSERT_TRUE(read.ok()) << read.status().message();
  ASSERT_TRUE(read->has_value());
  const Checkpoint &checkpoint = **read;
  EXPECT_EQ(checkpoint.step, 7);
  EXPECT_EQ(checkpoint.tokens, 7000);
  EXPECT_EQ(checkpoint.state["sum"].get<double>(), 0.1 + 0.2);
  EXPECT_TRUE(at::equal(checkpoint.masters.at("w"), example().masters["w"]));
  EXPECT_EQ(checkpoint.optimizer.at("step.w").item<int64_t>(), 7);
  EXPECT_EQ(checkpoint.stage.at("logits/gate.0").item<float>(), 3);
}

TEST(Checkpoint, IsAbsentBeforeTheFirst) {
  TemporaryFolder folder;
  auto read = readCheckpoint(folder.file("checkpoint.safetensors"), "a");
  ASSERT_TRUE(read.ok());
  EXPECT_FALSE(read->has_value());
}

TEST(Checkpoint, OfOtherSettingsIsRefused) {
  TemporaryFolder folder;
  const std::string path = folder.file("checkpoint.safetensors");
  ASSERT_TRUE(writeCheckpoint(path, example()).ok());
  auto read = readCheckpoint(path, "b");
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.status().exitCode(), 2);
  EXPECT_NE(read.status().message().find("other settings"), std::string::npos);
}

TEST(Checkpoint, TruncatedOrForeignIsRefused) {
  TemporaryFolder folder;
  const std::string path = folder.file("checkpoint.safetensors");
  ASSERT_TRUE(writeCheckpoint(path, example()).ok());
  const std::string text = fileText(path);
  std::ofstream(path, std::ios::binary) << text.substr(0, text.size() - 4);
  EXPECT_FALSE(readCheckpoint(path, "a").ok());
  ASSERT_TRUE(writeSafetensors(path, {{"w", at::ones({1})}}).ok());
  EXPECT_FALSE(readCheckpoint(path, "a").ok());
}

TEST(Checkpoint, AHostileHeaderIsDamage) {
  TemporaryFolder folder;
  const std::string path = folder.file("checkpoint.safetensors");
  const std::string rest = R"(, "tokens": 1, "seconds": 1, "fingerprint": "a", "state": {}})";
  for (const std::string &header : {std::string("["), "{\"version\": " + std::string(300'000, '['),
                                    R"({"version": 1})" + std::string(), R"({"version": 1, "step": 1e300)" + rest,
                                    R"({"version": 1, "step": -1)" + rest, R"({"version": 1, "step": "1")" + rest}) {
    ASSERT_TRUE(writeSafetensors(path, {}, {{"morph_checkpoint", header}}).ok());
    auto read = readCheckpoint(path, "a");
    ASSERT_FALSE(read.ok()) << header.substr(0, 60);
    EXPECT_EQ(read.status().exitCode(), 1);
    EXPECT_NE(read.status().message().find("is damaged"), std::string::npos) << read.status().message();
  }
  ASSERT_TRUE(writeSafetensors(path, {}, {{"morph_checkpoint", R"({"version": 1, "step": 1)" + rest}}).ok());
  EXPECT_TRUE(readCheckpoint(path, "a").ok());
}

TEST(Checkpoint, MastersMustBeThere) {
  NamedTensors masters = {{"w", at::zeros({2})}};
  EXPECT_FALSE(restoreMasters(masters, {}).ok());
  EXPECT_FALSE(restoreMasters(masters, {{"w", at::zeros({3})}}).ok());
  EXPECT_TRUE(restoreMasters(masters, {{"w", at::ones({2})}}).ok());
  EXPECT_TRUE(at::equal(masters["w"], at::ones({2})));
}

} // namespace
} // namespace morph
