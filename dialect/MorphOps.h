// SPDX-License-Identifier: Apache-2.0
// Ops of the `morph` dialect.

#ifndef MORPH_DIALECT_MORPHOPS_H
#define MORPH_DIALECT_MORPHOPS_H

#include "dialect/MorphAttrs.h"
#include "dialect/MorphDialect.h"
#include "dialect/MorphInterfaces.h"
#include "dialect/Scalar.h"

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

namespace morph {

/// The f32 tensor of a shape; ShapedType::kDynamic stands for a dimension that is known when the program runs.
mlir::RankedTensorType getTensorType(mlir::MLIRContext *context, llvm::ArrayRef<int64_t> shape);

/// The i64 tensor of a shape.
mlir::RankedTensorType getIndexTensorType(mlir::MLIRContext *context, llvm::ArrayRef<int64_t> shape);

/// Whether a function is one block of ops that ends with a `return`. Does not look at the ops, which may not have been
/// verified.
bool hasStraightBody(mlir::func::FuncOp function);

/// A `morph.param` of the weight or gate `name`, which has that shape.
mlir::Value createParam(mlir::OpBuilder &builder, mlir::Location location, llvm::StringRef name,
                        llvm::ArrayRef<int64_t> shape);

} // namespace morph

#endif // MORPH_DIALECT_MORPHOPS_H
