// SPDX-License-Identifier: Apache-2.0
// Ops: generated code and the helpers that make values and types.

#include "dialect/MorphOps.h"
#include "dialect/OperandCount.h"

using namespace mlir;
using namespace morph;

namespace morph {
// The directive custom<F64Array> of the ops' assembly formats.
static ParseResult parseF64Array(OpAsmParser &parser, DenseF64ArrayAttr &values) {
  FailureOr<DenseF64ArrayAttr> parsed = morph::parseF64Array(parser);
  if (failed(parsed))
    return failure();
  values = *parsed;
  return success();
}

static void printF64Array(OpAsmPrinter &printer, Operation *, DenseF64ArrayAttr values) {
  morph::printF64Array(printer, values);
}
} // namespace morph

#define GET_OP_CLASSES
#include "dialect/MorphOps.cpp.inc"

RankedTensorType morph::getTensorType(MLIRContext *context, ArrayRef<int64_t> shape) {
  return RankedTensorType::get(shape, Float32Type::get(context));
}

RankedTensorType morph::getIndexTensorType(MLIRContext *context, ArrayRef<int64_t> shape) {
  return RankedTensorType::get(shape, IntegerType::get(context, 64));
}

bool morph::hasStraightBody(func::FuncOp function) {
  Region &body = function.getBody();
  return body.hasOneBlock() && !body.front().empty() && isa<func::ReturnOp>(body.front().back());
}

Value morph::createParam(OpBuilder &builder, Location location, StringRef name, ArrayRef<int64_t> shape) {
  return builder.create<ParamOp>(location, getTensorType(builder.getContext(), shape), name);
}
