// SPDX-License-Identifier: Apache-2.0
// Safetensors files: round trip, and hostile headers.

#include "runtime/weights/Safetensors.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <fstream>

namespace morph {
namespace {

std::string temporaryPath(const std::string &name) {
  return testing::TempDir() + "/morph-" + testing::UnitTest::GetInstance()->current_test_info()->name() + "-" + name;
}

/// A file with the given header text and number of data bytes.
std::string fileWith(const std::string &header, size_t data, uint64_t length = UINT64_MAX) {
  std::string path = temporaryPath("file.safetensors");
  std::ofstream stream(path, std::ios::binary);
  if (length == UINT64_MAX)
    length = header.size();
  for (int i = 0; i < 8; ++i)
    stream.put(static_cast<char>(length >> (8 * i)));
  stream << header << std::string(data, '\0');
  return path;
}

void expectRefused(const std::string &path, const std::string &message) {
  auto file = SafetensorsFile::open(path);
  ASSERT_FALSE(file.ok()) << message;
  EXPECT_NE(file.status().message().find(message), std::string::npos) << file.status().message();
  EXPECT_NE(file.status().message().find(path), std::string::npos) << file.status().message();
  EXPECT_EQ(file.status().exitCode(), 2);
  std::remove(path.c_str());
}

TEST(SafetensorsTest, RoundTripKeepsEverything) {
  std::map<std::string, at::Tensor> tensors = {
      {"b", at::arange(6, at::kFloat).view({2, 3})},
      {"a", at::arange(3, at::kFloat).to(at::kBFloat16)}, // Six bytes: "b" is not aligned.
      {"c", at::arange(5, at::kLong)},
      {"empty", at::empty({0, 4}, at::kFloat)},
      {"scalar", at::full({}, 2.5, at::kDouble)},
      {"transposed", at::arange(6, at::kFloat).view({2, 3}).t()},
  };
  std::string path = temporaryPath("round.safetensors");
  ASSERT_TRUE(writeSafetensors(path, tensors, {{"format", "pt"}}).ok());
  auto file = SafetensorsFile::open(path);
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ((*file)->names().size(), tensors.size());
  EXPECT_EQ((*file)->metadata().at("format"), "pt");
  for (const auto &[name, tensor] : tensors) {
    at::Tensor read = (*file)->tensor(name);
    EXPECT_EQ(read.scalar_type(), tensor.scalar_type());
    EXPECT_TRUE(at::equal(read, tensor)) << name;
  }
  EXPECT_FALSE((*file)->tensor("absent").defined());
  at::Tensor kept = (*file)->tensor("c");
  *file = nullptr;
  EXPECT_EQ(kept.sum().item<int64_t>(), 10); // The tensor keeps the mapping alive.
  std::ifstream first(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(first)), {});
  ASSERT_TRUE(writeSafetensors(path, tensors, {{"format", "pt"}}).ok());
  std::ifstream second(path, std::ios::binary);
  EXPECT_EQ(bytes, std::string((std::istreambuf_iterator<char>(second)), {}));
  std::remove(path.c_str());
}

TEST(SafetensorsTest, AMissingFileAndAFolderAreRefused) {
  expectRefused(temporaryPath("absent"), "No such file");
  auto folder = SafetensorsFile::open(testing::TempDir());
  EXPECT_FALSE(folder.ok());
}

TEST(SafetensorsTest, TruncatedFilesAreRefused) {
  std::string path = temporaryPath("short");
  std::ofstream(path) << "abc";
  expectRefused(path, "truncated");
  expectRefused(fileWith("{}", 0, 50), "the header has 50 bytes");
  expectRefused(fileWith(R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})", 12), "ends at byte 16 of 12");
}

TEST(SafetensorsTest, HugeHeadersAreRefused) {
  expectRefused(fileWith("{}", 0, 200'000'000), "header would have 200000000 bytes");
  expectRefused(fileWith("{}", 0, UINT64_MAX - 4), "header would have");
}

TEST(SafetensorsTest, MalformedHeadersAreRefused) {
  expectRefused(fileWith("not json", 0), "malformed JSON");
  expectRefused(fileWith("[]", 0), "must be an object");
  expectRefused(fileWith(R"({"a":3})", 0), "expected an object");
  expectRefused(fileWith(R"({"a":{"dtype":"F32","shape":[1]}})", 4), "'data_offsets' is missing");
  expectRefused(fileWith(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4), "must be [begin, end]");
  expectRefused(fileWith(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4), "must be [begin, end]");
  expectRefused(fileWith(R"({"a":{"dtype":"F32","shape":["x"],"data_offsets":[0,4]}})", 4), "'shape' must be");
}

TEST(SafetensorsTest, DuplicatesAreRefused) {
  expectRefused(fileWith(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                         R"("a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                         8),
                "'a' is given twice");
}

TEST(SafetensorsTest, UnknownDTypesAreRefused) {
  expectRefused(fileWith(R"({"a":{"dtype":"F4","shape":[8],"data_offsets":[0,4]}})", 4), "unknown dtype 'F4'");
}

TEST(SafetensorsTest, OverlapsAndGapsAreRefused) {
  expectRefused(fileWith(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                         R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
                         12),
                "'a' and 'b' overlap");
  expectRefused(fileWith(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                         R"("b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}})",
                         16),
                "bytes 8 to 12 belong to no tensor");
  expectRefused(fileWith(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 16), "after the last tensor");
}

TEST(SafetensorsTest, ShapesThatDoNotFitAreRefused) {
  expectRefused(fileWith(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8), "its shape needs 12");
  expectRefused(fileWith(R"({"a":{"dtype":"F32","shape":[-2,-1],"data_offsets":[0,8]}})", 8), "its shape needs");
  expectRefused(fileWith(R"({"a":{"dtype":"F32","shape":[4611686018427387904,2],"data_offsets":[0,8]}})", 8),
                "its shape needs");
}

TEST(SafetensorsTest, AFailedWriteLeavesNothing) {
  std::string path = testing::TempDir() + "/no-such-folder/x.safetensors";
  EXPECT_FALSE(writeSafetensors(path, {}).ok());
  EXPECT_FALSE(std::ifstream(path).good());
  EXPECT_FALSE(std::ifstream(path + ".tmp").good());
}

} // namespace
} // namespace morph
