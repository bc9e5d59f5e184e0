// SPDX-License-Identifier: Apache-2.0
// Ops of the `morph` dialect.

#ifndef MORPH_DIALECT_MORPHOPS_H
#define MORPH_DIALECT_MORPHOPS_H

#include "dialect/MorphAttrs.h"
#include "dialect/MorphDialect.h"
#include "dialect/MorphInterfaces.h"

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/RegionKindInterface.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#define GET_OP_CLASSES
#include "dialect/MorphOps.h.inc"

#endif // MORPH_DIALECT_MORPHOPS_H
