// SPDX-License-Identifier: Apache-2.0
// Helpers of the data tests.

#ifndef MORPH_TEST_DATA_DATATESTING_H
#define MORPH_TEST_DATA_DATATESTING_H

#include "runtime/data/TextStore.h"
#include "runtime/spec/Spec.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace morph {

/// A folder of a test's own, removed with it.
class TemporaryFolder {
public:
  TemporaryFolder() {
    const auto *info = ::testing::UnitTest::GetInstance()->current_test_info();
    path_ = std::filesystem::temp_directory_path() /
            ("morph-" + std::string(info->test_suite_name()) + "-" + info->name() + "-" + std::to_string(::getpid()));
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }

  std::string path() const { return path_.string(); }
  std::string write(const std::string &name, const std::string &content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
    return (path_ / name).string();
  }
  std::string writeU16(const std::string &name, const std::vector<uint16_t> &tokens) const {
    return write(name, std::string(reinterpret_cast<const char *>(tokens.data()), 2 * tokens.size()));
  }
  std::string writeOffsets(const std::string &name, const std::vector<uint64_t> &offsets) const {
    return write(name, std::string(reinterpret_cast<const char *>(offsets.data()), 8 * offsets.size()));
  }

private:
  std::filesystem::path path_;
};

/// A task in token space over text, with values of two tokens; its ids and lengths are the test's.
inline TaskSpec makeTask(const std::string &name, TaskSpec::Kind kind, int64_t needles) {
  TaskSpec task;
  task.name = name;
  task.kind = kind;
  task.space = TaskSpec::Space::Tokens;
  task.needles = needles;
  task.queries = 1;
  task.hops = 2;
  task.keyLength = 2;
  task.repeats = {30, 3};
  task.alpha = 2;
  task.valueLength = 2;
  task.depth = {0.05, 0.95};
  task.background = TaskSpec::Background::Text;
  return task;
}

/// Documents of these sizes. Token i of the whole is i modulo `modulus`, so that a window tells where it is from.
inline std::shared_ptr<const TextStore> countingText(const std::vector<int64_t> &sizes, double holdout,
                                                     int64_t modulus = 1 << 30) {
  std::vector<int64_t> tokens;
  std::vector<TokenSpan> documents;
  for (int64_t size : sizes) {
    int64_t begin = static_cast<int64_t>(tokens.size());
    for (int64_t i = 0; i < size; ++i)
      tokens.push_back((begin + i) % modulus);
    documents.push_back({begin, begin + size});
  }
  auto store = TextStore::create(TokenFile::fromTokens(tokens), documents, holdout);
  EXPECT_TRUE(store.ok()) << store.status().message();
  return *store;
}

/// Whether `status` is a wrong input whose message has `part`.
inline ::testing::AssertionResult refused(const Status &status, const std::string &part) {
  if (status.code() != StatusCode::InvalidInput)
    return ::testing::AssertionFailure() << "not refused as wrong input: '" << status.message() << "'";
  if (status.message().find(part) == std::string::npos)
    return ::testing::AssertionFailure() << "'" << status.message() << "' lacks '" << part << "'";
  return ::testing::AssertionSuccess();
}

} // namespace morph

#endif // MORPH_TEST_DATA_DATATESTING_H
