// SPDX-License-Identifier: Apache-2.0
// Plans on small inputs.

#ifndef MORPH_TEST_FUZZ_PLANRUNNER_H
#define MORPH_TEST_FUZZ_PLANRUNNER_H

#include "runtime/exec/Executor.h"

namespace morph::fuzz {

/// Estimates the costs of a valid plan, binds made-up weights and runs it on inputs that fit and on some whose indices
/// are out of range. As in `morph run`, a plan that says it needs more memory than there is, is not run.
void runPlan(plan::Plan plan, Precision precision);

} // namespace morph::fuzz

#endif // MORPH_TEST_FUZZ_PLANRUNNER_H
