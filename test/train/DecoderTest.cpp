// SPDX-License-Identifier: Apache-2.0
// What a decoder holds between calls is what the plan's estimate says.

#include "runtime/plan/Cost.h"
#include "runtime/train/Inference.h"
#include "test/plan/PlanBuilder.h"
#include "test/plan/WithBf16.h"

namespace morph {
namespace {

using plan::Dim;

/// Decoding of one layer of attention in a window, without projections: embeddings are queries, keys and values of two
/// heads of three. Its head's weight is the embedding's table.
plan::Plan decodePlan() {
  PlanBuilder b("decode");
  const Dim batch = std::string("B"), length = std::string("T"), past = std::string("S"), two = int64_t(2),
            three = int64_t(3);
  const int64_t tokens = b.input("tokens", {batch, length}, plan::DType::I64);
  const int64_t start = b.input("start", {batch}, plan::DType::I64);
  const int64_t keys = b.input("cache.0.key", {batch, past, two, three});
  const int64_t values = b.input("cache.0.value", {batch, past, two, three});
  const int64_t table = b.weight("embed.weight", {7, 6});
  const int64_t x = b.op("split_heads", {b.op("embedding", {tokens, table})}, {{"heads", int64_t(2)}});
  const int64_t allKeys = b.op("concat", {keys, x}), allValues = b.op("concat", {values, x});
  const int64_t y = b.op("attention", {x, allKeys, allValues, start}, {{"scale", 1.0}, {"window", int64_t(4)}});
  const int64_t last = b.op("last_rows", {b.op("merge_heads", {y})});
  b.output("logits", b.op("linear", {last, table, -1}));
  b.output("next.0.key", allKeys);
  b.output("next.0.value", allValues);
  return b.plan;
}

TEST(Decoder, HoldsWhatTheEstimateSays) {
  for (bool half : {false, true}) {
    const WeightStore store = WeightStore::inMemory({{"embed.weight", at::ones({7, 6})}});
    auto executor = Executor::create(half ? withBf16(decodePlan()) : decodePlan(), store, Precision::F32, 0);
    ASSERT_TRUE(executor.ok()) << executor.status().message();
    auto decoder = Decoder::create(**executor, at::zeros({1}, at::kLong));
    ASSERT_TRUE(decoder.ok()) << decoder.status().message();
    int64_t context = 0;
    for (int64_t length : {5, 1, 1, 20}) {
      const auto logits = (*decoder)->append(at::ones({1, length}, at::kLong));
      ASSERT_TRUE(logits.ok()) << logits.status().message();
      context += length;
      EXPECT_EQ(static_cast<double>((*decoder)->cacheBytes()), plan::cacheBytes(decodePlan(), context));
      EXPECT_EQ((*decoder)->cacheBytes(), 2 * context * 6 * 4);
    }
  }
}

} // namespace
} // namespace morph
