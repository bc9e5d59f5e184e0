// SPDX-License-Identifier: Apache-2.0
// Transcendental functions on vectors of f32.

#ifndef MORPH_PASSES_LOWER_VECTORMATH_H
#define MORPH_PASSES_LOWER_VECTORMATH_H

#include "mlir/IR/PatternMatch.h"

namespace morph {

/// Adds patterns that write `math.exp`, `math.log` and `math.log1p` in basic operations, each rounded on its own, so
/// that all machines agree. exp: relative error below 2e-7, and infinity, zero, denormal results and NaN as they should
/// be.
void populateVectorMath(mlir::RewritePatternSet &patterns);

} // namespace morph

#endif // MORPH_PASSES_LOWER_VECTORMATH_H
