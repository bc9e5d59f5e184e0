// SPDX-License-Identifier: Apache-2.0
// Sequences in slots of a decode plan: what each gets alone, wherever it lies.

#include "runtime/serve/SlotDecoder.h"

#include "runtime/serve/Scheduler.h"
#include "runtime/train/Inference.h"
#include "test/train/DecodePlan.h"

#include <gmock/gmock.h>

#include <map>

namespace morph {
namespace {

using testing::HasSubstr;

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
    auto executor = makeDecodeExecutor(decodePlan(), Precision::F64),
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
  auto executor = makeDecodeExecutor(decodePlan(), Precision::F64);
  auto decoder = *SlotDecoder::create(*executor, {/*slots=*/2, /*context=*/600, /*chunk=*/512});
  const std::vector<int64_t> prompt = promptOf(1, 560), head(prompt.begin(), prompt.begin() + 512),
                             tail(prompt.begin() + 512, prompt.end());
  // The ring of the window has come round before the first snapshot ends and does again before the second.
  ASSERT_TRUE(decoder->prefill(0, 0, head).ok());
  std::vector<std::shared_ptr<const StateSnapshot>> parts = {*decoder->save(0, 0, 512)};
  ASSERT_TRUE(decoder->prefill(0, 512, tail).ok());
  parts.push_back(*decoder->save(0, 512, 560));
  const SampledToken expected = *decoder->sample(0, {}, 0);
  ASSERT_TRUE(decoder->step({560}, {expected.token}).ok());
  const SampledToken next = *decoder->sample(0, {}, 0);

  ASSERT_TRUE(decoder->restore(1, {parts[0]}).ok());
  ASSERT_TRUE(decoder->prefill(1, 512, tail).ok());
  EXPECT_EQ(decoder->sample(0, {}, 0)->logProbability, expected.logProbability);
  ASSERT_TRUE(decoder->restore(0, parts).ok());
  ASSERT_TRUE(decoder->step({560}, {expected.token}).ok());
  EXPECT_EQ(decoder->sample(0, {}, 0)->logProbability, next.logProbability);
  // The second part has its own positions alone.
  EXPECT_LT(parts[1]->bytes(), parts[0]->bytes() / 5);
}

TEST(SlotDecoder, RefusesSlotsThatDoNotFit) {
  auto executor = makeDecodeExecutor(decodePlan());
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
  plan::Plan plan = decodePlan();
  plan.outputs.erase(plan.outputs.end() - 1);
  EXPECT_THAT(SlotDecoder::create(*makeDecodeExecutor(plan), {}).status().message(), HasSubstr("no output 'logits'"));
}

} // namespace
} // namespace morph
