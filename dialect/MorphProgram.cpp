// SPDX-License-Identifier: Apache-2.0
// Programs: text, verification, inputs and outputs.

#include "dialect/ProgramSizes.h"
#include "dialect/ProgramUpdates.h"
#include "runtime/plan/Names.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace morph;

//===----------------------------------------------------------------------===//
// Text
//===----------------------------------------------------------------------===//

/// `%x: tensor<?x?xi64> "tokens" [B, T]`
static ParseResult parseInput(OpAsmParser &parser, OpAsmParser::Argument &argument, SmallVectorImpl<Attribute> &inputs,
                              SmallVectorImpl<Attribute> &dimensions) {
  std::string name;
  if (parser.parseArgument(argument, /*allowType=*/true) || parser.parseString(&name))
    return failure();
  SmallVector<Attribute> names;
  auto parseName = [&]() -> ParseResult {
    StringRef dimension;
    if (parser.parseKeyword(&dimension))
      return failure();
    names.push_back(parser.getBuilder().getStringAttr(dimension));
    return success();
  };
  if (parser.parseCommaSeparatedList(OpAsmParser::Delimiter::OptionalSquare, parseName))
    return failure();
  inputs.push_back(parser.getBuilder().getStringAttr(name));
  dimensions.push_back(parser.getBuilder().getArrayAttr(names));
  return success();
}

ParseResult ProgramOp::parse(OpAsmParser &parser, OperationState &state) {
  Builder &builder = parser.getBuilder();
  StringAttr name;
  SmallVector<OpAsmParser::Argument> arguments;
  SmallVector<Attribute> inputs, dimensions, trained;
  if (parser.parseSymbolName(name, getSymNameAttrName(state.name), state.attributes) ||
      parser.parseCommaSeparatedList(OpAsmParser::Delimiter::Paren, [&]() {
        return parseInput(parser, arguments.emplace_back(), inputs, dimensions);
      }))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("trains"))) {
    auto parseSymbol = [&]() -> ParseResult {
      StringAttr symbol;
      if (parser.parseSymbolName(symbol))
        return failure();
      trained.push_back(FlatSymbolRefAttr::get(symbol));
      return success();
    };
    if (parser.parseCommaSeparatedList(OpAsmParser::Delimiter::Square, parseSymbol))
      return failure();
  }
  if (succeeded(parser.parseOptionalKeyword("update"))) {
    StringAttr symbol;
    if (parser.parseSymbolName(symbol))
      return failure();
    state.addAttribute(getUpdateAttrName(state.name), FlatSymbolRefAttr::get(symbol));
  }
  state.addAttribute(getInputsAttrName(state.name), builder.getArrayAttr(inputs));
  state.addAttribute(getDimensionsAttrName(state.name), builder.getArrayAttr(dimensions));
  state.addAttribute(getTrainedAttrName(state.name), builder.getArrayAttr(trained));
  if (parser.parseOptionalAttrDictWithKeyword(state.attributes))
    return failure();
  return parser.parseRegion(*state.addRegion(), arguments);
}

void ProgramOp::print(OpAsmPrinter &printer) {
  printer << ' ';
  printer.printSymbolName(getSymName());
  printer << '(';
  auto printInput = [&](BlockArgument argument) {
    printer.printRegionArgument(argument);
    printer << ' ';
    printer.printString(cast<StringAttr>(getInputs()[argument.getArgNumber()]).getValue());
    auto names = cast<ArrayAttr>(getDimensions()[argument.getArgNumber()]);
    if (names.empty())
      return;
    printer << " [";
    llvm::interleaveComma(names, printer, [&](Attribute name) { printer << cast<StringAttr>(name).getValue(); });
    printer << ']';
  };
  llvm::interleaveComma(getBlock().getArguments(), printer, printInput);
  printer << ')';
  if (!getTrained().empty()) {
    printer << " trains [";
    llvm::interleaveComma(getTrained().getAsRange<FlatSymbolRefAttr>(), printer,
                          [&](FlatSymbolRefAttr symbol) { printer.printSymbolName(symbol.getValue()); });
    printer << ']';
  }
  if (std::optional<StringRef> update = getUpdate()) {
    printer << " update ";
    printer.printSymbolName(*update);
  }
  printer.printOptionalAttrDictWithKeyword(
      (*this)->getAttrs(),
      {getSymNameAttrName(), getInputsAttrName(), getDimensionsAttrName(), getTrainedAttrName(), getUpdateAttrName()});
  printer << ' ';
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false);
}

void ProgramOp::getAsmBlockArgumentNames(Region &region, OpAsmSetValueNameFn setName) {
  // Asked of ops that are not valid, too.
  for (auto [argument, name] : llvm::zip(region.getArguments(), getInputs()))
    if (auto text = dyn_cast<StringAttr>(name); text && !text.empty())
      setName(argument, text.getValue());
}

//===----------------------------------------------------------------------===//
// Verification
//===----------------------------------------------------------------------===//

/// The index of the first name that is empty or given before; the number of names where there is none.
static size_t findBadName(ArrayAttr names) {
  llvm::StringSet<> seen;
  size_t index = 0;
  for (auto name : names.getAsRange<StringAttr>()) {
    if (name.empty() || !seen.insert(name.getValue()).second)
      return index;
    ++index;
  }
  return index;
}

LogicalResult ProgramOp::verify() {
  Block::BlockArgListType arguments = getBlock().getArguments();
  if (getInputs().size() != arguments.size())
    return emitOpError() << "program_c1: has " << arguments.size() << " arguments, but names " << getInputs().size();
  if (size_t index = findBadName(getInputs()); index != getInputs().size())
    return emitOpError() << "program_c1: the name of argument #" << index << " is " << getInputs()[index]
                         << ", expected a name that no other has";
  if (getDimensions().size() != arguments.size())
    return emitOpError() << "program_c4: has " << arguments.size() << " arguments, but names the dimensions of "
                         << getDimensions().size();
  for (auto [argument, name, names] : llvm::zip(arguments, getInputs(), getDimensions())) {
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    if (!type)
      return emitOpError() << "program_c5: argument " << name << " is " << argument.getType()
                           << ", expected a ranked tensor";
    auto dimensions = cast<ArrayAttr>(names);
    if (int64_t(dimensions.size()) != type.getNumDynamicDims())
      return emitOpError() << "program_c4: argument " << name << " has " << type.getNumDynamicDims()
                           << " dynamic dimensions, but names " << dimensions.size();
    for (auto dimension : dimensions.getAsRange<StringAttr>())
      if (!plan::isSizeName(dimension.getValue()))
        return emitOpError() << "program_c4: argument " << name << " names a dimension " << dimension
                             << ", expected a letter and letters or digits, at most 16";
  }
  if (getBlock().empty() || !isa<OutputOp>(getBlock().back()))
    return emitOpError() << "program_c2: the body does not end with a morph.output";
  return success();
}

LogicalResult ProgramOp::verifyRegions() {
  if (failed(inferProgramSizes(*this)))
    return failure();
  return LogicalResult(ProgramUpdates::create(*this));
}

LogicalResult ProgramOp::verifySymbolUses(SymbolTableCollection &symbolTables) {
  llvm::StringSet<> seen;
  for (auto symbol : getTrained().getAsRange<FlatSymbolRefAttr>()) {
    Operation *definition = symbolTables.lookupNearestSymbolFrom((*this)->getParentOp(), symbol.getAttr());
    if (!isa_and_nonnull<WeightOp, GateOp>(definition))
      return emitOpError() << "program_c3: the model has no weight or gate " << symbol << " to train";
    if (!seen.insert(symbol.getValue()).second)
      return emitOpError() << "program_c3: " << symbol << " is trained twice";
  }
  if (FlatSymbolRefAttr update = getUpdateAttr()) {
    auto other =
        dyn_cast_or_null<ProgramOp>(symbolTables.lookupNearestSymbolFrom((*this)->getParentOp(), update.getAttr()));
    if (!other || other == *this)
      return emitOpError() << "program_c9: update is " << update << ", which is no other program of the model";
    if (other.getUpdate())
      return emitOpError() << "program_c9: update is " << update << ", which has an update of its own";
  }
  return success();
}

LogicalResult OutputOp::verify() {
  if (getValues().empty())
    return emitOpError() << "output_c1: has no value, expected one or more";
  if (getNames().size() != getValues().size())
    return emitOpError() << "output_c1: has " << getValues().size() << " values, but names " << getNames().size();
  if (size_t index = findBadName(getNames()); index != getNames().size())
    return emitOpError() << "output_c1: the name of value #" << index << " is " << getNames()[index]
                         << ", expected a name that no other has";
  return success();
}

//===----------------------------------------------------------------------===//
// Inputs and outputs
//===----------------------------------------------------------------------===//

/// `array` with one more element.
static ArrayAttr append(ArrayAttr array, Attribute element) {
  SmallVector<Attribute> elements(array.begin(), array.end());
  elements.push_back(element);
  return ArrayAttr::get(array.getContext(), elements);
}

OutputOp ProgramOp::getOutput() { return cast<OutputOp>(getBlock().getTerminator()); }

BlockArgument ProgramOp::addInput(StringRef name, RankedTensorType type, ArrayRef<StringRef> dimensions) {
  Builder builder(getContext());
  setInputsAttr(append(getInputs(), builder.getStringAttr(name)));
  setDimensionsAttr(append(getDimensions(), builder.getStrArrayAttr(dimensions)));
  return getBlock().addArgument(type, getLoc());
}

SmallVector<Value> ProgramOp::addInputs(ArrayRef<std::pair<std::string, RankedTensorType>> inputs) {
  Builder builder(getContext());
  SmallVector<Attribute> names(getInputs().getValue()), dimensions(getDimensions().getValue());
  SmallVector<Value> values;
  for (const auto &[name, type] : inputs) {
    names.push_back(builder.getStringAttr(name));
    dimensions.push_back(builder.getArrayAttr({}));
    values.push_back(getBlock().addArgument(type, getLoc()));
  }
  setInputsAttr(builder.getArrayAttr(names));
  setDimensionsAttr(builder.getArrayAttr(dimensions));
  return values;
}

Value OutputOp::lookup(StringRef name) {
  for (auto [given, value] : llvm::zip(getNames().getAsRange<StringAttr>(), getValues()))
    if (given.getValue() == name)
      return value;
  return Value();
}

void OutputOp::append(StringRef name, Value value) {
  setNamesAttr(::append(getNames(), StringAttr::get(getContext(), name)));
  getValuesMutable().append(value);
}
