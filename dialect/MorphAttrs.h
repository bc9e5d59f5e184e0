// SPDX-License-Identifier: Apache-2.0
// Enumerations and attributes of the `morph` dialect.

#ifndef MORPH_DIALECT_MORPHATTRS_H
#define MORPH_DIALECT_MORPHATTRS_H

#include "mlir/IR/Attributes.h"
#include "mlir/IR/BuiltinAttributes.h"

#include "dialect/MorphEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialect/MorphAttrs.h.inc"

#endif // MORPH_DIALECT_MORPHATTRS_H
