// SPDX-License-Identifier: Apache-2.0
// Sequences in slots of a decode plan: what each gets alone, wherever it lies.

#include "runtime/serve/SlotDecoder.h"

#include "runtime/serve/Scheduler.h"
#include "runtime/train/Inference.h"
#include "test/train/DecodePlan.h"

#include <gmock/gmock.h>

#include <cmath>
#include <map>

namespace morph {
namespace {

using testing::HasSubstr;
using Rows = SequenceModel::Rows;

/// Whose logits are of the rows that are asked for.
plan::Plan servePlan() { return decodePlan(/*window=*/4, /*positions=*/true); }

/// Greedy tokens by the decoder of whole batches, of one sequence alone.
std::vector<int64_t> generate(Executor &executor, const std::vector<int64_t> &prompt, int64_t count) {
  auto decoder = Decoder::create(executor, at::zeros({1}, at::kLong), static_cast<int64_t>(prompt.size()) + count);
  EXPECT_TRUE(decoder.ok());
  at::Tensor tokens = at::tensor(prompt, at::kLong).unsqueeze(0);
  const at::Tensor last = at::empty({1, 1}, at::kLong);
  std::vector<int64_t> generated;
  while (static_cast<int64_t>(generated.size()) < count) {
    auto logits = (*decoder)->append(tokens);
    EXPECT_TRUE(logits.ok());
    takeMostLikely(*logits, last);
    generated.push_back(*last.const_data_ptr<int64_t>());
    tokens = last;
  }
  return generated;
}

std::vector<int64_t> promptOf(int64_t number, int64_t length) {
  std::vector<int64_t> tokens;
  for (int64_t i = 0; i < length; ++i)
    tokens.push_back((number * 3 + i * i + i / 3) % 7);
  return tokens;
}

TEST(SlotDecoder, GivesWhatSequencesGetAlone) {
  for (int64_t chunk : {5, 64}) {
    auto executor = makeDecodeExecutor(servePlan(), Precision::F64),
         alone = makeDecodeExecutor(decodePlan(), Precision::F64);
    auto decoder = SlotDecoder::create(*executor, {/*slots=*/3, /*context=*/96, chunk});
    ASSERT_TRUE(decoder.ok()) << decoder.status().message();
    std::map<std::string, std::vector<int64_t>> tokens, expected;
    Scheduler scheduler(**decoder, /*prefixBytes=*/1 << 20, [&](const GenerationEvent &event) {
      if (event.kind == GenerationEvent::Kind::Token)
        tokens[event.id].push_back(event.sample.token);
      EXPECT_NE(event.kind, GenerationEvent::Kind::Error) << event.error.message();
    });
    for (int64_t number = 0; number < 9; ++number) {
      GenerationRequest request;
      request.id = std::to_string(number);
      request.tokens = promptOf(number % 4, 3 + 11 * number % 40);
      request.maxTokens = 4 + 7 * number % 50;
      request.keepsEnd = true;
      expected[request.id] = generate(*alone, request.tokens, request.maxTokens);
      scheduler.add(request);
    }
    while (!scheduler.isIdle())
      ASSERT_TRUE(scheduler.turn().ok());
    EXPECT_EQ(tokens, expected);
    EXPECT_GT(scheduler.stats().cachedTokens, 0);
  }
}

TEST(SlotDecoder, ASnapshotIsTheSequence) {
  auto executor = makeDecodeExecutor(servePlan(), Precision::F64);
  auto decoder = *SlotDecoder::create(*executor, {/*slots=*/2, /*context=*/600, /*chunk=*/512});
  const std::vector<int64_t> prompt = promptOf(1, 560), head(prompt.begin(), prompt.begin() + 512),
                             tail(prompt.begin() + 512, prompt.end());
  // The ring of the window has come round before the first snapshot ends and does again before the second.
  ASSERT_TRUE(decoder->prefill(0, 0, head, Rows::Last).ok());
  std::vector<std::shared_ptr<const StateSnapshot>> parts = {*decoder->save(0, 0, 512)};
  ASSERT_TRUE(decoder->prefill(0, 512, tail, Rows::Last).ok());
  parts.push_back(*decoder->save(0, 512, 560));
  const SampledToken expected = *decoder->sample(0, {}, 0);
  ASSERT_TRUE(decoder->step({560}, {expected.token}).ok());
  const SampledToken next = *decoder->sample(0, {}, 0);

  ASSERT_TRUE(decoder->restore(1, {parts[0]}).ok());
  ASSERT_TRUE(decoder->prefill(1, 512, tail, Rows::Last).ok());
  EXPECT_EQ(decoder->sample(0, {}, 0)->logProbability, expected.logProbability);
  ASSERT_TRUE(decoder->restore(0, parts).ok());
  ASSERT_TRUE(decoder->step({560}, {expected.token}).ok());
  EXPECT_EQ(decoder->sample(0, {}, 0)->logProbability, next.logProbability);
  // The second part has its own positions alone.
  EXPECT_LT(parts[1]->bytes(), parts[0]->bytes() / 5);
}

TEST(SlotDecoder, ScoresEveryTokenAsIfItWereTheLast) {
  auto executor = makeDecodeExecutor(servePlan(), Precision::F64);
  auto decoder = *SlotDecoder::create(*executor, {/*slots=*/2, /*context=*/40, /*chunk=*/16});
  const std::vector<int64_t> prompt = promptOf(2, 30), rest(prompt.begin() + 16, prompt.end());
  // In the second slot, behind a chunk: each row against the same tokens one by one in the first.
  ASSERT_TRUE(decoder->prefill(1, 0, {prompt.begin(), prompt.begin() + 16}, Rows::Last).ok());
  ASSERT_TRUE(decoder->prefill(1, 16, rest, Rows::All).ok());
  std::vector<int64_t> targets(rest.begin() + 1, rest.end());
  const std::vector<SampledToken> scores = *decoder->score(targets, 7);
  const SampledToken last = *decoder->sample(static_cast<int64_t>(rest.size()) - 1, {}, 0);
  ASSERT_EQ(scores.size(), targets.size());
  for (int64_t i = 0; i < 30; ++i) {
    ASSERT_TRUE(decoder->prefill(0, i, {prompt[static_cast<size_t>(i)]}, Rows::Last).ok());
    if (i < 16 || i == 29)
      continue;
    const auto row = static_cast<size_t>(i - 16);
    const SampledToken expected = decoder->score({targets[row]}, 7)->front();
    EXPECT_EQ(scores[row].token, targets[row]);
    EXPECT_NEAR(scores[row].logProbability, expected.logProbability, 1e-12) << i;
    ASSERT_EQ(scores[row].likely.size(), 7u);
    double sum = 0;
    for (size_t k = 0; k < 7; ++k) {
      EXPECT_EQ(scores[row].likely[k].token, expected.likely[k].token);
      sum += std::exp(scores[row].likely[k].logProbability);
    }
    EXPECT_NEAR(sum, 1, 1e-12);
  }
  EXPECT_NEAR(decoder->sample(0, {}, 0)->logProbability, last.logProbability, 1e-12);
}

TEST(SlotDecoder, RefusesSlotsThatDoNotFit) {
  auto executor = makeDecodeExecutor(servePlan());
  SlotDecoder::Sizes sizes{8, 1000, 512};
  sizes.memoryLimit = 3 * 2 * (1000 + 515) * 6 * 4; // Three.
  auto decoder = SlotDecoder::create(*executor, sizes);
  EXPECT_THAT(decoder.status().message(), HasSubstr("8 slots of 1000 positions take 1 MB, 1 MB are allowed"));
  EXPECT_THAT(decoder.status().hint(), HasSubstr("--slots 3 would fit"));
  EXPECT_EQ(decoder.status().exitCode(), 2);
  sizes.slots = 3;
  decoder = SlotDecoder::create(*executor, sizes);
  ASSERT_TRUE(decoder.ok()) << decoder.status().message();
  EXPECT_EQ((*decoder)->bytes(), sizes.memoryLimit);
  sizes = {int64_t(1) << 40, int64_t(1) << 40, 512};
  EXPECT_THAT(SlotDecoder::create(*executor, sizes).status().message(), HasSubstr("are free"));
}

TEST(SlotDecoder, WantsADecodePlan) {
  plan::Plan plan = servePlan();
  plan.outputs.erase(plan.outputs.end() - 1);
  EXPECT_THAT(SlotDecoder::create(*makeDecodeExecutor(plan), {}).status().message(), HasSubstr("no output 'logits'"));
  const Status status = SlotDecoder::create(*makeDecodeExecutor(decodePlan()), {}).status();
  EXPECT_THAT(status.message(), HasSubstr("no input 'positions'"));
  EXPECT_THAT(status.hint(), HasSubstr("positions=true"));
}

} // namespace
} // namespace morph
