// SPDX-License-Identifier: Apache-2.0
// Kernels and their launches: text, verifiers, and what they say of their rows.

#include "dialect/KernelRows.h"
#include "dialect/MorphOps.h"
#include "runtime/plan/SizeLimits.h"

#include "llvm/ADT/SmallPtrSet.h"

using namespace mlir;
using namespace morph;

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

ParseResult KernelOp::parse(OpAsmParser &parser, OperationState &result) {
  StringAttr name;
  IntegerAttr rows;
  SmallVector<OpAsmParser::Argument> arguments;
  if (parser.parseSymbolName(name, getSymNameAttrName(result.name), result.attributes) || parser.parseKeyword("rows") ||
      parser.parseAttribute(rows, parser.getBuilder().getI64Type(), getRowsAttrName(result.name), result.attributes) ||
      parser.parseArgumentList(arguments, OpAsmParser::Delimiter::Paren, /*allowType=*/true) ||
      parser.parseOptionalAttrDictWithKeyword(result.attributes))
    return failure();
  return parser.parseRegion(*result.addRegion(), arguments);
}

void KernelOp::print(OpAsmPrinter &printer) {
  printer << ' ';
  printer.printSymbolName(getSymName());
  printer << " rows " << getRows() << " (";
  llvm::interleaveComma(getBody().getArguments(), printer,
                        [&](BlockArgument argument) { printer.printRegionArgument(argument); });
  printer << ')';
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs(), {getSymNameAttrName(), getRowsAttrName()});
  printer << ' ';
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false);
}

ValueRange KernelOp::getReturned() { return getBody().front().getTerminator()->getOperands(); }

int64_t KernelOp::getRowElements() { return *morph::getRowElements(getRowType(&getBody().front().front()), getRows()); }

LogicalResult KernelOp::verifyRegions() {
  int64_t rows = getRows();
  if (rows < 1 || rows > limits::kRowDimensions)
    return emitOpError() << "kernel_c1: `rows` is " << rows << ", expected 1 to " << limits::kRowDimensions;
  Block &block = getBody().front();
  if (block.empty() || !isa<ReturnOp>(block.back()))
    return emitOpError() << "kernel_c2: the body does not end with a 'morph.return'";

  std::optional<int64_t> elements;
  auto checkValue = [&](Value value, Location location) -> LogicalResult {
    std::optional<int64_t> own = morph::getRowElements(value.getType(), rows);
    if (!own && !isUniform(value.getType())) {
      InFlightDiagnostic error = emitOpError() << "kernel_c3: " << value.getType() << " is neither a row value, with "
                                               << rows << " leading dynamic dimensions, nor uniform";
      error.attachNote(location) << "it is here";
      return error;
    }
    if (own && elements && *own != *elements) {
      InFlightDiagnostic error = emitOpError() << "kernel_c6: " << value.getType() << " has " << *own
                                               << " elements a row, expected " << *elements << " as the values before";
      error.attachNote(location) << "it is here";
      return error;
    }
    if (own)
      elements = own;
    return success();
  };
  for (BlockArgument argument : block.getArguments())
    if (failed(checkValue(argument, argument.getLoc())))
      return failure();

  KernelLines lines;
  for (Operation &op : block.without_terminator()) {
    if (!isa<KernelOpInterface>(op)) {
      InFlightDiagnostic error = emitOpError() << "kernel_c4: '" << op.getName() << "' cannot be in a kernel";
      error.attachNote(op.getLoc()) << "it is here";
      return error;
    }
    for (Value value : op.getResults())
      if (failed(checkValue(value, op.getLoc())))
        return failure();
    if (std::string reason = explainNotRowwise(&op, rows); !reason.empty()) {
      InFlightDiagnostic error = emitOpError() << "kernel_c5: '" << op.getName() << "' " << reason;
      error.attachNote(op.getLoc()) << "it is here";
      return error;
    }
    for (Value operand : op.getOperands())
      if (isRowSum(operand)) {
        InFlightDiagnostic error = emitOpError() << "kernel_c9: '" << op.getName() << "' reads a sum over rows";
        error.attachNote(op.getLoc()) << "it is here";
        return error;
      }
    if (!lines.join(&op)) {
      InFlightDiagnostic error = emitOpError() << "kernel_c7: the lines of '" << op.getName()
                                               << "' do not fit those of the ops before";
      error.attachNote(op.getLoc()) << "it is here";
      return error;
    }
  }

  llvm::SmallPtrSet<Value, 4> returned;
  for (Value value : block.getTerminator()->getOperands())
    if (!value.getDefiningOp() || !returned.insert(value).second)
      return emitOpError() << "kernel_c8: the results are not values of the body's ops, each once";
  if (returned.empty())
    return emitOpError() << "kernel_c8: the kernel has no result";
  return success();
}

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &symbolTables) {
  Operation *symbol = symbolTables.lookupNearestSymbolFrom(*this, getKernelAttr().getAttr());
  auto kernel = dyn_cast_or_null<KernelOp>(symbol);
  if (!kernel) {
    InFlightDiagnostic error = emitOpError() << "launch_c1: the model has no kernel " << getKernelAttr();
    if (symbol)
      error.attachNote(symbol->getLoc()) << getKernelAttr() << " is this";
    return error;
  }
  // The kernel may not have been verified yet.
  Block &block = kernel.getBody().front();
  TypeRange expected = block.getArgumentTypes();
  if (getArguments().getTypes() != expected) {
    InFlightDiagnostic error = emitOpError() << "launch_c2: the operands are (" << getArguments().getTypes()
                                             << "), expected (" << expected << ")";
    error.attachNote(kernel.getLoc()) << "the kernel is here";
    return error;
  }
  TypeRange results;
  if (!block.empty() && isa<ReturnOp>(block.back()))
    results = block.back().getOperandTypes();
  if (getResultTypes() != results) {
    InFlightDiagnostic error = emitOpError() << "launch_c3: the results are (" << getResultTypes() << "), expected ("
                                             << results << ")";
    error.attachNote(kernel.getLoc()) << "the kernel is here";
    return error;
  }
  return success();
}
