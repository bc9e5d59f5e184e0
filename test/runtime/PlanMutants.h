// SPDX-License-Identifier: Apache-2.0
// Plans changed at random: what validation accepts runs to a result or to an error, never to a crash.

#ifndef MORPH_TEST_RUNTIME_PLANMUTANTS_H
#define MORPH_TEST_RUNTIME_PLANMUTANTS_H

#include "runtime/plan/Plan.h"

namespace morph {

/// A plan made of `plan`, which must be valid, by some random changes (ops, operands, attributes, shapes, inits); then
/// shapes are inferred anew and impossible instructions left out, so that most mutants are valid and reach the kernels.
plan::Plan mutatePlan(const plan::Plan &plan, uint64_t seed);

/// One round of the hunt: mutates, prints, parses, and runs what was accepted (test/fuzz/PlanRunner.h) in one of the
/// precisions. Returns whether it was accepted.
bool runMutant(const plan::Plan &plan, uint64_t seed);

} // namespace morph

#endif // MORPH_TEST_RUNTIME_PLANMUTANTS_H
