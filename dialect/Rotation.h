// SPDX-License-Identifier: Apache-2.0
// Rotary positions within a mixer: which values turn with their position, and what undoes it.

#ifndef MORPH_DIALECT_ROTATION_H
#define MORPH_DIALECT_ROTATION_H

#include "mlir/IR/Block.h"
#include "mlir/IR/Value.h"

namespace morph {

/// Where a computation comes to depend on positions themselves and not on their differences.
///
/// A padded row's positions count the padding: all are moved by p. That turns what `rope` gives by R(p), an orthogonal
/// matrix a head. A product of two such values a head, as attention and recurrences make of q and k, does not see it
/// (RoFormer, arXiv 2104.09864, eq. 16), nor does a recurrence's state that is written and read by turned keys:
/// S <- R S. What treats a head's channels differently (a decay a channel, a weight) or is not linear does not commute
/// with R(p), and its result is another one for a row that is padded.
///
/// Returns the op of `block` to blame for a `result` that so depends on the padding, or null where it does not. Ops of
/// which nothing is known are taken not to commute.
mlir::Operation *findLostRotation(mlir::Block &block, mlir::Value result);

} // namespace morph

#endif // MORPH_DIALECT_ROTATION_H
