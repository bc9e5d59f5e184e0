// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/Cost.h"
#include "test/plan/PlanBuilder.h"

namespace morph {
namespace {

using plan::Dim;

TEST(CostTest, CountsProductsWeightsAndTrainables) {
  auto cost = plan::estimateCost(smallTrainingPlan(), {{"B", 2}, {"T", 8}, {"N", 4}});
  ASSERT_TRUE(cost.ok()) << cost.status().message();
  // Forward: 16 rows of 6x6 and 4 of 11x6; backward: the head's input, the matrix by weight and by input.
  double expected = 2.0 * (16 * 36 + 4 * 66 + 4 * 66 + 16 * 36 + 16 * 36);
  EXPECT_DOUBLE_EQ(cost->productFlops, expected);
  EXPECT_GT(cost->flops, expected);
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
  EXPECT_EQ(cost->runBytes, 2 * 4 * 100); // An operand and its result.
}

TEST(CostTest, AttentionCountsCausalPairsAndTheWindow) {
  auto flops = [](std::map<std::string, plan::Attribute> attributes) {
    PlanBuilder b;
    std::vector<Dim> shape = {Dim(int64_t(1)), Dim(int64_t(100)), Dim(int64_t(2)), Dim(int64_t(8))};
    int64_t q = b.input("q", shape), k = b.input("k", shape), v = b.input("v", shape);
    attributes["scale"] = 1.0;
    b.output("y", b.op("attention", {q, k, v, -1}, attributes));
    return plan::estimateCost(b.plan, {})->flops;
  };
  EXPECT_DOUBLE_EQ(flops({}), 4.0 * 2 * 8 * 5050);
  EXPECT_DOUBLE_EQ(flops({{"window", int64_t(10)}}), 4.0 * 2 * 8 * (90 * 10 + 55));
}

TEST(CostTest, AnUnboundSizeIsAnError) {
  auto cost = plan::estimateCost(smallTrainingPlan(), {{"B", 2}});
  ASSERT_FALSE(cost.ok());
  EXPECT_NE(cost.status().message().find("the size 'T'"), std::string::npos) << cost.status().message();
}

} // namespace
} // namespace morph
