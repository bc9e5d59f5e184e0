// SPDX-License-Identifier: Apache-2.0
// Files from outside: no pipe is waited for, and a file that is cut under its reader ends the process with its name.

#include "runtime/base/File.h"

#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sys/stat.h>
#include <unistd.h>

namespace morph {
namespace {

std::string temporaryPath(const std::string &name) {
  return testing::TempDir() + "/morph-file-test-" + std::to_string(::getpid()) + "-" + name;
}

TEST(FileTest, OnlyRegularFilesAreRead) {
  std::string pipe = temporaryPath("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  for (const std::string &path : {pipe, testing::TempDir(), std::string("/dev/zero")}) {
    auto text = readTextFile(path);
    ASSERT_FALSE(text.ok()) << path;
    EXPECT_EQ(text.status().message(), "cannot open '" + path + "': not a regular file");
    EXPECT_EQ(text.status().exitCode(), 2);
    EXPECT_FALSE(MappedFile::open(path).ok()) << path;
  }
  std::remove(pipe.c_str());
  auto missing = readTextFile(pipe);
  ASSERT_FALSE(missing.ok());
  EXPECT_NE(missing.status().message().find("No such file"), std::string::npos) << missing.status().message();
}

TEST(FileTest, TextIsReadWholeUpToALimit) {
  std::string path = temporaryPath("text"), content(300'000, 'x');
  std::ofstream(path) << content;
  EXPECT_EQ(*readTextFile(path), content);
  EXPECT_EQ(*readTextFile(path, content.size()), content);
  auto text = readTextFile(path, content.size() - 1);
  ASSERT_FALSE(text.ok());
  EXPECT_NE(text.status().message().find("300000 bytes, at most 299999"), std::string::npos) << text.status().message();
  std::ofstream(path, std::ios::trunc).close();
  EXPECT_EQ(*readTextFile(path), "");
  const auto empty = MappedFile::open(path);
  ASSERT_TRUE(empty.ok()) << empty.status().message();
  EXPECT_EQ((*empty)->size(), 0u);
  std::remove(path.c_str());
  EXPECT_FALSE(readTextFile("/proc/self/status")->empty()); // A file that does not tell its size.
  // One that comes in parts of a page each: the stack is near its end.
  EXPECT_NE(readTextFile("/proc/self/smaps")->find("[stack]"), std::string::npos);
}

/// Maps a file of three pages, lets `damage` happen, reads all of it, and ends with exit code 0.
void readAll(const std::string &path, const std::function<void()> &damage) {
  auto file = MappedFile::open(path);
  damage();
  unsigned sum = 0;
  for (uint64_t i = 0; i < (*file)->size(); ++i)
    sum += static_cast<unsigned char>((*file)->data()[i]);
  std::_Exit(sum == 'x' * (*file)->size() ? 0 : 7);
}

TEST(FileTest, AFileThatIsCutIsNamed) {
  std::string path = temporaryPath("cut");
  auto write = [&] { std::ofstream(path, std::ios::trunc) << std::string(12'288, 'x'); };
  for (long rest : {0, 4096}) {
    write();
    EXPECT_EXIT(readAll(path, [&] { (void)!::truncate(path.c_str(), rest); }), testing::ExitedWithCode(1),
                "error: '" + path + "' was cut or replaced while it was being read");
  }
  // Replaced by another file of this name: the map is still of the first.
  write();
  EXPECT_EXIT(readAll(path,
                      [&] {
                        std::ofstream(path + ".new") << "short";
                        std::filesystem::rename(path + ".new", path);
                      }),
              testing::ExitedWithCode(0), "");
  std::remove(path.c_str());
}

TEST(FileTest, OtherBusErrorsStayWhatTheyAre) {
  std::string path = temporaryPath("other");
  std::ofstream(path) << "x";
  EXPECT_EXIT(readAll(path, [] { ::raise(SIGBUS); }), testing::KilledBySignal(SIGBUS), "");
  std::remove(path.c_str());
}

} // namespace
} // namespace morph
