// SPDX-License-Identifier: Apache-2.0
#include "runtime/data/Lexicon.h"
#include "runtime/data/Random.h"
#include "test/data/DataTesting.h"

#include <nlohmann/json.hpp>

namespace morph {
namespace {

nlohmann::json validLexicon() {
  return nlohmann::json::parse(R"({"format": "morph-lexicon", "version": 2, "vocabulary": 50,
    "keys": [[1], [2, 3]], "alphabets": [[[10, 11], [12]], [[13]]], "value": [0, 1, 0],
    "wordings": {"training": [{"prefix": [{"tokens": [40]}], "needle": [{"slot": "key"}, {"tokens": [20]}, {"slot": "value"}],
                               "question": [{"tokens": [21]}, {"slot": "keys"}], "lead": [{"slot": "key"}]},
                              {"needle": [{"slot": "value"}]}],
                 "selection": [{"needle": [{"tokens": [41]}]}], "evaluation": [{"needle": [{"tokens": [42]}]}]},
    "key_join": [22], "answer_join": [23], "list_join": [24], "repeat": [25, 26], "break_after": [20, 49]})");
}

TEST(Lexicon, ReadsEveryMember) {
  auto lexicon = parseLexicon(validLexicon().dump(), "l.json");
  ASSERT_TRUE(lexicon.ok()) << lexicon.status().message();
  EXPECT_EQ(lexicon->keys.size(), 2u);
  EXPECT_EQ(lexicon->alphabets, (std::vector<std::vector<Piece>>{{{10, 11}, {12}}, {{13}}}));
  EXPECT_EQ(lexicon->value, (std::vector<size_t>{0, 1, 0}));
  const std::vector<Wording> &training = lexicon->wordings[0];
  ASSERT_EQ(training.size(), 2u);
  ASSERT_EQ(training[0].needle.size(), 3u);
  EXPECT_EQ(training[0].needle[2].slot, "value");
  EXPECT_EQ(lexicon->wordings[2].at(0).needle.at(0).tokens, Piece{42});
  EXPECT_EQ(lexicon->answerJoin, Piece{23});
  EXPECT_EQ(lexicon->breakAfter.size(), 50u);
  EXPECT_TRUE(lexicon->breakAfter[49]);
  EXPECT_FALSE(lexicon->breakAfter[48]);
}

TEST(Lexicon, RefusesWhatIsWrongByName) {
  auto with = [](const std::string &key, const std::string &value) {
    nlohmann::json json = validLexicon();
    if (key == "prefix" || key == "needle" || key == "lead") {
      json["wordings"]["selection"][0][key] = nlohmann::json::parse(value);
      return parseLexicon(json.dump(), "l.json").status();
    }
    if (value.empty())
      json.erase(key);
    else
      json[key] = nlohmann::json::parse(value);
    return parseLexicon(json.dump(), "l.json").status();
  };
  EXPECT_TRUE(refused(with("format", "\"other\""), "other"));
  EXPECT_TRUE(refused(with("version", "1"), "version 1"));
  EXPECT_TRUE(refused(with("vocabulary", "0"), "vocabulary"));
  EXPECT_TRUE(refused(with("vocabulary", "2147483647"), "must be from 1 to 16777216"));
  EXPECT_TRUE(refused(with("keys", "[" + std::string(60, '[') + std::string(60, ']') + "]"), "keys"));
  EXPECT_TRUE(refused(parseLexicon("{\"keys\": " + std::string(300'000, '['), "l.json").status(),
                      "l.json:1:73: nested deeper than 64 levels"));
  EXPECT_TRUE(refused(with("vocabulary", "30"), "40, which is no token id below"));
  EXPECT_TRUE(refused(with("keys", ""), "keys"));
  EXPECT_TRUE(refused(with("keys", "[]"), "keys"));
  EXPECT_TRUE(refused(with("keys", "[[]]"), "entry without tokens"));
  EXPECT_TRUE(refused(with("keys", "[[1], [2], [1]]"), "'keys' has the entry [1] twice"));
  EXPECT_TRUE(refused(with("alphabets", "[]"), "alphabets"));
  EXPECT_TRUE(refused(with("alphabets", "[[1]]"), "alphabets"));
  EXPECT_TRUE(refused(with("alphabets", "[{\"alphabets\": [[1]]}]"), "alphabets"));
  EXPECT_TRUE(refused(with("alphabets", "[[[-1]], [[1]]]"), "-1"));
  EXPECT_TRUE(refused(with("alphabets", "[[[1.5]], [[1]]]"), "1.5"));
  EXPECT_TRUE(refused(with("value", "[]"), "'value' must have 1 to"));
  EXPECT_TRUE(refused(with("value", "[2]"), "number of no alphabet"));
  EXPECT_TRUE(refused(with("value", "[-1]"), "number of no alphabet"));
  nlohmann::json longPiece = nlohmann::json::array();
  longPiece.push_back(std::vector<int64_t>(40000, 1));
  EXPECT_TRUE(refused(with("alphabets", nlohmann::json{longPiece, longPiece}.dump()), "more than 65536 tokens"));
  EXPECT_TRUE(refused(with("wordings", "{\"training\": []}"), "one or more for training"));
  EXPECT_TRUE(refused(with("wordings", "[]"), "wordings"));
  EXPECT_TRUE(refused(with("needle", "[]"), "needle"));
  EXPECT_TRUE(refused(with("needle", "[{\"slot\": \"source\"}]"), "'source'"));
  EXPECT_TRUE(refused(with("prefix", "[{\"slot\": \"key\"}]"), "'key'"));
  EXPECT_TRUE(refused(with("lead", "[[1]]"), "lead"));
  EXPECT_TRUE(refused(with("break_after", "[50]"), "break_after"));
  EXPECT_TRUE(refused(parseLexicon("[", "l.json").status(), "malformed JSON"));
  EXPECT_TRUE(refused(readLexicon("/nowhere/lexicon.json").status(), "/nowhere/lexicon.json"));
}

TEST(Lexicon, DamagedFilesAreRefusedOrReadWhole) {
  const std::string valid = validLexicon().dump();
  int read = 0;
  for (uint64_t index = 0; index < 3000; ++index) {
    Random random(1, "damage", index);
    std::string text = valid;
    for (int64_t changes = 1 + random.below(3); changes > 0; --changes) {
      int64_t at = random.below(static_cast<int64_t>(text.size()));
      switch (random.below(3)) {
      case 0:
        text[at] = static_cast<char>(random.below(256));
        break;
      case 1:
        text.erase(at, 1 + random.below(8));
        break;
      default:
        text.insert(at, 1, "[]{}\",:0-9e"[random.below(12)]);
      }
    }
    auto lexicon = parseLexicon(text, "l.json");
    if (!lexicon.ok()) {
      EXPECT_EQ(lexicon.status().code(), StatusCode::InvalidInput);
      continue;
    }
    ++read;
    std::vector<std::vector<Piece>> all = lexicon->alphabets;
    all.push_back(lexicon->keys);
    for (const std::vector<Piece> &pieces : all)
      for (const Piece &piece : pieces) {
        EXPECT_FALSE(piece.empty());
        for (int64_t id : piece) {
          EXPECT_GE(id, 0);
          EXPECT_LT(id, lexicon->vocabulary);
        }
      }
  }
  EXPECT_GT(read, 0);
}

TEST(Lexicon, TokenSpaceIsMadeOfRanges) {
  TaskSpec task = makeTask("t", TaskSpec::Kind::Mqar, 1);
  task.keyTokens = {10, 12};
  task.valueTokens = {20, 25};
  task.noiseTokens = {0, 3};
  auto lexicon = tokenLexicon(task, 25);
  ASSERT_TRUE(lexicon.ok()) << lexicon.status().message();
  EXPECT_EQ(lexicon->keys, (std::vector<Piece>{{10}, {11}}));
  ASSERT_EQ(lexicon->alphabets.size(), 1u);
  EXPECT_EQ(lexicon->alphabets[0].size(), 5u);
  EXPECT_EQ(lexicon->value, (std::vector<size_t>{0, 0}));
  EXPECT_EQ(lexicon->noiseEnd, 3);
  EXPECT_TRUE(refused(tokenLexicon(task, 24).status(), "value_tokens"));
  task.keyTokens = {12, 12};
  EXPECT_TRUE(refused(tokenLexicon(task, 25).status(), "key_tokens"));
  task.keyTokens = {};
  EXPECT_TRUE(refused(tokenLexicon(task, 25).status(), "'key_tokens' is missing"));
}

} // namespace
} // namespace morph
