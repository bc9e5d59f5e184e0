// SPDX-License-Identifier: Apache-2.0
// JSON from outside: whatever it holds, reading it ends in a value or in a short message with the place.

#include "runtime/base/Json.h"

#include <gtest/gtest.h>

namespace morph {
namespace {

std::string errorOf(const std::string &text) {
  auto json = parseJson(text, "a.json");
  return json.ok() ? "parsed" : json.status().message();
}

std::string nested(int levels, const std::string &open = "[", const std::string &close = "]") {
  std::string text;
  for (int i = 0; i < levels; ++i)
    text += open;
  for (int i = 0; i < levels; ++i)
    text += close;
  return text;
}

TEST(JsonTest, NestingIsLimited) {
  EXPECT_EQ(errorOf(nested(kMaximumJsonDepth)), "parsed");
  EXPECT_EQ(errorOf(nested(kMaximumJsonDepth + 1)), "a.json:1:65: nested deeper than 64 levels");
  EXPECT_EQ(errorOf("{\"a\":\n" + nested(200'000) + "}"), "a.json:2:64: nested deeper than 64 levels");
  EXPECT_EQ(errorOf(nested(3'000'000, "[\n")), "a.json:65:1: nested deeper than 64 levels");
  std::string objects = nested(100'000, "{\"a\":", "}");
  EXPECT_EQ(errorOf(objects), "a.json:1:321: nested deeper than 64 levels");
  EXPECT_EQ(errorOf("\"" + nested(1000) + "\""), "parsed"); // A string is not nesting.
}

TEST(JsonTest, ErrorsHaveTheirPlace) {
  EXPECT_EQ(errorOf("{\"a\": 1,\n \"b\": 2,\n \"a\": 3}").rfind("a.json:3:", 0), 0u);
  EXPECT_NE(errorOf("{\"a\": 1,\n \"a\": 3}").find("the member 'a' is given twice in one object"), std::string::npos);
  EXPECT_EQ(errorOf("{\"a\": {\"a\": 1}, \"b\": {\"a\": 1}}"), "parsed");
  // Behind an object within, the members are those of the outer one again.
  EXPECT_EQ(errorOf("{\"b\": {\"a\": 1}, \"a\": 1}"), "parsed");
  EXPECT_NE(errorOf("{\"a\": 1, \"b\": {}, \"a\": 2}").find("the member 'a' is given twice"), std::string::npos);
  EXPECT_EQ(errorOf("{\n  \"a\": nonsense}").rfind("a.json:2:9: malformed JSON: syntax error", 0), 0u)
      << errorOf("{\n  \"a\": nonsense}");
  EXPECT_EQ(errorOf("[1,\n 1e999]").rfind("a.json:2:7: malformed JSON: number overflow", 0), 0u)
      << errorOf("[1,\n 1e999]");
  EXPECT_EQ(errorOf("\xff\xfe").rfind("a.json:1:1: malformed JSON", 0), 0u);
  EXPECT_EQ(errorOf("").rfind("a.json:1:1: malformed JSON", 0), 0u);
  EXPECT_TRUE(parseJson<nlohmann::ordered_json>("{\"b\": 1, \"a\": 2}", "a.json")->dump() == "{\"b\":1,\"a\":2}");
}

TEST(JsonTest, ValuesInMessagesAreShort) {
  EXPECT_EQ(jsonExcerpt(*parseJson("{\"b\": [1, 2.5, null], \"a\": \"x\"}", "a")), "{\"a\":\"x\",\"b\":[1,2.5,null]}");
  Json wide = Json::array();
  for (int i = 0; i < 100'000; ++i)
    wide.push_back(i);
  EXPECT_LE(jsonExcerpt(wide).size(), 60u);
  EXPECT_NE(jsonExcerpt(wide).find("..."), std::string::npos);
  EXPECT_LE(jsonExcerpt(std::string(1 << 20, 'x')).size(), 60u);
  EXPECT_LE(jsonExcerpt(Json::object({{std::string(1 << 20, 'k'), 1}})).size(), 60u);
  // A value that no parser made: copies and dumps of it would recurse.
  Json deep;
  for (int i = 0; i < 300'000; ++i) {
    Json outer = Json::array();
    outer.push_back(std::move(deep));
    deep = std::move(outer);
  }
  EXPECT_LE(jsonExcerpt(deep).size(), 60u);
  EXPECT_EQ(jsonGet<int64_t>(deep, "a", "a.json").status().message(), "a.json: expected an object");
  Json object = Json::object();
  object["steps"] = std::move(deep);
  EXPECT_LT(jsonGet<int64_t>(object, "steps", "a.json").status().message().size(), 120u);
}

TEST(JsonTest, MessagesAreCutInTheirMiddle) {
  std::string name(1 << 20, 'n');
  EXPECT_LE(Status::failed(name).message().size(), kMaximumMessage);
  Status status = Status::invalid("file '" + name + "' is wrong").withContext(name);
  EXPECT_LE(status.message().size(), kMaximumMessage);
  EXPECT_EQ(status.message().substr(status.message().size() - 10), "' is wrong");
  std::string umlauts;
  for (int i = 0; i < 50; ++i)
    umlauts += "\xc3\xa4";
  for (size_t limit = 10; limit < 60; ++limit) {
    std::string cut = shortened(umlauts, limit);
    EXPECT_LE(cut.size(), limit);
    EXPECT_NO_THROW((void)Json(cut).dump()) << "half a character is left at " << limit;
  }
}

} // namespace
} // namespace morph
