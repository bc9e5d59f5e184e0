// SPDX-License-Identifier: Apache-2.0
// Requests that come and go get the tokens that each would get alone.

#include "runtime/serve/Scheduler.h"

#include "runtime/data/Random.h"
#include "test/serve/FakeModel.h"

#include <gmock/gmock.h>

#include <map>

namespace morph {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// What has happened to requests.
struct Record {
  std::vector<SampledToken> prompt; ///< That are scored.
  std::vector<int64_t> tokens;
  std::optional<GenerationEvent> end; ///< Finish or Error.
};

class SchedulerTest : public testing::Test {
protected:
  void begin(int64_t slots, int64_t context, int64_t prefixBytes = 0) {
    model = std::make_unique<FakeModel>(slots, context);
    scheduler = std::make_unique<Scheduler>(*model, prefixBytes, [this](const GenerationEvent &event) {
      Record &record = records[event.id];
      EXPECT_FALSE(record.end) << event.id << " is over";
      if (event.kind == GenerationEvent::Kind::PromptToken) {
        EXPECT_TRUE(record.tokens.empty()) << event.id;
        record.prompt.push_back(event.sample);
      } else if (event.kind == GenerationEvent::Kind::Token) {
        record.tokens.push_back(event.sample.token);
      } else {
        record.end = event;
      }
    });
  }
  void add(const std::string &id, std::vector<int64_t> tokens, int64_t count, int64_t end = -1, bool keeps = false) {
    GenerationRequest request;
    request.id = id;
    request.tokens = std::move(tokens);
    request.maxTokens = count;
    request.eos = {end};
    request.keepsEnd = keeps;
    scheduler->add(std::move(request));
  }
  void finish() {
    while (!scheduler->isIdle())
      ASSERT_TRUE(scheduler->turn().ok());
  }
  std::string errorOf(const std::string &id) {
    const auto &end = records[id].end;
    return end && end->kind == GenerationEvent::Kind::Error ? end->error.message() : "";
  }

  std::unique_ptr<FakeModel> model;
  std::unique_ptr<Scheduler> scheduler;
  std::map<std::string, Record> records;
};

TEST_F(SchedulerTest, SequencesGetWhatTheyGetAlone) {
  for (int64_t prefixBytes : {0, 3000, 1 << 30}) {
    records.clear();
    begin(/*slots=*/5, /*context=*/64, prefixBytes);
    Random random(3, "requests", 0);
    std::map<std::string, std::vector<int64_t>> expected;
    std::vector<std::string> cancelled;
    for (int round = 0; round < 400; ++round) {
      if (random.below(3) == 0 && expected.size() < 120) {
        // Prompts share beginnings, so that some of them are kept.
        std::vector<int64_t> tokens(static_cast<size_t>(1 + random.below(20)), random.below(2));
        for (int64_t more = random.below(6); more > 0; --more)
          tokens.push_back(random.below(FakeModel::kVocabulary));
        const int64_t count = 1 + random.below(30), end = random.below(FakeModel::kVocabulary);
        const std::string id = "r" + std::to_string(expected.size());
        expected[id] = FakeModel::generate(tokens, count, end);
        add(id, tokens, count, end, random.below(2) == 0);
      }
      if (random.below(12) == 0 && !expected.empty()) {
        const std::string id = "r" + std::to_string(random.below(static_cast<int64_t>(expected.size())));
        if (!records[id].end)
          cancelled.push_back(id);
        scheduler->cancel(id);
      }
      ASSERT_TRUE(scheduler->turn().ok());
      EXPECT_LE(scheduler->stats().cacheBytes, prefixBytes);
    }
    finish();
    int64_t cached = 0;
    for (const auto &[id, tokens] : expected) {
      const Record &record = records[id];
      ASSERT_TRUE(record.end) << id;
      if (record.end->reason == FinishReason::Cancelled)
        EXPECT_TRUE(std::equal(record.tokens.begin(), record.tokens.end(), tokens.begin())) << id;
      else
        EXPECT_EQ(record.tokens, tokens) << id;
      cached += record.end->cachedTokens;
    }
    EXPECT_FALSE(cancelled.empty());
    EXPECT_EQ(cached > 0, prefixBytes > 0);
    EXPECT_EQ(*std::max_element(model->batches.begin(), model->batches.end()), 5);
  }
}

TEST_F(SchedulerTest, EndsTellWhy) {
  begin(2, 32);
  const std::vector<int64_t> prompt = {1, 2, 3}, tokens = FakeModel::generate(prompt, 10);
  add("all", prompt, 10);
  add("end", prompt, 10, tokens[4]);
  add("one", prompt, 1);
  add("cut", prompt, 10);
  ASSERT_TRUE(scheduler->turn().ok());
  scheduler->cancel("cut");
  scheduler->cancel("cut"); // It is over.
  finish();
  EXPECT_EQ(records["all"].end->reason, FinishReason::Length);
  EXPECT_EQ(records["all"].end->tokens, 10);
  EXPECT_EQ(records["all"].end->promptTokens, 3);
  EXPECT_EQ(records["end"].end->reason, FinishReason::Stop);
  EXPECT_EQ(records["end"].tokens.back(), tokens[4]);
  EXPECT_EQ(records["one"].tokens, std::vector<int64_t>{tokens[0]});
  EXPECT_EQ(records["cut"].end->reason, FinishReason::Cancelled);
  EXPECT_TRUE(records["cut"].tokens.empty());
}

TEST_F(SchedulerTest, ALongPromptDoesNotHoldUpTheOthers) {
  begin(2, 100);
  add("short", {1}, 12);
  ASSERT_TRUE(scheduler->turn().ok());
  add("long", std::vector<int64_t>(40, 5), 3); // Ten chunks.
  for (int turn = 0; turn < 10; ++turn) {
    const size_t before = records["short"].tokens.size();
    ASSERT_TRUE(scheduler->turn().ok());
    EXPECT_EQ(records["short"].tokens.size(), before + 1);
  }
  EXPECT_GE(records["long"].tokens.size(), 1u);
  finish();
}

TEST_F(SchedulerTest, WhatTheModelCannotDoIsAnError) {
  begin(1, 16);
  add("empty", {}, 1);
  EXPECT_THAT(errorOf("empty"), HasSubstr("the prompt has no token"));
  add("outside", {1, FakeModel::kVocabulary}, 1);
  EXPECT_THAT(errorOf("outside"), HasSubstr("token 97 is none of the model's 97"));
  add("negative", {-1}, 1);
  EXPECT_THAT(errorOf("negative"), HasSubstr("token -1 is none"));
  add("none", {1}, 0);
  EXPECT_THAT(errorOf("none"), HasSubstr("max_tokens must be 1 or more, or 0 with prompt_logprobs"));
  add("long", std::vector<int64_t>(10, 1), 7);
  EXPECT_THAT(errorOf("long"), HasSubstr("has 10 tokens and asks for 7 more, a context has 16"));
  add("endless", {1}, INT64_MAX);
  EXPECT_THAT(errorOf("endless"), HasSubstr("a context has 16"));
  add("fits", std::vector<int64_t>(10, 1), 6);
  add("last", {1}, 1);
  finish();
  EXPECT_EQ(records["fits"].tokens.size(), 6u);
  EXPECT_EQ(scheduler->stats().requests, 2);
}

/// Whether a record has the scores of a prompt.
void expectScores(const Record &record, const std::vector<int64_t> &prompt, size_t likely) {
  ASSERT_EQ(record.prompt.size(), prompt.size() - 1);
  for (size_t i = 1; i < prompt.size(); ++i) {
    const SampledToken &score = record.prompt[i - 1];
    const std::vector<int64_t> before(prompt.begin(), prompt.begin() + static_cast<ptrdiff_t>(i));
    EXPECT_EQ(score.token, prompt[i]);
    EXPECT_EQ(score.logProbability, FakeModel::logProbability(before, prompt[i])) << i;
    ASSERT_EQ(score.likely.size(), likely);
    for (size_t token = 0; token < likely; ++token)
      EXPECT_EQ(score.likely[token].logProbability, FakeModel::logProbability(before, static_cast<int64_t>(token)));
  }
}

TEST_F(SchedulerTest, ScoresAPromptWhateverItsLength) {
  // Chunks have four tokens: prompts that end before, with and behind one, alone and among others.
  begin(3, 64, 1 << 20);
  std::map<std::string, std::vector<int64_t>> prompts;
  for (int64_t length : {1, 2, 3, 4, 5, 8, 9, 15})
    for (int64_t count : {0, 3}) {
      GenerationRequest request;
      request.id = std::to_string(length) + "+" + std::to_string(count);
      for (int64_t i = 0; i < length; ++i)
        request.tokens.push_back((i * i + 3) % 90);
      request.maxTokens = count;
      request.scoresPrompt = true;
      request.sampling.likely = 2;
      prompts[request.id] = request.tokens;
      scheduler->add(request);
    }
  add("other", {5, 6}, 9);
  finish();
  for (const auto &[id, prompt] : prompts) {
    SCOPED_TRACE(id);
    const int64_t count = id.back() - '0';
    expectScores(records[id], prompt, 2);
    EXPECT_EQ(records[id].tokens, FakeModel::generate(prompt, count));
    EXPECT_EQ(records[id].end->reason, FinishReason::Length);
    EXPECT_EQ(records[id].end->tokens, count);
  }
  EXPECT_EQ(records["other"].tokens, FakeModel::generate({5, 6}, 9));
  EXPECT_TRUE(records["other"].prompt.empty());
}

TEST_F(SchedulerTest, ScoresNeedNoKeptPrefixAndLeaveSome) {
  begin(1, 64, 1 << 20);
  const std::vector<int64_t> prompt(11, 3);
  auto ask = [&](const std::string &id, bool scores) {
    GenerationRequest request;
    request.id = id;
    request.tokens = prompt;
    request.maxTokens = 2;
    request.scoresPrompt = scores;
    scheduler->add(request);
    finish();
    EXPECT_EQ(records[id].tokens, FakeModel::generate(prompt, 2)) << id;
    return records[id].end->cachedTokens;
  };
  EXPECT_EQ(ask("first", true), 0);
  EXPECT_EQ(ask("kept", true), 0);
  expectScores(records["kept"], prompt, 0);
  EXPECT_EQ(ask("plain", false), 8);
  // A row of logits a chunk, where nobody asks for more: 11 and 11, and the last chunk's.
  EXPECT_EQ(model->logitRows, 11 + 11 + 1);
}

TEST_F(SchedulerTest, ScoresThatCannotBeAreTheirRequestsError) {
  begin(1, 64);
  GenerationRequest request;
  request.id = "broken";
  request.tokens = {1, 2, 3, 4, 5, FakeModel::kUnscorable, 6, 7, 8, 9};
  request.maxTokens = 2;
  request.scoresPrompt = true;
  scheduler->add(request);
  add("other", {5}, 8);
  finish();
  EXPECT_EQ(errorOf("broken"), "not finite");
  EXPECT_EQ(records["broken"].prompt.size(), 4u); // Of the first chunk.
  EXPECT_EQ(records["other"].tokens, FakeModel::generate({5}, 8));
}

TEST_F(SchedulerTest, AnIdIsTakenWhileItRuns) {
  std::vector<std::string> errors;
  FakeModel own(1, 16);
  Scheduler one(own, 0, [&](const GenerationEvent &event) {
    if (event.kind == GenerationEvent::Kind::Error)
      errors.push_back(event.error.message());
  });
  GenerationRequest request;
  request.id = "a";
  request.tokens = {1};
  request.maxTokens = 2;
  one.add(request);
  one.add(request);
  EXPECT_THAT(errors, ElementsAre("a request with this id is running"));
  while (!one.isIdle())
    ASSERT_TRUE(one.turn().ok());
  one.add(request);
  EXPECT_EQ(errors.size(), 1u);
}

TEST_F(SchedulerTest, OneRequestsLogitsAreItsOwnError) {
  begin(3, 32);
  GenerationRequest broken;
  broken.id = "broken";
  broken.tokens = {1, 2};
  broken.sampling.seed = FakeModel::kNotFinite;
  broken.maxTokens = 5;
  add("fine", {4}, 8);
  scheduler->add(broken);
  add("other", {5}, 8);
  finish();
  EXPECT_EQ(errorOf("broken"), "not finite");
  EXPECT_EQ(records["fine"].tokens, FakeModel::generate({4}, 8));
  EXPECT_EQ(records["other"].tokens, FakeModel::generate({5}, 8));
}

TEST_F(SchedulerTest, AFailingModelEndsAll) {
  begin(1, 32);
  model->failsAfter = 0;
  add("a", {1}, 3);
  EXPECT_EQ(scheduler->turn().message(), "the model fails");
}

TEST_F(SchedulerTest, KeptPrefixesAreNotComputedAgain) {
  begin(2, 100, 1 << 20);
  std::vector<int64_t> prompt(10, 3);
  add("first", prompt, 4, -1, /*keeps=*/true);
  finish();
  EXPECT_EQ(model->computed, 10);
  // The same again: all but what follows the last kept end of a chunk, for its last token gives the logits.
  add("same", prompt, 4);
  finish();
  EXPECT_EQ(records["same"].end->cachedTokens, 8);
  EXPECT_EQ(model->computed, 12);
  // A second turn: the answer's last token was never read.
  std::vector<int64_t> more = prompt;
  more.insert(more.end(), records["first"].tokens.begin(), records["first"].tokens.end());
  more.push_back(9);
  add("second", more, 4);
  finish();
  EXPECT_EQ(records["second"].end->cachedTokens, 13);
  EXPECT_EQ(records["second"].tokens, FakeModel::generate(more, 4));
  // What differs at the first token has nothing in common.
  std::vector<int64_t> other = prompt;
  other[0] = 4;
  add("other", other, 4);
  finish();
  EXPECT_EQ(records["other"].end->cachedTokens, 0);
}

TEST_F(SchedulerTest, WhatIsKeptEndsWhereAChunkEndsUnlessAskedFor) {
  for (bool keeps : {false, true}) {
    begin(2, 100, 1 << 20);
    std::vector<int64_t> prompt(10, 3);
    add("first", prompt, 4, -1, keeps);
    finish();
    prompt.push_back(5);
    add("longer", prompt, 4);
    finish();
    EXPECT_EQ(records["longer"].end->cachedTokens, keeps ? 10 : 8);
    records.clear();
  }
}

TEST_F(SchedulerTest, TheLeastRecentlyUsedPrefixGoesFirst) {
  // Room for two prompts of nine tokens: 100 and 8 bytes a token.
  begin(1, 100, 2 * 9 * 108);
  auto ask = [&](const std::string &id, int64_t token) {
    std::vector<int64_t> prompt(8, token);
    prompt.push_back(90);
    add(id, prompt, 1, -1, /*keeps=*/true);
    finish();
    return records[id].end->cachedTokens;
  };
  EXPECT_EQ(ask("a", 1), 0);
  EXPECT_EQ(ask("b", 2), 0);
  EXPECT_EQ(ask("a again", 1), 8);
  EXPECT_LE(scheduler->stats().cacheBytes, 2 * 9 * 108);
  EXPECT_EQ(ask("c", 3), 0);
  EXPECT_EQ(ask("c again", 3), 8);
  EXPECT_EQ(ask("b again", 2), 0);
}

} // namespace
} // namespace morph
