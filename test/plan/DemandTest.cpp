// SPDX-License-Identifier: Apache-2.0
// What a run leaves out: candidates without a share, and what is given.

#include "runtime/plan/Demand.h"
#include "test/plan/PlanBuilder.h"

#include <gtest/gtest.h>

namespace morph {
namespace {

using plan::Dim;
using plan::Step;

/// A blend of two candidates of x, with its backward by hand: dx is the sum of what the candidates pass on.
struct BlendPlan {
  PlanBuilder b{"gates"};
  int64_t first, second, y;

  explicit BlendPlan(bool trains) {
    const std::vector<Dim> rows = {std::string("N"), Dim(int64_t(6))};
    const int64_t x = b.input("x", rows), gate = b.weight("gate.0", {1});
    b.plan.weights.back().gate = true;
    b.plan.weights.back().layer = 0;
    b.plan.weights.back().init = plan::Init{"constant", "", 0, 0, 1, {}};
    first = b.op("silu", {x});
    second = b.op("exp", {x});
    y = b.op("blend", {gate, first, second}, {{"candidates_count", int64_t(2)}});
    b.output("y", y);
    if (!trains)
      return;
    b.output("grad.gate.0", b.op("blend_gate_grad", {y, first, second}, {{"candidates_count", int64_t(2)}}));
    const int64_t d0 = b.op("blend_candidate_grad", {y, gate}, {{"index", int64_t(0)}}),
                  d1 = b.op("blend_candidate_grad", {y, gate}, {{"index", int64_t(1)}});
    b.output("dx", b.op("add", {b.op("silu_grad", {d0, x}), b.op("mul", {d1, second})}));
  }
  std::vector<Step> steps(const std::vector<double> &gate, const std::set<int64_t> &given = {}) const {
    return plan::planSteps(b.plan, {plan::zeroShares(gate)}, given);
  }
};

constexpr Step R = Step::Run, S = Step::Skip, Z = Step::Zero, G = Step::Given;

TEST(DemandTest, SharesThatAreZero) {
  using Shares = std::vector<bool>;
  EXPECT_EQ(plan::zeroShares({0.5}), (Shares{false, false}));
  EXPECT_EQ(plan::zeroShares({1}), (Shares{false, true}));
  EXPECT_EQ(plan::zeroShares({0}), (Shares{true, false}));
  EXPECT_EQ(plan::zeroShares({0, 1}), (Shares{true, false, true}));
  // Whether these leave nothing depends on how they are added.
  EXPECT_EQ(plan::zeroShares({0.25, 0.75}), (Shares{false, false, false}));
}

TEST(DemandTest, WithoutZeroSharesEverythingRuns) { EXPECT_EQ(BlendPlan(true).steps({0.5}), std::vector<Step>(9, R)); }

TEST(DemandTest, ACandidateWithoutShareHasNoBackward) {
  // silu exp blend gate_grad d0 d1 silu_grad mul add: the gate's gradient reads both candidates.
  EXPECT_EQ(BlendPlan(true).steps({1}), (std::vector<Step>{R, R, R, R, R, S, R, Z, R}));
  EXPECT_EQ(BlendPlan(true).steps({0}), (std::vector<Step>{R, R, R, R, S, R, Z, R, R}));
}

TEST(DemandTest, ACandidateThatOnlyItsBlendReadsIsZero) {
  EXPECT_EQ(BlendPlan(false).steps({1}), (std::vector<Step>{R, Z, R}));
  EXPECT_EQ(BlendPlan(false).steps({0}), (std::vector<Step>{Z, R, R}));
}

TEST(DemandTest, WhatIsGivenIsNotComputed) {
  const BlendPlan plan(true);
  EXPECT_EQ(plan.steps({0.5}, {plan.y}), (std::vector<Step>{R, R, G, R, R, R, R, R, R}));
  const BlendPlan forward(false);
  EXPECT_EQ(forward.steps({0.5}, {forward.y}), (std::vector<Step>{S, S, G}));
}

TEST(DemandTest, OpsThatMayUpdateAStateAreLeftOutWithoutOne) {
  PlanBuilder b("gates");
  const Dim batch = std::string("B"), length = std::string("T");
  const int64_t x = b.input("x", {batch, length, Dim(int64_t(6))}), gate = b.weight("gate.0", {1});
  b.plan.weights.back().gate = true;
  b.plan.weights.back().layer = 0;
  b.plan.weights.back().init = plan::Init{"constant", "", 0, 0, 1, {}};
  const int64_t taps = b.weight("conv.weight", {6, 1, 3});
  const int64_t conv = b.ops("short_conv", {x, taps, -1})[0];
  b.output("y", b.op("blend", {gate, x, conv}, {{"candidates_count", int64_t(2)}}));
  EXPECT_EQ(plan::planSteps(b.plan, {plan::zeroShares({1}), {}}), (std::vector<Step>{Z, R}));
}

TEST(DemandTest, KernelsPassZerosOn) {
  // The same forward, with the blend and the sum with the stream in a kernel that is launched.
  PlanBuilder b("gates");
  const std::vector<Dim> rows = {std::string("N"), Dim(int64_t(6))};
  const int64_t x = b.input("x", rows), gate = b.weight("gate.0", {1});
  b.plan.weights.back().gate = true;
  b.plan.weights.back().layer = 0;
  b.plan.weights.back().init = plan::Init{"constant", "", 0, 0, 1, {}};
  const int64_t first = b.op("silu", {x}), second = b.op("exp", {x});
  plan::Kernel kernel;
  kernel.name = "blend_add";
  kernel.rows = 1;
  const plan::TensorType row = {{std::string("R0"), Dim(int64_t(6))}};
  kernel.values = {{{Dim(int64_t(1))}}, row, row, row, row, row};
  kernel.arguments = 4;
  kernel.instructions = {{"blend", {0, 1, 2}, {4}, {{"candidates_count", int64_t(2)}}}, {"add", {4, 3}, {5}, {}}};
  kernel.results = {5};
  kernel.inPlace = {-1};
  b.plan.kernels.push_back(kernel);
  const int64_t sum = static_cast<int64_t>(b.plan.values.size());
  b.plan.values.push_back({rows});
  b.plan.instructions.push_back({"launch",
                                 {gate, first, second, x},
                                 {sum},
                                 {{"kernel", std::string("blend_add")}, {"arguments_count", int64_t(4)}}});
  b.output("sum", sum);
  ASSERT_TRUE(plan::validate(b.plan).ok()) << plan::validate(b.plan).message();
  EXPECT_EQ(plan::planSteps(b.plan, {plan::zeroShares({1})}), (std::vector<Step>{R, Z, R}));
  EXPECT_EQ(plan::planSteps(b.plan, {plan::zeroShares({0.5})}), (std::vector<Step>{R, R, R}));
}

} // namespace
} // namespace morph
