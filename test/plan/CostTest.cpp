// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/Cost.h"
#include "runtime/plan/Rings.h"
#include "runtime/plan/Scratch.h"
#include "test/plan/PlanBuilder.h"

namespace morph {
namespace {

using plan::Dim;

TEST(CostTest, CountsProductsWeightsAndTrainables) {
  auto cost = plan::estimateCost(smallTrainingPlan(), {{"B", 2}, {"T", 8}, {"N", 4}});
  ASSERT_TRUE(cost.ok()) << cost.status().message();
  // Of these, products: forward 16 rows of 6x6 and 4 of 11x6; backward the head's input, the matrix by weight and
  // input.
  const double products = 2.0 * (16 * 36 + 4 * 66 + 4 * 66 + 16 * 36 + 16 * 36);
  EXPECT_GT(cost->flops, products);
  EXPECT_LT(cost->flops, 2 * products);
  EXPECT_EQ(cost->boundBytes, 4 * (66 + 6 + 36 + 66));
  EXPECT_EQ(cost->trainable, 6 + 36);
}

TEST(CostTest, PeakFollowsTheLastUses) {
  PlanBuilder b;
  int64_t x = b.input("x", {Dim(std::string("N"))});
  for (int i = 0; i < 10; ++i)
    x = b.op("exp", {x});
  b.output("y", x);
  auto cost = plan::estimateCost(b.plan, {{"N", 100}});
  ASSERT_TRUE(cost.ok());
  EXPECT_EQ(cost->inputBytes + cost->arenaBytes, 4 * 100 + 448); // In place in one value of whole cache lines.
}

TEST(CostTest, AttentionCountsCausalPairsAndTheWindow) {
  auto flops = [](std::map<std::string, plan::Attribute> attributes) {
    PlanBuilder b;
    std::vector<Dim> shape = {Dim(int64_t(1)), Dim(int64_t(100)), Dim(int64_t(2)), Dim(int64_t(8))};
    int64_t q = b.input("q", shape), k = b.input("k", shape), v = b.input("v", shape);
    attributes["scale"] = 1.0;
    b.output("y", b.op("attention", {q, k, v, -1, -1}, attributes));
    return plan::estimateCost(b.plan, {})->flops;
  };
  EXPECT_DOUBLE_EQ(flops({}), 4.0 * 2 * 8 * 5050);
  EXPECT_DOUBLE_EQ(flops({{"window", int64_t(10)}}), 4.0 * 2 * 8 * (90 * 10 + 55));
}

TEST(CostTest, AttentionsGradientCountsTheForwardWhereNothingIsKept) {
  auto flops = [](bool isKept) {
    PlanBuilder b;
    std::vector<Dim> shape = {Dim(int64_t(1)), Dim(int64_t(100)), Dim(int64_t(2)), Dim(int64_t(8))};
    int64_t q = b.input("q", shape), k = b.input("k", shape), v = b.input("v", shape), dy = b.input("dy", shape);
    int64_t out = -1, lse = -1;
    if (isKept) {
      out = b.input("out", shape);
      lse = b.input("lse", {Dim(int64_t(1)), Dim(int64_t(2)), Dim(int64_t(100))});
    }
    b.output("dq", b.ops("attention_grad", {dy, q, k, v, -1, out, lse}, {{"scale", 1.0}})[0]);
    return plan::estimateCost(b.plan, {})->flops;
  };
  EXPECT_DOUBLE_EQ(flops(true), 10.0 * 2 * 8 * 5050);
  EXPECT_DOUBLE_EQ(flops(false), 14.0 * 2 * 8 * 5050);
}

// Formulas of the op table: their letters are those of operands' patterns, their attributes the op's.
TEST(CostTest, FormulasOfEveryOpFindTheirSizes) {
  const plan::Plan plan = everyOpPlan();
  const std::map<std::string, int64_t> sizes = {{"B", 2}, {"T", 3}, {"N", 4}};
  const auto flops = plan::instructionFlops(plan, sizes);
  ASSERT_TRUE(flops.ok()) << flops.status().message();
  const auto shapes = plan::resolveShapes(plan, sizes);
  ASSERT_TRUE(shapes.ok()) << shapes.status().message();
  for (size_t i = 0; i < plan.instructions.size(); ++i) {
    const plan::Instruction &instruction = plan.instructions[i];
    EXPECT_GT((*flops)[i], 0) << instruction.op;
    if (instruction.op != "launch" && plan::findOpRule(instruction.op)->scratch) {
      EXPECT_GT(plan::scratchBytes(plan, instruction, *shapes, {/*wide=*/false, /*threads=*/2}), 0) << instruction.op;
    }
  }
}

TEST(CostTest, MatrixProductsAreReadFromPatterns) {
  const plan::Plan plan = smallTrainingPlan();
  const auto shapes = plan::resolveShapes(plan, {{"B", 2}, {"T", 8}, {"N", 4}});
  std::map<std::string, std::vector<int64_t>> found;
  double flops = 0;
  for (const plan::Instruction &instruction : plan.instructions)
    if (const auto product = plan::matrixProduct({plan, instruction, *shapes})) {
      found[instruction.op] = {product->m, product->n, product->k, product->transposedA, product->transposedB};
      flops += 2 * static_cast<double>(product->m * product->n * product->k);
    }
  // The last of each op: [4,6] by the head [11,6] transposed, dy [16,6] by the matrix [6,6], dy transposed by x [16,6].
  EXPECT_EQ(found, (std::map<std::string, std::vector<int64_t>>{{"linear", {4, 11, 6, 0, 1}},
                                                                {"linear_input_grad", {16, 6, 6, 0, 0}},
                                                                {"linear_weight_grad", {6, 6, 16, 1, 0}}}));
  EXPECT_EQ(flops, 2.0 * (16 * 36 + 4 * 66 + 4 * 66 + 16 * 36 + 16 * 36));
  const plan::Plan every = everyOpPlan();
  const auto all = plan::resolveShapes(every, {{"B", 2}, {"T", 3}, {"N", 4}});
  for (const plan::Instruction &instruction : every.instructions) {
    const bool isKnown = instruction.op.rfind("linear", 0) == 0 && instruction.op.rfind("linear_attention", 0) != 0;
    EXPECT_EQ(plan::matrixProduct({every, instruction, *all}).has_value(), isKnown) << instruction.op;
  }
}

TEST(CostTest, AnUnboundSizeIsAnError) {
  auto cost = plan::estimateCost(smallTrainingPlan(), {{"B", 2}});
  ASSERT_FALSE(cost.ok());
  EXPECT_NE(cost.status().message().find("the size 'T'"), std::string::npos) << cost.status().message();
}

TEST(CostTest, HugeSizesAreErrorsAndTakeNoTime) {
  for (int64_t size : {int64_t(1) << 47, INT64_MAX, int64_t(-1)}) {
    auto cost = plan::estimateCost(everyOpPlan(), {{"B", 1}, {"T", size}, {"N", 4}});
    ASSERT_FALSE(cost.ok());
    const char *message = size < 0 || size > plan::kMaximumElements ? "the size 'T'" : "more elements than can be";
    EXPECT_NE(cost.status().message().find(message), std::string::npos) << cost.status().message();
  }
  // In range, but a loop over positions would never end, and a sum of bytes would wrap.
  PlanBuilder b;
  std::vector<Dim> shape = {Dim(int64_t(1)), Dim(std::string("T")), Dim(int64_t(1)), Dim(int64_t(1))};
  int64_t x = b.input("x", shape);
  for (int i = 0; i < 20'000; ++i)
    b.output("y" + std::to_string(i), b.op("attention", {x, x, x, -1, -1}, {{"scale", 1.0}}));
  auto cost = plan::estimateCost(b.plan, {{"T", int64_t(1) << 48}});
  ASSERT_FALSE(cost.ok());
  EXPECT_NE(cost.status().message().find("needs more memory than can be addressed"), std::string::npos);
  b.plan.outputs.resize(1);
  cost = plan::estimateCost(b.plan, {{"T", int64_t(1) << 48}});
  ASSERT_TRUE(cost.ok()) << cost.status().message();
  EXPECT_GT(cost->arenaBytes, int64_t(1) << 49);
  EXPECT_GT(cost->flops, 0x1p95);
}

TEST(CostTest, ACacheCostsItsWindow) {
  PlanBuilder b;
  const Dim batch = std::string("B"), one = int64_t(1), eight = int64_t(8);
  const int64_t x = b.input("x", {batch, Dim(std::string("T")), one, eight}),
                offset = b.input("offset", {batch}, plan::DType::I64);
  auto attend = [&](const std::string &name, const std::string &slots,
                    const std::map<std::string, plan::Attribute> &how) {
    const int64_t ring = b.input(name, {batch, Dim(slots), one, eight});
    const int64_t keys = b.op("cache_write", {ring, x, offset});
    b.output("y." + name, b.op("attention", {x, keys, keys, -1, offset}, how));
  };
  attend("cache.0.k", "S", {{"scale", 1.0}});
  attend("cache.1.k", "S1024", {{"scale", 1.0}, {"window", int64_t(1024)}});
  const int64_t state = b.input("cache.2.state", {batch, one, eight});
  b.output("state", b.op("exp", {state}));
  auto bytes = [&](int64_t full, int64_t windowed) { return static_cast<double>(4 * 8 * (full + windowed + 1)); };
  EXPECT_EQ(plan::cacheBytes(b.plan, 1000), bytes(1000, 1000));
  EXPECT_EQ(plan::cacheBytes(b.plan, 100'000), bytes(100'000, 1024 + plan::kPrefillChunk - 1));
  // What is read with a window and without one keeps all.
  attend("cache.3.k", "S1024", {{"scale", 1.0}});
  EXPECT_EQ(plan::cacheBytes(b.plan, 100'000), bytes(100'000, 200'000));
}

} // namespace
} // namespace morph
