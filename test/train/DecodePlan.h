// SPDX-License-Identifier: Apache-2.0
// A small decode plan without a compiler.

#ifndef MORPH_TEST_TRAIN_DECODEPLAN_H
#define MORPH_TEST_TRAIN_DECODEPLAN_H

#include "runtime/exec/Executor.h"
#include "test/plan/PlanBuilder.h"

#include <gtest/gtest.h>

namespace morph {

/// Decoding of two layers of attention, one in a window, without projections: embeddings are queries, keys and values
/// of two heads of three. The head's weight is the embedding's table. Logits are of each row's last token, or with
/// `positions` of those that this input names.
inline plan::Plan decodePlan(int64_t window = 4, bool positions = false) {
  PlanBuilder b("decode");
  b.plan.ropeTables["rope"] = {{0.7}, 1};
  using plan::Dim;
  const Dim batch = std::string("B"), length = std::string("T"), two = int64_t(2), three = int64_t(3);
  const int64_t tokens = b.input("tokens", {batch, length}, plan::DType::I64);
  const int64_t start = b.input("start", {batch}, plan::DType::I64),
                offset = b.input("offset", {batch}, plan::DType::I64);
  const int64_t table = b.weight("embed.weight", {7, 6});
  int64_t x = b.op("split_heads", {b.op("embedding", {tokens, table})}, {{"heads", int64_t(2)}});
  for (int64_t layer : {0, 1}) {
    const Dim slots = layer == 0 ? "S" : "S" + std::to_string(window);
    std::map<std::string, plan::Attribute> how = {{"scale", 1.0}};
    if (layer == 1)
      how["window"] = window;
    auto write = [&](const std::string &name) {
      const std::string state = std::to_string(layer) + "." + name;
      const int64_t next = b.op("cache_write", {b.input("cache." + state, {batch, slots, two, three}), x, offset});
      b.output("next." + state, next);
      return next;
    };
    x = b.op("rope", {x, offset}, {{"table", std::string("rope")}});
    const int64_t keys = write("k"), values = write("v");
    x = b.op("attention", {x, keys, values, start, offset}, how);
  }
  x = b.op("merge_heads", {x});
  x = positions ? b.op("take_rows", {x, b.input("positions", {std::string("N")}, plan::DType::I64)})
                : b.op("last_rows", {x});
  b.output("logits", b.op("linear", {x, table, -1}));
  return b.plan;
}

inline std::unique_ptr<Executor> makeDecodeExecutor(plan::Plan plan, Precision precision = Precision::F32) {
  const WeightStore store = WeightStore::inMemory({{"embed.weight", at::arange(42).view({7, 6}).sin() / 2}});
  auto executor = Executor::create(std::move(plan), store, precision, 0);
  EXPECT_TRUE(executor.ok()) << executor.status().message();
  return std::move(*executor);
}

} // namespace morph

#endif // MORPH_TEST_TRAIN_DECODEPLAN_H
