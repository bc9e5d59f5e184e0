// SPDX-License-Identifier: Apache-2.0
#include "test/data/DataTesting.h"

#include <sys/stat.h>

namespace morph {
namespace {

TEST(TokenFile, ReadsBothWidths) {
  TemporaryFolder folder;
  std::string path = folder.writeU16("a", {1, 65535, 3, 0});
  auto narrow = TokenFile::open(path, TokenDType::U16);
  ASSERT_TRUE(narrow.ok()) << narrow.status().message();
  EXPECT_EQ((*narrow)->tokens({0, 4}), (std::vector<int64_t>{1, 65535, 3, 0}));
  auto wide = TokenFile::open(path, TokenDType::U32);
  ASSERT_TRUE(wide.ok());
  EXPECT_EQ((*wide)->tokens({0, 2}), (std::vector<int64_t>{1 + 65535ll * 65536, 3}));
}

TEST(TokenFile, RefusesWhatIsNoTokenFile) {
  TemporaryFolder folder;
  EXPECT_TRUE(refused(TokenFile::open(folder.path() + "/none", TokenDType::U16).status(), "No such file"));
  EXPECT_TRUE(refused(TokenFile::open(folder.path(), TokenDType::U16).status(), "not a regular file"));
  EXPECT_TRUE(refused(TokenFile::open(folder.write("empty", ""), TokenDType::U16).status(), "empty"));
  EXPECT_TRUE(refused(TokenFile::open(folder.write("odd", "abc"), TokenDType::U16).status(), "no whole number"));
  EXPECT_TRUE(refused(TokenFile::open(folder.write("two", "ab"), TokenDType::U32).status(), "no whole number"));
  EXPECT_TRUE(refused(TokenFile::open(folder.writeU16("big", {1, 2, 300}), TokenDType::U16, 256).status(),
                      "id 300 at token 2"));
  EXPECT_TRUE(refused(parseTokenDType("int16").status(), "int16"));
}

TEST(TokenFile, APipeIsNotWaitedForAndACutFileIsNamed) {
  TemporaryFolder folder;
  std::string pipe = folder.path() + "/pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_TRUE(refused(TokenFile::open(pipe, TokenDType::U16).status(), "not a regular file"));
  std::string path = folder.writeU16("cut", std::vector<uint16_t>(10'000, 7));
  EXPECT_EXIT(
      {
        auto file = *TokenFile::open(path, TokenDType::U16);
        std::filesystem::resize_file(path, 100);
        std::_Exit(file->tokens({9'000, 10'000})[0] == 7 ? 0 : 9);
      },
      testing::ExitedWithCode(1), "'" + path + "' was cut or replaced while it was being read");
}

TEST(TokenFile, FindsDocuments) {
  auto file = TokenFile::fromTokens({9, 1, 5, 1, 1, 6, 7});
  auto byId = file->documentsBeginningWith(1);
  ASSERT_TRUE(byId.ok());
  ASSERT_EQ(byId->size(), 3u);
  EXPECT_EQ((*byId)[0].begin, 1);
  EXPECT_EQ((*byId)[0].end, 3);
  EXPECT_EQ((*byId)[1].size(), 1);
  EXPECT_EQ((*byId)[2].end, 7);
  EXPECT_EQ(file->documentsBeginningWith(1, 2)->size(), 2u);
  EXPECT_TRUE(refused(file->documentsBeginningWith(8).status(), "no document begins"));

  auto byOffset = file->documentsAt({0, 3});
  ASSERT_TRUE(byOffset.ok());
  EXPECT_EQ((*byOffset)[1].begin, 3);
  EXPECT_EQ((*byOffset)[1].end, 7);
  for (const std::vector<int64_t> &wrong :
       std::vector<std::vector<int64_t>>{{}, {1}, {0, 3, 3}, {0, 7}, {0, 4, 2}, {0, -1}})
    EXPECT_EQ(file->documentsAt(wrong).status().code(), StatusCode::InvalidInput);
}

} // namespace
} // namespace morph
