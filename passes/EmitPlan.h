// SPDX-License-Identifier: Apache-2.0
// From a program in primitive ops to a plan for the runtime.

#ifndef MORPH_PASSES_EMITPLAN_H
#define MORPH_PASSES_EMITPLAN_H

#include "dialect/MorphOps.h"
#include "runtime/plan/Plan.h"

namespace morph {

/// Translates the program of that name. Inputs, weights (those that the program reads, in the model's order) and
/// instruction results are numbered in this order. The program's update comes with it. Emits an error for ops that are
/// no instructions.
mlir::FailureOr<plan::Plan> emitPlan(ModelOp model, llvm::StringRef program);

} // namespace morph

#endif // MORPH_PASSES_EMITPLAN_H
