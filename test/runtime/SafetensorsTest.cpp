// SPDX-License-Identifier: Apache-2.0
// Safetensors files: round trip, and hostile headers.

#include "runtime/weights/Safetensors.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <fstream>

#include <sys/stat.h>
#include <unistd.h>

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
                "tensor 'a' and tensor 'b' overlap: one ends at byte 8 of the data, the other begins at 4");
  expectRefused(fileWith(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                         R"("b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}})",
                         16),
                "bytes 8 to 12 of the data, between tensor 'a' and tensor 'b', belong to no tensor");
  expectRefused(fileWith(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 16),
                "8 bytes after tensor 'a' belong to no tensor");
  expectRefused(fileWith(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12),
                "bytes 0 to 4 of the data, between the header and tensor 'a'");
  expectRefused(fileWith("{}", 3), "3 bytes after the header belong to no tensor");
  // Not neighbours by name or by place: 'c' lies within 'a', behind the beginning of 'b'; an empty one in the middle.
  expectRefused(fileWith(R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},)"
                         R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},)"
                         R"("c":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})",
                         16),
                "tensor 'a' and tensor 'b' overlap");
  expectRefused(fileWith(R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},)"
                         R"("b":{"dtype":"F32","shape":[0],"data_offsets":[8,8]}})",
                         16),
                "tensor 'a' and tensor 'b' overlap");
}

TEST(SafetensorsTest, HostileHeadersAreRefused) {
  std::string deep(300'000, '[');
  expectRefused(fileWith("{\"__metadata__\":{\"a\":" + deep + "}}", 0), "header:1:84: nested deeper than 64 levels");
  expectRefused(fileWith(R"({"__metadata__":{"a":{"b":[1,2]}}})", 0), "'a' must be a string, not {\"b\":[1,2]}");
  expectRefused(fileWith(R"({"__metadata__":[1]})", 0), "'__metadata__' must be an object, not [1]");
  expectRefused(fileWith("{\"a\":{\"dtype\":\"F32\",\"shape\":\"" + std::string(1 << 20, 'x') + "\"}}", 0), "xx...x");
  // No bytes, but strides beyond what can be counted.
  expectRefused(fileWith(R"({"a":{"dtype":"F32","shape":[0,4611686018427387904,4611686018427387904],)"
                         R"("data_offsets":[0,0]}})",
                         0),
                "its shape needs more than can be addressed");
}

TEST(SafetensorsTest, APipeIsNotWaitedFor) {
  std::string pipe = temporaryPath("pipe.safetensors");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  expectRefused(pipe, "not a regular file");
  std::remove(pipe.c_str());
}

TEST(SafetensorsTest, AFileThatIsCutUnderItsReaderIsNamed) {
  std::string path = temporaryPath("cut.safetensors");
  ASSERT_TRUE(writeSafetensors(path, {{"w", at::ones({1 << 16})}}).ok());
  EXPECT_EXIT(
      {
        at::Tensor view = (*SafetensorsFile::open(path))->tensor("w");
        (void)!::truncate(path.c_str(), 4096);
        std::_Exit(view.sum().item<float>() > 0 ? 0 : 7);
      },
      testing::ExitedWithCode(1), "'" + path + "' was cut or replaced while it was being read");
  std::remove(path.c_str());
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
