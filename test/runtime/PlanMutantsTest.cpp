// SPDX-License-Identifier: Apache-2.0
// `morph-plan-mutants` does the same with the compiler's plans, and for longer.

#include "PlanMutants.h"
#include "test/plan/PlanBuilder.h"

namespace morph {
namespace {

TEST(PlanMutantsTest, EndInAResultOrAnError) {
  for (const plan::Plan &plan : {everyOpPlan(), smallTrainingPlan()}) {
    int valid = 0;
    for (uint64_t seed = 0; seed < 600; ++seed)
      valid += runMutant(plan, seed);
    EXPECT_GT(valid, 300) << plan.program << ": a hunt that validation stops at once finds nothing";
  }
}

} // namespace
} // namespace morph
