// SPDX-License-Identifier: Apache-2.0
// From a program in primitive ops to a plan for the runtime.

#ifndef MORPH_PASSES_EMITPLAN_H
#define MORPH_PASSES_EMITPLAN_H

#include "dialect/MorphOps.h"
#include "runtime/plan/Plan.h"

namespace morph {

/// Translates the program function of that name. Inputs, weights (those that the program reads, in the model's order)
/// and instruction results are numbered in this order. Dynamic dimensions get the names of the inputs' `morph.dims`,
/// followed from op to op: "B" batch, "T" positions, "N" rows, "S" cached positions, "S+T" a cache with its new
/// positions. Emits an error for ops that are no instructions, values without a name and dimensions that no input
/// names.
mlir::FailureOr<plan::Plan> emitPlan(ModelOp model, llvm::StringRef program);

} // namespace morph

#endif // MORPH_PASSES_EMITPLAN_H
