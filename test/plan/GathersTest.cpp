// SPDX-License-Identifier: Apache-2.0
// What a program gathers of weights that processes divide.

#include "runtime/plan/Gathers.h"

#include "runtime/plan/OpTable.h"
#include "test/plan/PlanBuilder.h"

#include <set>

namespace morph {
namespace {

/// Reads frozen weights of 8, 8, 96 and 16 floats one after another, and last a view of the third again.
plan::Plan chain() {
  PlanBuilder b("chain");
  const std::map<std::string, plan::Attribute> factor = {{"factor", 2.0}};
  const int64_t wide = b.weight("wide", {1, 4, 24}), view = b.op("split_heads", {wide}, {{"heads", int64_t(2)}});
  int64_t x = b.op("linear", {b.input("x", {std::string("N"), int64_t(4)}), b.weight("down", {2, 4}), -1});
  x = b.op("linear", {x, b.weight("up", {4, 2}), -1});
  b.output("wide2", b.op("scale", {wide}, factor));
  x = b.op("linear", {b.op("linear", {x, b.weight("trained", {4, 4}, true), -1}), b.weight("last", {4, 4}), -1});
  b.output("y", x);
  b.output("view2", b.op("scale", {view}, factor));
  return b.plan;
}

TEST(Gathers, FrozenMatricesAreDividable) {
  EXPECT_EQ(plan::dividableWeights(smallTrainingPlan()), (std::vector<bool>{true, false, false, true}));
  // Gates, vectors and what leaves the program are whole.
  PlanBuilder b("outputs");
  const int64_t a = b.weight("a", {1, 4, 4});
  b.weight("b", {4});
  b.weight("c", {4, 4});
  b.output("view", b.op("split_heads", {a}, {{"heads", int64_t(2)}}));
  EXPECT_EQ(plan::dividableWeights(b.plan), (std::vector<bool>{false, false, true}));
}

TEST(Gathers, EveryInstructionFindsWhatItReadsInItsGroup) {
  for (const plan::Plan &plan : {chain(), smallTrainingPlan(), everyOpPlan()})
    for (int64_t count : {2, 3}) {
      const std::vector<bool> divided = plan::dividableWeights(plan);
      const plan::Gathers gathers = plan::planGathers(plan, divided, count, {});
      ASSERT_EQ(gathers.groupOf.size(), plan.instructions.size());
      for (size_t i = 0; i < plan.instructions.size(); ++i) {
        std::set<size_t> group;
        if (gathers.groupOf[i] >= 0)
          for (const auto &place : gathers.groups[static_cast<size_t>(gathers.groupOf[i])]) {
            EXPECT_TRUE(divided[place.weight] && group.insert(place.weight).second);
            EXPECT_EQ(place.offset % 256, 0);
          }
        if (!plan::findOpRule(plan.instructions[i].op)->viewOf.empty())
          continue;
        for (int64_t operand : plan.instructions[i].operands)
          if (const int64_t weight = operand < 0 ? -1 : gathers.weightOf[static_cast<size_t>(operand)]; weight >= 0) {
            EXPECT_EQ(group.count(static_cast<size_t>(weight)), 1U) << i;
          }
      }
    }
}

TEST(Gathers, TheBufferIsNoLargerThanWhatOneInstructionReads) {
  const plan::Plan plan = chain();
  // 96 floats are 384 bytes in three parts: two places. Others are one.
  const plan::Gathers gathers = plan::planGathers(plan, plan::dividableWeights(plan), 3, {});
  EXPECT_EQ(gathers.bufferBytes, 512);
  std::vector<std::vector<std::string>> groups;
  for (const auto &group : gathers.groups) {
    groups.emplace_back();
    for (const auto &place : group)
      groups.back().push_back(plan.weights[place.weight].name);
  }
  EXPECT_EQ(groups, (std::vector<std::vector<std::string>>{{"down", "up"}, {"wide"}, {"last"}, {"wide"}}));
}

} // namespace
} // namespace morph
