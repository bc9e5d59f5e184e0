// SPDX-License-Identifier: Apache-2.0
// How many tokens and keys tasks need: what the generators say of Inputs/task-room.json. The frontends say the same of
// it before a run (test/frontends/spec-task-room.test), so a generator that changes shows here.

#include "runtime/data/Retrieval.h"
#include "test/data/DataTesting.h"

#include <nlohmann/json.hpp>

namespace morph {
namespace {

using nlohmann::json;

TEST(TaskRoom, GeneratorsNeedWhatTheTableSays) {
  std::ifstream file(MORPH_TEST_DATA_DIR "/Inputs/task-room.json");
  const json table = json::parse(file);
  ASSERT_FALSE(table.empty());
  for (const json &row : table) {
    SCOPED_TRACE(row.dump());
    const int64_t tokens = row.at("tokens"), keys = row.at("keys"), values = row.value("values", 16);
    TaskSpec task = makeTask("t", *fromWord<TaskSpec::Kind>(row.at("kind")), row.at("needles"));
    task.queries = row.at("queries");
    task.hops = row.value("hops", task.hops);
    task.keyLength = row.value("key_length", task.keyLength);
    task.repeats = row.value("repeats", task.repeats);
    task.alpha = row.value("alpha", task.alpha);
    task.valueLength = row.at("value_length");
    task.length = {tokens};
    task.background = TaskSpec::Background::Noise;
    task.keyTokens = {0, keys};
    task.valueTokens = {100, 100 + values};
    task.noiseTokens = {200, 216};
    auto generator = TaskGenerator::create(task, "", nullptr, 256);
    ASSERT_TRUE(generator.ok()) << generator.status().message();
    EXPECT_TRUE((*generator)->checkLength(tokens).ok());
    EXPECT_FALSE((*generator)->checkLength(tokens - 1).ok());
    EXPECT_TRUE((*generator)->sample(0, 0, tokens).ok());
    if (keys > 1) {
      task.keyTokens = {0, keys - 1};
      EXPECT_TRUE(refused(TaskGenerator::create(task, "", nullptr, 256).status(), "different keys"));
      task.keyTokens = {0, keys};
    }
    if (row.contains("values")) {
      task.valueTokens = {100, 100 + values - 1};
      EXPECT_TRUE(refused(TaskGenerator::create(task, "", nullptr, 256).status(), "values"));
    }
  }
}

} // namespace
} // namespace morph
