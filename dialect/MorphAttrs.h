// SPDX-License-Identifier: Apache-2.0
// Enumerations and attributes of the `morph` dialect.

#ifndef MORPH_DIALECT_MORPHATTRS_H
#define MORPH_DIALECT_MORPHATTRS_H

#include "mlir/IR/Attributes.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/OpImplementation.h"

#include "dialect/MorphEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialect/MorphAttrs.h.inc"

namespace morph {

/// Parses and prints `[1.0, 0.5]`, every number with as many digits as tell it from its neighbours.
mlir::FailureOr<mlir::DenseF64ArrayAttr> parseF64Array(mlir::AsmParser &parser);
void printF64Array(mlir::AsmPrinter &printer, mlir::DenseF64ArrayAttr values);

} // namespace morph

#endif // MORPH_DIALECT_MORPHATTRS_H
