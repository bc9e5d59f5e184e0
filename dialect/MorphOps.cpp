// SPDX-License-Identifier: Apache-2.0
// Ops: generated code and the helpers that make values and types.

#include "dialect/MorphOps.h"
#include "dialect/InferTypes.h"

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

// The directive custom<NamedValues>.
/// `"loss" = %0, "nll" = %1 : tensor<f32>, tensor<?xf32>`
static ParseResult parseNamedValues(OpAsmParser &parser, ArrayAttr &names,
                                    SmallVectorImpl<OpAsmParser::UnresolvedOperand> &values,
                                    SmallVectorImpl<Type> &types) {
  SmallVector<Attribute> parsed;
  auto parseOne = [&]() -> ParseResult {
    std::string name;
    if (parser.parseString(&name) || parser.parseEqual() || parser.parseOperand(values.emplace_back()))
      return failure();
    parsed.push_back(parser.getBuilder().getStringAttr(name));
    return success();
  };
  if (parser.parseCommaSeparatedList(parseOne) || parser.parseColonTypeList(types))
    return failure();
  names = parser.getBuilder().getArrayAttr(parsed);
  return success();
}

static void printNamedValues(OpAsmPrinter &printer, Operation *, ArrayAttr names, OperandRange values,
                             TypeRange types) {
  llvm::interleaveComma(llvm::zip(names.getAsRange<StringAttr>(), values), printer, [&](auto entry) {
    auto [name, value] = entry;
    printer.printString(name.getValue());
    printer << " = " << value;
  });
  printer << " : " << types;
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
