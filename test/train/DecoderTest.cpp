// SPDX-License-Identifier: Apache-2.0
// What a decoder holds between calls, and that it gives the same whatever it holds.

#include "runtime/exec/HeldMemory.h"
#include "runtime/kernels/SmallProducts.h"
#include "runtime/plan/Cost.h"
#include "runtime/plan/Rings.h"
#include "runtime/train/Inference.h"
#include "test/plan/WithBf16.h"
#include "test/train/DecodePlan.h"

namespace morph {
namespace {

using plan::Dim;

at::Tensor tokensFrom(int64_t begin, int64_t end) {
  return at::stack({at::arange(begin, end).remainder(7), at::arange(begin, end).mul(3).remainder(7)});
}

/// Logits after sequences of `lengths` tokens are appended one after the other, two rows with padding.
at::Tensor decode(Executor &executor, const std::vector<int64_t> &lengths, int64_t positions) {
  auto decoder = Decoder::create(executor, at::tensor({0, 3}, at::kLong), positions);
  EXPECT_TRUE(decoder.ok()) << decoder.status().message();
  int64_t begin = 0;
  at::Tensor logits;
  for (int64_t length : lengths) {
    auto appended = (*decoder)->append(tokensFrom(begin, begin + length));
    EXPECT_TRUE(appended.ok()) << appended.status().message();
    logits = *appended;
    begin += length;
  }
  return logits.clone();
}

TEST(Decoder, HoldsWhatTheEstimateSays) {
  for (bool half : {false, true}) {
    const plan::Plan plan = half ? withBf16(decodePlan()) : decodePlan();
    auto executor = makeDecodeExecutor(plan);
    for (int64_t positions : {4, 27, 1000}) {
      auto decoder = Decoder::create(*executor, at::zeros({1}, at::kLong), positions);
      ASSERT_TRUE(decoder.ok()) << decoder.status().message();
      EXPECT_EQ(static_cast<double>((*decoder)->cacheBytes()), plan::cacheBytes(plan, positions));
      const int64_t windowed = std::min<int64_t>(positions, 4 + plan::kPrefillChunk - 1);
      EXPECT_EQ((*decoder)->cacheBytes(), 2 * (positions + windowed) * 6 * (half ? 2 : 4));
    }
  }
}

TEST(Decoder, GivesTheSameHoweverTokensCome) {
  // Longer than a chunk, so that rings of the window have come round several times.
  const int64_t length = 3 * plan::kPrefillChunk + 5;
  auto executor = makeDecodeExecutor(decodePlan(), Precision::F64);
  const at::Tensor expected = decode(*executor, {length}, length);
  // Rings of doubling size, of one that is known, and of more than is needed.
  EXPECT_LT((decode(*executor, {length - 3, 1, 1, 1}, 0) - expected).abs().max().item<double>(), 1e-12);
  EXPECT_LT((decode(*executor, {1, 4, 300, length - 305}, 0) - expected).abs().max().item<double>(), 1e-12);
  EXPECT_LT((decode(*executor, {7, length - 7}, 2 * length) - expected).abs().max().item<double>(), 1e-12);
  EXPECT_LT((decode(*executor, std::vector<int64_t>(static_cast<size_t>(length), 1), 0) - expected)
                .abs()
                .max()
                .item<double>(),
            1e-12);
  // And what one run with rings that hold all positions gives.
  NamedTensors inputs = {{"tokens", tokensFrom(0, length)},
                         {"start", at::tensor({0, 3}, at::kLong)},
                         {"offset", at::zeros({2}, at::kLong)}};
  for (const char *name : {"cache.0.k", "cache.0.v", "cache.1.k", "cache.1.v"})
    inputs[name] = at::zeros({2, length, 2, 3}, at::kDouble);
  auto outputs = executor->run(inputs);
  ASSERT_TRUE(outputs.ok()) << outputs.status().message();
  EXPECT_LT((outputs->at("logits") - expected).abs().max().item<double>(), 1e-12);
}

TEST(Decoder, RingsOfBf16GiveTheSameHoweverTokensCome) {
  const int64_t length = plan::kPrefillChunk + 70;
  auto executor = makeDecodeExecutor(withBf16(decodePlan()));
  const at::Tensor expected = decode(*executor, {length}, length);
  // Keys and values are rounded before the first query sees them, so that nothing but the order of sums differs; and,
  // where bf16 products are fast, the shares that several queries at once multiply with values.
  const double tolerance = multipliesBf16() ? 4e-3 : 1e-5;
  for (const std::vector<int64_t> &lengths : {std::vector<int64_t>{length - 3, 1, 1, 1}, {1, 4, 300, length - 305}})
    EXPECT_LT((decode(*executor, lengths, 0) - expected).abs().max().item<double>(), tolerance);
  const double rounding =
      (decode(*makeDecodeExecutor(decodePlan()), {length}, length) - expected).abs().max().item<double>();
  EXPECT_GT(rounding, 1e-5);
  EXPECT_LT(rounding, 2e-2);
}

TEST(Decoder, AllocatesNothingForAToken) {
  countHeldMemory();
  auto executor = makeDecodeExecutor(decodePlan()); // Without ops that the compiler makes kernels of.
  auto decoder = *Decoder::create(*executor, at::zeros({1}, at::kLong), 20);
  const at::Tensor token = at::ones({1, 1}, at::kLong);
  ASSERT_TRUE(decoder->append(token).ok());
  const int64_t before = allocationCount();
  for (int i = 0; i < 10; ++i)
    ASSERT_TRUE(decoder->append(token).ok());
  EXPECT_EQ(allocationCount(), before);
}

TEST(Decoder, WantsCachesThatAreUpdated) {
  plan::Plan plan = decodePlan();
  plan.inputs.push_back({"cache.2.state", static_cast<int64_t>(plan.values.size())});
  plan.values.push_back({{Dim(std::string("B")), Dim(int64_t(3))}, plan::DType::F32});
  auto decoder = Decoder::create(*makeDecodeExecutor(plan), at::zeros({1}, at::kLong));
  EXPECT_EQ(decoder.status().message(), "the plan 'decode' does not update its cache 'cache.2.state'");
}

} // namespace
} // namespace morph
