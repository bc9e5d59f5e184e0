// SPDX-License-Identifier: Apache-2.0
// The oracle itself: it passes a right plan and finds a wrong one.

#include "Oracle.h"
#include "test/plan/PlanBuilder.h"

namespace morph {
namespace {

TEST(OracleTest, AgreesOnARightPlan) {
  for (Precision precision : {Precision::F64, Precision::F32}) {
    OracleOptions options;
    options.precision = precision;
    auto errors = checkGradients(smallTrainingPlan(), options);
    ASSERT_TRUE(errors.ok()) << errors.status().message();
    ASSERT_EQ(errors->size(), 2u);
    for (const GradientError &error : *errors) {
      EXPECT_LT(error.autograd, precision == Precision::F64 ? 1e-11 : 1e-5) << error.weight;
      EXPECT_LT(error.finiteDifference, 1e-6) << error.weight;
      EXPECT_GT(error.largest, 1e-3) << error.weight;
    }
  }
}

TEST(OracleTest, FindsAWrongGradient) {
  plan::Plan plan = smallTrainingPlan();
  for (plan::Instruction &instruction : plan.instructions)
    if (instruction.op == "rms_norm_weight_grad")
      instruction.attributes["eps"] = 0.5;
  auto errors = checkGradients(plan, OracleOptions());
  ASSERT_TRUE(errors.ok()) << errors.status().message();
  EXPECT_GT((*errors)[0].autograd, 1e-3);
  EXPECT_GT((*errors)[0].finiteDifference, 1e-3);
  EXPECT_LT((*errors)[1].autograd, 1e-11);
}

} // namespace
} // namespace morph
