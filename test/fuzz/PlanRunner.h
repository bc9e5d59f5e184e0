// SPDX-License-Identifier: Apache-2.0
// Plans on small inputs.

#ifndef MORPH_TEST_FUZZ_PLANRUNNER_H
#define MORPH_TEST_FUZZ_PLANRUNNER_H

#include "runtime/exec/Executor.h"

namespace morph::fuzz {

/// Estimates the costs of a valid plan, binds made-up weights and runs it on inputs that fit and on some whose indices
/// are out of range. As in `morph run`, a plan that says it needs more memory than there is, is not run. `form` modulo
/// 3 says how: in fp32, in fp64, or in fp32 with the factors of products in bf16.
void runPlan(plan::Plan plan, uint64_t form);

} // namespace morph::fuzz

#endif // MORPH_TEST_FUZZ_PLANRUNNER_H
