// SPDX-License-Identifier: Apache-2.0
#include "test/data/DataTesting.h"

#include <cmath>
#include <numeric>
#include <set>

namespace morph {
namespace {

TEST(TextStore, WindowsStayInsideTrainingPartsOfDocuments) {
  auto text = countingText({100, 30, 50}, 0.1); // training parts [0,90) [100,130) [130,175)
  std::set<int64_t> documents;
  for (uint64_t index = 0; index < 500; ++index) {
    std::vector<int64_t> window = text->window(7, index, 25);
    ASSERT_EQ(window.size(), 25u);
    EXPECT_EQ(window.back() - window.front(), 24) << "a window crosses documents";
    int64_t begin = window.front(), end = window.back();
    int document = end < 90 ? 0 : begin >= 100 && end < 130 ? 1 : begin >= 130 && end < 175 ? 2 : -1;
    EXPECT_NE(document, -1) << begin;
    documents.insert(document);
  }
  EXPECT_EQ(documents.size(), 3u);
}

TEST(TextStore, LongWindowsComeFromLongDocumentsOnly) {
  auto text = countingText({30, 200, 30}, 0.0);
  for (uint64_t index = 0; index < 100; ++index) {
    std::vector<int64_t> window = text->window(1, index, 150);
    EXPECT_GE(window.front(), 30);
    EXPECT_LT(window.back(), 230);
  }
  EXPECT_TRUE(text->checkInsideDocuments(200).ok());
  EXPECT_TRUE(refused(text->checkInsideDocuments(201), "longest has 200"));
}

TEST(TextStore, JoinsDocumentsWhereNoneIsLongEnough) {
  auto text = countingText({10, 10, 10}, 0.0);
  std::vector<int64_t> window = text->window(3, 0, 45);
  ASSERT_EQ(window.size(), 45u);
  for (size_t i = 1; i < window.size(); ++i)
    EXPECT_EQ(window[i], (window[i - 1] + 1) % 30);
  EXPECT_EQ(text->windowSpan(3, 0, 45).size(), 0);
}

TEST(TextStore, PackedWindowsReadAllDocumentsAndSayWhereTheyBegin) {
  auto text = countingText({10, 100, 7}, 0.0);
  std::set<int64_t> seen;
  for (uint64_t index = 0; index < 300; ++index) {
    const TextWindow window = text->packedWindow(3, index, 25);
    ASSERT_EQ(window.tokens.size(), 25u);
    ASSERT_EQ(window.begins.size(), 25u);
    EXPECT_EQ(window.begins[0], 0);
    for (size_t i = 0; i < 25; ++i) {
      seen.insert(window.tokens[i]);
      const bool isFirst = window.tokens[i] == 0 || window.tokens[i] == 10 || window.tokens[i] == 110;
      EXPECT_EQ(window.begins[i], i == 0 || isFirst ? static_cast<int64_t>(i) : window.begins[i - 1]);
    }
  }
  EXPECT_EQ(seen.size(), 117u) << "short documents are read, too";
  EXPECT_EQ(text->packedWindow(3, 7, 25).tokens, text->packedWindow(3, 7, 25).tokens);
}

TEST(TextStore, SaysWhichShareWindowsNeverRead) {
  EXPECT_DOUBLE_EQ(countingText({10, 100, 10}, 0.0)->unreadShare(25), 20.0 / 120);
  EXPECT_DOUBLE_EQ(countingText({10, 100, 10}, 0.0)->unreadShare(10), 0);
  EXPECT_DOUBLE_EQ(countingText({10, 20, 10}, 0.0)->unreadShare(25), 0) << "joined, all are read";
}

TEST(TextStore, WindowIsAFunctionOfSeedAndIndex) {
  auto text = countingText({1000}, 0.2);
  auto again = countingText({1000}, 0.2);
  for (uint64_t index : {5u, 3u, 4u})
    EXPECT_EQ(text->window(1, index, 20), again->window(1, index, 20));
  EXPECT_NE(text->window(1, 0, 20), text->window(2, 0, 20));
  EXPECT_NE(text->window(1, 0, 20), text->window(1, 1, 20));
}

TEST(TextStore, EvaluationWindowsAreTheTails) {
  // Of [60,100) [109,115) [145,165), which are held out, the second halves.
  auto text = countingText({100, 15, 50}, 0.4);
  auto windows = text->evaluationWindows(8);
  ASSERT_EQ(windows.size(), 3u);
  EXPECT_EQ(windows[0].tokens.front(), 80);
  EXPECT_EQ(windows[1].tokens.front(), 88);
  EXPECT_EQ(windows[2].tokens.front(), 155);
  EXPECT_EQ(text->evaluationWindows(8, 16).size(), 2u);
  EXPECT_EQ(text->evaluationWindows(8, 16)[1].tokens.front(), 88);
  EXPECT_EQ(text->evaluationWindows(8, 1).size(), 1u);
  EXPECT_EQ(text->evaluationWindows(30).size(), 1u); // joined: 20 + 3 + 7 tokens
  EXPECT_EQ(text->evaluationWindows(30)[0].tokens[20], 112);
  EXPECT_EQ(text->evaluationWindows(64)[0].tokens.size(), 33u);
  EXPECT_EQ(text->evaluationWindows(64)[0].tokens.front(), 80);
  EXPECT_EQ(text->evaluationWindows(4, 8)[1].tokens.front(), 92) << "two of seven windows, evenly spread";
  EXPECT_TRUE(countingText({50}, 0.0)->evaluationWindows(8).empty());
  const auto packed = text->evaluationWindows(15, 0, /*isPacked=*/true); // 20 + 3 + 7 tokens
  ASSERT_EQ(packed.size(), 2u);
  EXPECT_EQ(packed[1].begins, std::vector<int64_t>({0, 0, 0, 0, 0, 5, 5, 5, 8, 8, 8, 8, 8, 8, 8}));
  // The second document, [2, 5), and the seventh, [12, 14): the last of one with the first of the other says nothing.
  const auto lone = countingText({2, 3, 2, 1, 2, 2, 2, 3}, 0.5)->evaluationWindows(2, 0, true);
  ASSERT_EQ(lone.size(), 1u);
  EXPECT_EQ(lone[0].tokens, (std::vector<int64_t>{2, 3}));
  for (uint64_t index = 0; index < 50; ++index) {
    EXPECT_GE(text->window(1, index, 18, Split::Evaluation).front(), 80);
    std::vector<int64_t> window = text->window(1, index, 18, Split::Selection);
    EXPECT_GE(window.front(), 60);
    EXPECT_LT(window.back(), 80);
  }
}

TEST(TextStore, ShortDocumentsAreHeldOutWhole) {
  // Tails of 25 tokens would have 1 for selection and 1 for evaluation: nothing in them could be predicted.
  const auto text = countingText(std::vector<int64_t>(200, 25), 0.1);
  EXPECT_EQ(text->tokenCount(Split::Training), 180 * 25);
  EXPECT_EQ(text->tokenCount(Split::Selection), 10 * 25);
  EXPECT_EQ(text->tokenCount(Split::Evaluation), 10 * 25);
  const auto windows = text->evaluationWindows(512, 0, /*isPacked=*/true);
  ASSERT_EQ(windows.size(), 1u);
  for (size_t i = 0; i < 250; ++i) {
    EXPECT_EQ(windows[0].begins[i], static_cast<int64_t>(i / 25 * 25));
    EXPECT_EQ((windows[0].tokens[i] - windows[0].tokens[0]) % 25, static_cast<int64_t>(i % 25));
  }
  // Of one that can be divided, the tail; of one token nothing is predicted, wherever it is.
  const auto mixed = countingText({25, 40, 25, 1, 25}, 0.1);
  EXPECT_EQ(mixed->tokenCount(Split::Selection), 2);
  EXPECT_EQ(mixed->tokenCount(Split::Evaluation), 2);
  EXPECT_EQ(countingText({3}, 0.9)->tokenCount(Split::Training), 3) << "there is always one to train on";
  EXPECT_EQ(countingText({25, 25}, 0.0)->tokenCount(Split::Training), 50);
}

TEST(TextStore, OpensWhatTheTokenisingStepWrites) {
  TemporaryFolder folder;
  folder.writeU16("text.tokens", {1, 2, 3, 4, 5, 6});
  folder.write("text.json", R"({"dtype": "u16", "count": 6, "documents": 2, "holdout": 0.5})");
  folder.writeOffsets("text.documents", {0, 2});
  auto text = TextStore::open(folder.path(), 7);
  ASSERT_TRUE(text.ok()) << text.status().message();
  EXPECT_EQ((*text)->documentCount(), 2);
  EXPECT_EQ((*text)->tokenCount(Split::Training), 2);
  EXPECT_EQ((*text)->tokenCount(Split::Selection), 0);
  EXPECT_EQ((*text)->tokenCount(Split::Evaluation), 4) << "one of two short documents is held out whole";
  EXPECT_TRUE(refused(TextStore::open(folder.path(), 6).status(), "id 6 at token 5"));
}

TEST(TextStore, RefusesMalformedDescriptions) {
  TemporaryFolder folder;
  folder.writeU16("text.tokens", {1, 2, 3, 4, 5, 6});
  auto open = [&](const std::string &json, const std::vector<uint64_t> &offsets = {0}) {
    folder.write("text.json", json);
    folder.writeOffsets("text.documents", offsets);
    return TextStore::open(folder.path()).status();
  };
  EXPECT_TRUE(refused(open("{"), "malformed JSON"));
  EXPECT_TRUE(refused(open(R"({"count": 6, "documents": 1})"), "'dtype' is missing"));
  EXPECT_TRUE(refused(open(R"({"dtype": "f32", "count": 6, "documents": 1, "holdout": 0.5})"), "f32"));
  EXPECT_TRUE(refused(open(R"({"dtype": "u16", "count": 7, "documents": 1, "holdout": 0.5})"), "'count' is 7"));
  EXPECT_TRUE(refused(open(R"({"dtype": "u32", "count": 6, "documents": 1, "holdout": 0.5})"), "'count' is 6"));
  EXPECT_TRUE(refused(open(R"({"dtype": "u16", "count": 6, "documents": 2, "holdout": 0.5})", {0, 9}),
                      "document 1 begins at token 9"));
  EXPECT_TRUE(refused(open(R"({"dtype": "u16", "count": 6, "documents": "all"})"), "documents"));
  EXPECT_TRUE(refused(open(R"({"dtype": "u16", "count": 6, "documents": 1, "holdout": 1})"), "holdout"));
  EXPECT_TRUE(refused(open(R"({"dtype": "u16", "count": 6, "documents": 3, "holdout": 0.5})"), "not 3 offsets"));
  const std::string weighted = R"({"dtype": "u16", "count": 6, "documents": 2, "holdout": 0.5, "sources": [)";
  EXPECT_TRUE(refused(open(weighted + R"({"documents": 1, "weight": 0}, {"documents": 1, "weight": 1}]})", {0, 3}),
                      "a weight above 0"));
  EXPECT_TRUE(refused(open(weighted + R"({"documents": 1, "weight": 1}]})", {0, 3}), "1 documents are of no source"));
}

TEST(TextStore, SourcesAreDrawnByTheirShares) {
  // Source 0 has the tokens below 1000, source 1 those above: a tenth of the text, and three quarters of the windows.
  std::vector<int64_t> tokens(1100);
  std::iota(tokens.begin(), tokens.end(), 0);
  auto file = TokenFile::fromTokens(tokens);
  const std::vector<TokenSpan> documents = {{0, 600}, {600, 1000}, {1000, 1080}, {1080, 1100}};
  auto text = TextStore::create(file, documents, 0, {{2, 1}, {2, 3}});
  ASSERT_TRUE(text.ok()) << text.status().message();
  int second = 0;
  const int draws = 4000;
  for (uint64_t index = 0; index < draws; ++index)
    second += (*text)->window(5, index, 10).front() >= 1000;
  EXPECT_NEAR(second / double(draws), 0.75, 4 * std::sqrt(0.75 * 0.25 / draws));
  // Where one source alone has a document as long as the window, all are of it; where none has, sources are not mixed.
  for (uint64_t index = 0; index < 50; ++index) {
    EXPECT_LT((*text)->window(5, index, 300).back(), 1000);
    const std::vector<int64_t> joined = (*text)->window(5, index, 700);
    EXPECT_EQ(joined.front() >= 1000, joined.back() >= 1000);
  }
}

} // namespace
} // namespace morph
