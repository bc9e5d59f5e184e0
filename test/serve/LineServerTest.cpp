// SPDX-License-Identifier: Apache-2.0
#include "runtime/serve/LineServer.h"

#include "runtime/base/Json.h"
#include "test/serve/FakeModel.h"

#include <gmock/gmock.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <sstream>

namespace morph {
namespace {

using testing::HasSubstr;

struct Served {
  Status status;
  std::vector<Json> answers;
};

/// Serves lines to their end.
Served serve(const std::string &lines) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  EXPECT_EQ(::fcntl(ends[1], F_SETPIPE_SZ, 1 << 20), 1 << 20);
  EXPECT_EQ(::write(ends[1], lines.data(), lines.size()), static_cast<ssize_t>(lines.size()));
  ::close(ends[1]);
  char *text = nullptr;
  size_t size = 0;
  std::FILE *const output = open_memstream(&text, &size);
  FakeModel model(2, 64);
  Served served{serveLines(model, 1 << 20, 123, ends[0], output), {}};
  std::fclose(output);
  std::istringstream stream(std::string(text, size));
  for (std::string line; std::getline(stream, line);)
    served.answers.push_back(Json::parse(line));
  std::free(text);
  // The input stays open: a server that has ended by an error leaves its reading thread behind.
  return served;
}

TEST(LineServer, AnswersRequestsAndSaysWhatThereIs) {
  const Served served = serve(R"({"id": "a", "tokens": [1, 2], "max_tokens": 3}
{"id": "b", "tokens": [3], "max_tokens": 2, "temperature": 0.5, "top_p": 0.9, "seed": 4, "eos": [], "keep_end": true}

{"cancel": "nobody"})"); // The last line without its end.
  EXPECT_TRUE(served.status.ok()) << served.status.message();
  ASSERT_EQ(served.answers.size(), 1 + 4 + 3u);
  EXPECT_EQ(served.answers[0],
            Json::parse(R"({"ready": {"slots": 2, "context": 64, "vocabulary": 97, "slot_bytes": 123}})"));
  std::vector<int64_t> tokens;
  Json end;
  for (const Json &answer : served.answers)
    if (answer.contains("id") && answer["id"] == "a") {
      if (answer.contains("token")) {
        // With its logarithm alone; the first one says what was kept of the prompt.
        EXPECT_EQ(answer.size(), tokens.empty() ? 4u : 3u) << answer.dump();
        EXPECT_EQ(answer.value("cached_tokens", -1), tokens.empty() ? 0 : -1);
        tokens.push_back(answer["token"]);
      } else {
        end = answer;
      }
    }
  EXPECT_EQ(tokens, FakeModel::generate({1, 2}, 3));
  EXPECT_EQ(end,
            Json::parse(R"({"id": "a", "finish": "length", "prompt_tokens": 2, "cached_tokens": 0, "tokens": 3})"));
}

TEST(LineServer, TellsHowLikelyTokensAreWhereAskedFor) {
  const Served served = serve(
      R"({"id": "a", "tokens": [1, 2, 3], "max_tokens": 1, "top_logprobs": 2, "prompt_logprobs": true}
{"id": "b", "tokens": [1, 2], "max_tokens": 0, "prompt_logprobs": true}
)");
  EXPECT_TRUE(served.status.ok()) << served.status.message();
  auto score = [](const char *member, const std::vector<int64_t> &before, int64_t token) {
    Json line = {{"id", "a"}, {member, token}, {"logprob", FakeModel::logProbability(before, token)}};
    for (int64_t i = 0; i < 2; ++i)
      line["top"].push_back(Json::array({i, FakeModel::logProbability(before, i)}));
    return line;
  };
  ASSERT_EQ(served.answers.size(), 1 + 4 + 2u);
  Json first = score("prompt_token", {1}, 2);
  first["cached_tokens"] = 0;
  EXPECT_EQ(served.answers[1], first);
  EXPECT_EQ(served.answers[2], score("prompt_token", {1, 2}, 3));
  EXPECT_EQ(served.answers[3], score("token", {1, 2, 3}, FakeModel::next({1, 2, 3})));
  EXPECT_EQ(served.answers[4]["finish"], "length");
  // Nothing beside what is asked for.
  EXPECT_EQ(
      served.answers[5],
      Json({{"id", "b"}, {"prompt_token", 2}, {"logprob", FakeModel::logProbability({1}, 2)}, {"cached_tokens", 0}}));
  EXPECT_EQ(served.answers[6]["tokens"], 0);
}

TEST(LineServer, TheFirstTokenTellsWhatWasKept) {
  // Longer than two chunks of four tokens.
  const std::string request = R"("tokens": [1, 2, 3, 4, 5, 6, 7, 8, 9], "max_tokens": 2})";
  const Served served = serve(R"({"id": "a", )" + request + "\n" + R"({"id": "b", )" + request + "\n");
  std::vector<Json> told;
  for (const Json &answer : served.answers)
    if (answer.contains("token") && answer["id"] == "b")
      told.push_back(answer);
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[0].value("cached_tokens", -1), 8);
  EXPECT_FALSE(told[1].contains("cached_tokens"));
}

TEST(LineServer, TellsItsCounts) {
  const Served served = serve("{\"id\": \"a\", \"tokens\": [1, 2], \"max_tokens\": 3}\n{\"stats\": true}\n");
  ASSERT_GE(served.answers.size(), 2u);
  const Json stats = served.answers[1].value("stats", Json::object());
  EXPECT_EQ(stats.value("queued", -1), 1) << served.answers[1].dump();
  EXPECT_EQ(stats.value("requests", -1), 1);
}

TEST(LineServer, WhatIsWrongInARequestIsThatRequestsError) {
  for (const auto &[members, message] : std::vector<std::pair<std::string, std::string>>{
           {R"("x": 1)", "the member 'tokens' is missing"},
           {R"("tokens": "text")", "'tokens' must be an array"},
           {R"("tokens": [1.5])", "'tokens' must be an array"},
           {R"("tokens": [])", "the prompt has no token"},
           {R"("tokens": [1], "max_tokens": "9")", "'max_tokens' must be an integer"},
           {R"("tokens": [1], "temperature": -1)", "temperature -1"},
           {R"("tokens": [1], "top_p": 0)", "top_p 0"},
           {R"("tokens": [1], "top_logprobs": 21)", "top_logprobs 21 is not from 0 to 20"},
           {R"("tokens": [1], "prompt_logprobs": 1)", "'prompt_logprobs' must be a boolean"},
           {R"("tokens": [1], "eos": [true])", "'eos' must be an array"}}) {
    const Served served =
        serve("{\"id\": \"a\", " + members + "}\n{\"id\": \"b\", \"tokens\": [1], \"max_tokens\": 1}\n");
    EXPECT_TRUE(served.status.ok()) << served.status.message();
    ASSERT_EQ(served.answers.size(), 4u) << members;
    EXPECT_EQ(served.answers[1]["id"], "a");
    EXPECT_THAT(served.answers[1]["error"].get<std::string>(), HasSubstr(message));
    EXPECT_EQ(served.answers[1]["kind"], "invalid");
    EXPECT_EQ(served.answers[2]["id"], "b");
  }
}

TEST(LineServer, WhatTheModelCannotIsNoFaultOfTheRequest) {
  const Served served = serve(R"({"id": "a", "tokens": [1], "max_tokens": 1, "seed": 666}
{"id": "b", "tokens": [1, 96], "max_tokens": 1, "prompt_logprobs": true}
)"); // FakeModel's kNotFinite, kUnscorable.
  EXPECT_TRUE(served.status.ok()) << served.status.message();
  ASSERT_EQ(served.answers.size(), 3u);
  for (const char *id : {"a", "b"})
    EXPECT_EQ(served.answers[id[0] == 'a' ? 1 : 2],
              Json({{"id", id}, {"error", "not finite"}, {"hint", ""}, {"kind", "failed"}}));
}

TEST(LineServer, WhatIsNobodysErrorEndsIt) {
  for (const auto &[line, message] : std::vector<std::pair<std::string, std::string>>{
           {"{", "malformed JSON"},
           {"[]", "expected an object"},
           {R"({"tokens": [1]})", "the member 'id' is missing"},
           {R"({"id": 7, "tokens": [1]})", "'id' must be a string"},
           {R"({"id": "", "tokens": [1]})", "'id' must have 1 to 128 bytes"},
           {"{\"id\": \"" + std::string(129, 'x') + "\", \"tokens\": [1]}", "'id' must have 1 to 128 bytes"},
           {R"({"cancel": []})", "'cancel' must be a string"},
           {std::string(200, '['), "nested deeper than 64"}}) {
    const Served served = serve(line + "\n");
    EXPECT_EQ(served.status.exitCode(), 2) << line;
    EXPECT_THAT(served.status.message(), HasSubstr(message));
  }
}

TEST(LineServer, EndsWhenNobodyReads) {
  int ends[2], answers[2];
  ASSERT_EQ(::pipe(ends), 0);
  ASSERT_EQ(::pipe(answers), 0);
  ::close(answers[0]);
  std::signal(SIGPIPE, SIG_IGN);
  std::FILE *const output = ::fdopen(answers[1], "w");
  FakeModel model(2, 64);
  // The input stays open.
  EXPECT_TRUE(serveLines(model, 0, 0, ends[0], output).ok());
  std::fclose(output);
  ::close(ends[1]);
}

} // namespace
} // namespace morph
