// SPDX-License-Identifier: Apache-2.0
// The scratch that is planned for a window of documents is enough for each of them alone, and no more than the one that
// takes the most.

#include "runtime/plan/Scratch.h"
#include "test/plan/PlanBuilder.h"

#include <algorithm>

namespace morph {
namespace {

using plan::Dim;

/// Heads of real models: query and key-value heads, and their dimension.
struct Heads {
  const char *model;
  int64_t heads, groups, width;
};
constexpr Heads kModels[] = {{"SmolLM2-135M", 9, 3, 64},  {"Qwen2-0.5B", 14, 2, 64},  {"SmolLM2-360M", 15, 5, 64},
                             {"Gemma-3-270M", 4, 1, 256}, {"Llama-3-8B", 32, 8, 128}, {"OLMo-2-1B", 16, 16, 128}};

struct Form {
  const char *name, *op;
  bool isHalf = false; ///< Factors are bf16.
  bool keeps = false;  ///< Of attention_grad: the forward has left its sums.
  bool isWide = false; ///< In double.
  /// Of linear attention: decays of channels and a normaliser; else the delta rule.
  bool hasChannels = false;
};
constexpr Form kForms[] = {{"Attention", "attention"},
                           {"AttentionHalf", "attention", true},
                           {"AttentionWide", "attention", false, false, true},
                           {"AttentionGrad", "attention_grad"},
                           {"AttentionGradHalf", "attention_grad", true},
                           {"AttentionGradKept", "attention_grad", false, true},
                           {"Linear", "linear_attention"},
                           {"LinearHalf", "linear_attention", true},
                           {"LinearChannels", "linear_attention", false, false, false, true},
                           {"LinearGrad", "linear_attention_grad"},
                           {"LinearGradHalf", "linear_attention_grad", true},
                           {"LinearGradChannels", "linear_attention_grad", false, false, false, true}};

/// The op on [B,T], with the begins of documents or without.
plan::Plan planOf(const Form &form, const Heads &model, bool separates) {
  PlanBuilder b;
  const Dim batch = std::string("B"), length = std::string("T"), heads = model.heads, groups = model.groups,
            width = model.width;
  const plan::DType type = form.isHalf ? plan::DType::BF16 : plan::DType::F32;
  const std::string op = form.op;
  const bool isLinear = op.rfind("linear", 0) == 0, isGradient = op.find("_grad") != std::string::npos;
  std::vector<int64_t> operands;
  std::map<std::string, plan::Attribute> attributes = {{"scale", 0.5}};
  if (isGradient)
    operands.push_back(b.input("dy", {batch, length, heads, width}, type));
  if (isLinear) {
    attributes["chunk"] = int64_t(64);
    if (isGradient)
      operands.insert(operands.end(), {-1, -1});
    operands.push_back(b.input("q", {batch, length, groups, width}, type));
    operands.push_back(b.input("k", {batch, length, groups, width}, type));
    operands.push_back(b.input("v", {batch, length, heads, width}, type));
    const int64_t channels = form.hasChannels ? b.input("channels", {batch, length, heads, width}) : -1,
                  decay = form.hasChannels ? -1 : b.input("decay", {batch, length, heads}),
                  beta = form.hasChannels ? -1 : b.input("beta", {batch, length, heads});
    operands.insert(operands.end(), {-1, decay, channels, beta, -1, -1, -1, -1});
    if (form.hasChannels)
      attributes["normaliser"] = 1.0;
  } else {
    operands.push_back(b.input("q", {batch, length, heads, width}, type));
    operands.push_back(b.input("k", {batch, length, groups, width}, type));
    operands.push_back(b.input("v", {batch, length, groups, width}, type));
    operands.push_back(-1);
    if (!isGradient)
      operands.push_back(-1);
    else if (form.keeps)
      operands.insert(operands.end(),
                      {b.input("out", {batch, length, heads, width}), b.input("lse", {batch, heads, length})});
    else
      operands.insert(operands.end(), {-1, -1});
  }
  operands.push_back(separates ? b.input("begins", {batch, length}, plan::DType::I64) : -1);
  b.ops(op, operands, attributes);
  return b.plan;
}

int64_t bytesOf(const plan::Plan &plan, int64_t batch, int64_t length, const plan::RunMode &mode) {
  const auto shapes = plan::resolveShapes(plan, {{"B", batch}, {"T", length}});
  EXPECT_TRUE(shapes.ok()) << shapes.status().message();
  return plan::scratchBytes(plan, plan.instructions.back(), *shapes, mode);
}

class DocumentScratch : public testing::TestWithParam<Form> {};

TEST_P(DocumentScratch, IsEnoughForEachDocumentAlone) {
  // All lengths of some blocks of queries and of chunks; beyond, some of them, up to where heads' sums are too many.
  constexpr int64_t all = 200, longest = 30000;
  const std::vector<int64_t> windows = {1, 8, 64, 65, all, 600, 2731, 6000, longest};
  std::vector<int64_t> lengths;
  for (int64_t length = 1; length <= longest; length += length < all ? 1 : length < 6000 ? 59 : 997)
    lengths.push_back(length);
  lengths.insert(lengths.end(), windows.begin(), windows.end());
  std::sort(lengths.begin(), lengths.end());
  for (const Heads &model : kModels) {
    const plan::Plan packed = planOf(GetParam(), model, true), alone = planOf(GetParam(), model, false);
    for (int64_t threads : {1, 2, 3, 8, 16, 64}) {
      const plan::RunMode mode{GetParam().isWide, threads};
      size_t next = 0;
      int64_t most = 0, mostAt = 0;
      for (int64_t window : windows) {
        for (; next < lengths.size() && lengths[next] <= window; ++next)
          if (const int64_t bytes = bytesOf(alone, 1, lengths[next], mode); bytes > most) {
            most = bytes;
            mostAt = lengths[next];
          }
        for (int64_t batch : {1, 2, 3, 8}) {
          SCOPED_TRACE(testing::Message() << model.model << ", " << threads << " threads, " << batch << " x " << window
                                          << ", a document of " << mostAt);
          const int64_t planned = bytesOf(packed, batch, window, mode);
          EXPECT_GE(planned, most);
          if (window <= all) {
            EXPECT_EQ(planned, std::max(most, bytesOf(alone, batch, window, mode)));
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ops, DocumentScratch, testing::ValuesIn(kForms),
                         [](const auto &info) { return std::string(info.param.name); });

} // namespace
} // namespace morph
