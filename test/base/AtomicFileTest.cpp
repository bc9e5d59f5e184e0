// SPDX-License-Identifier: Apache-2.0

#include "runtime/base/AtomicFile.h"
#include "runtime/base/File.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <unistd.h>

namespace morph {
namespace {

namespace fs = std::filesystem;

class AtomicFileTest : public testing::Test {
protected:
  void SetUp() override { fs::create_directories(folder); }
  void TearDown() override { fs::remove_all(folder); }
  std::string file(const std::string &name) const { return (folder / name).string(); }
  std::string text(const std::string &name) const {
    return readTextFile(file(name)).ok() ? *readTextFile(file(name)) : "";
  }

  const fs::path folder = fs::temp_directory_path() / ("morph-atomic-" + std::to_string(::getpid()));
};

TEST_F(AtomicFileTest, WithoutCommitWhatWasThereStays) {
  ASSERT_TRUE(writeFile(file("a"), "before").ok());
  {
    auto half = AtomicFile::create(file("a"));
    ASSERT_TRUE(half.ok());
    ASSERT_TRUE(half->write("aft", 3).ok());
    EXPECT_EQ(text("a"), "before");
    EXPECT_TRUE(fs::exists(file("a.partial")));
  }
  EXPECT_EQ(text("a"), "before");
  EXPECT_FALSE(fs::exists(file("a.partial")));
}

TEST_F(AtomicFileTest, CommitReplaces) {
  ASSERT_TRUE(writeFile(file("a"), "before").ok());
  // What a kill left under the temporary name is written over.
  ASSERT_TRUE(writeFile(file("a.partial"), "left by a kill, and longer").ok());
  ASSERT_TRUE(writeFile(file("a"), "after").ok());
  EXPECT_EQ(text("a"), "after");
  EXPECT_FALSE(fs::exists(file("a.partial")));
}

TEST_F(AtomicFileTest, ErrorsNameThePathAndTheReason) {
  const Status status = writeFile(file("nowhere/a"), "text");
  EXPECT_EQ(status.exitCode(), 1);
  EXPECT_NE(status.message().find(file("nowhere/a")), std::string::npos);
  EXPECT_NE(status.message().find("No such file or directory"), std::string::npos);
}

TEST_F(AtomicFileTest, AFullDiskLeavesWhatWasThere) {
  ASSERT_TRUE(writeFile(file("a"), "before").ok());
  // /dev/full fails every write as a full disk does.
  fs::create_symlink("/dev/full", file("a.partial"));
  const Status status = writeFile(file("a"), "after");
  EXPECT_EQ(status.exitCode(), 1);
  EXPECT_NE(status.hint().find("the disk is full"), std::string::npos);
  EXPECT_EQ(text("a"), "before");
  EXPECT_FALSE(fs::is_symlink(file("a.partial")));
  // Nor does it sync: what may not be on the disk is not taken, though every write went well.
  fs::create_symlink("/dev/full", file("a.partial"));
  EXPECT_FALSE(writeFile(file("a"), "").ok());
  EXPECT_EQ(text("a"), "before");
}

TEST_F(AtomicFileTest, TreesAreSyncedWhole) {
  fs::create_directories(folder / "tree/below");
  ASSERT_TRUE(writeFile(file("tree/below/a"), "text").ok());
  fs::create_symlink("nowhere", file("tree/link"));
  EXPECT_TRUE(syncTree(file("tree")).ok());
  EXPECT_FALSE(syncTree(file("absent")).ok());
  EXPECT_FALSE(syncFolder(file("absent")).ok());
}

TEST_F(AtomicFileTest, FoldersAreRenamed) {
  fs::create_directories(folder / "old");
  EXPECT_TRUE(renamePath(file("old"), file("new")).ok());
  EXPECT_TRUE(fs::is_directory(file("new")));
  EXPECT_FALSE(renamePath(file("old"), file("new")).ok());
}

} // namespace
} // namespace morph
