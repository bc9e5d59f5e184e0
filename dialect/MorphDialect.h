// SPDX-License-Identifier: Apache-2.0
// The `morph` dialect.

#ifndef MORPH_DIALECT_MORPHDIALECT_H
#define MORPH_DIALECT_MORPHDIALECT_H

#include "mlir/IR/Dialect.h"

#include "dialect/MorphDialect.h.inc"

#endif // MORPH_DIALECT_MORPHDIALECT_H
