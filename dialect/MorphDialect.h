// SPDX-License-Identifier: Apache-2.0
// The `morph` dialect.

#ifndef MORPH_DIALECT_MORPHDIALECT_H
#define MORPH_DIALECT_MORPHDIALECT_H

#include "mlir/IR/Dialect.h"

#include "dialect/MorphDialect.h.inc"

namespace morph {

/// Names of the discardable attributes that mark programs (see the dialect's description).
/// On a function: the program's name.
inline constexpr llvm::StringLiteral kProgramAttr = "morph.program";
/// On a program: array of references to the weights or gates it trains.
inline constexpr llvm::StringLiteral kTrainableAttr = "morph.trainable";
/// On an argument or result: its name for the runtime.
inline constexpr llvm::StringLiteral kNameAttr = "morph.name";
/// On an argument: array of the names of its dynamic dimensions, in order.
inline constexpr llvm::StringLiteral kDimsAttr = "morph.dims";

} // namespace morph

#endif // MORPH_DIALECT_MORPHDIALECT_H
