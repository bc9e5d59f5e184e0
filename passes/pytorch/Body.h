// SPDX-License-Identifier: Apache-2.0
// The body of a mixer at a place, as a straight line: of each `mixer_if` the side that holds, of ops those that the
// result needs.

#ifndef MORPH_PASSES_PYTORCH_BODY_H
#define MORPH_PASSES_PYTORCH_BODY_H

#include "dialect/MixerExpander.h"

namespace morph::pytorch {

/// An op with its operands, which are results of steps, weights, or the hidden state.
struct Step {
  mlir::Operation *op;
  llvm::SmallVector<mlir::Value, 4> operands;

  mlir::Value getResult() const { return op->getResult(0); }
};

struct Body {
  std::vector<Step> steps;
  llvm::SmallVector<MixerWeightOp> weights; ///< All that the mixer has here, read or not.
  mlir::Value result;

  static mlir::FailureOr<Body> create(MixerExpander &expander);
};

} // namespace morph::pytorch

#endif // MORPH_PASSES_PYTORCH_BODY_H
