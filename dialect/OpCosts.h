// SPDX-License-Identifier: Apache-2.0
// Floating-point operations of ops in the IR, as the op table counts them.

#ifndef MORPH_DIALECT_OPCOSTS_H
#define MORPH_DIALECT_OPCOSTS_H

#include "mlir/IR/Block.h"

namespace morph {

/// The operations of a block of primitive ops, all of whose sizes are known: plan::instructionFlops. The largest
/// number where a value has more elements than can be addressed.
double countFlops(mlir::Block &block);

} // namespace morph

#endif // MORPH_DIALECT_OPCOSTS_H
