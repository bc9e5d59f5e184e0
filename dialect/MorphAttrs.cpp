// SPDX-License-Identifier: Apache-2.0
// Attributes: generated code, registration and verification.

#include "dialect/MorphAttrs.h"

#include "dialect/MorphDialect.h"
#include "runtime/plan/SizeLimits.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/Format.h"

#include <cmath>

using namespace mlir;
using namespace morph;

#include "dialect/MorphEnums.cpp.inc"

/// `, rows 8 to 12`, or nothing.
static ParseResult parsePieceRows(AsmParser &parser, int64_t &begin, int64_t &end) {
  begin = end = 0;
  if (failed(parser.parseOptionalComma()))
    return success();
  return failure(parser.parseKeyword("rows") || parser.parseInteger(begin) || parser.parseKeyword("to") ||
                 parser.parseInteger(end));
}

static void printPieceRows(AsmPrinter &printer, int64_t begin, int64_t end) {
  if (end)
    printer << ", rows " << begin << " to " << end;
}

#define GET_ATTRDEF_CLASSES
#include "dialect/MorphAttrs.cpp.inc"

void MorphDialect::registerMorphAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialect/MorphAttrs.cpp.inc"
      >();
}

FailureOr<DenseF64ArrayAttr> morph::parseF64Array(AsmParser &parser) {
  SmallVector<double> values;
  auto parseValue = [&]() { return parser.parseFloat(values.emplace_back()); };
  if (failed(parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseValue)))
    return failure();
  return DenseF64ArrayAttr::get(parser.getContext(), values);
}

void morph::printF64Array(AsmPrinter &printer, DenseF64ArrayAttr values) {
  printer << '[';
  llvm::interleaveComma(values.asArrayRef(), printer, [&](double value) { printer.printFloat(llvm::APFloat(value)); });
  printer << ']';
}

LogicalResult InitAttr::verify(function_ref<InFlightDiagnostic()> emitError, InitKind kind, StringAttr source,
                               int64_t heads, int64_t times, FloatAttr value, DenseF64ArrayAttr values) {
  StringRef name = stringifyInitKind(kind);
  bool fromSource = kind == InitKind::Copy || kind == InitKind::RepeatHeads;
  if (fromSource && (!source || source.empty()))
    return emitError() << "init_c1: '" << name << "' needs the name of a `source` weight";
  auto isCount = [](int64_t count) { return count >= 1 && count <= limits::kHeads; };
  if (kind == InitKind::RepeatHeads && (!isCount(heads) || !isCount(times)))
    return emitError() << "init_c2: 'repeat_heads' needs `heads` and `times` of 1 to " << limits::kHeads << ", got "
                       << heads << " and " << times;
  bool fromValue = kind == InitKind::Constant || kind == InitKind::Normal;
  if (fromValue && !value)
    return emitError() << "init_c3: '" << name << "' needs a `value`";
  if (fromValue && !value.getValue().isFinite())
    return emitError() << "init_c3: the value of '" << name << "' is " << value.getValueAsDouble()
                       << ", expected a finite number";
  if (kind == InitKind::Normal && value.getValueAsDouble() < 0)
    return emitError() << "init_c3: the standard deviation of 'normal' is not negative, got "
                       << value.getValueAsDouble();
  if (kind == InitKind::Values && (!values || values.empty()))
    return emitError() << "init_c4: 'values' needs `values`";
  if (kind == InitKind::Values && !llvm::all_of(values.asArrayRef(), [](double v) { return std::isfinite(v); }))
    return emitError() << "init_c4: one of the `values` is not a finite number";
  return success();
}

LogicalResult PieceAttr::verify(function_ref<InFlightDiagnostic()> emitError, StringAttr tensor, int64_t begin,
                                int64_t end) {
  if (tensor.empty())
    return emitError() << "piece_c1: the tensor has no name";
  if ((begin != 0 || end != 0) && !(begin >= 0 && begin < end))
    return emitError() << "piece_c2: the rows of '" << tensor.getValue() << "' are " << begin << " to " << end
                       << ", expected a begin of 0 or more and a greater end";
  return success();
}

LogicalResult MixerInitAttr::verify(function_ref<InFlightDiagnostic()> emitError, InitKind kind, StringRef) {
  if (kind == InitKind::Constant)
    return emitError() << "mixer_init_c1: the kind is 'constant', expected copy, repeat_heads, normal or values";
  return success();
}

/// The number of an attribute of the type of `value`, within one of the ranges where there are any.
static std::optional<double> readOption(Attribute given, TypedAttr value, ArrayRef<double> ranges) {
  auto typed = dyn_cast<TypedAttr>(given);
  if (!typed || typed.getType() != value.getType())
    return std::nullopt;
  double number;
  if (auto real = dyn_cast<FloatAttr>(given))
    number = real.getValueAsDouble();
  else if (auto integer = dyn_cast<IntegerAttr>(given))
    number = integer.getType().isInteger(1) ? integer.getValue().getBoolValue() : static_cast<double>(integer.getInt());
  else
    return std::nullopt;
  for (size_t i = 0; i < ranges.size(); i += 2)
    if (number >= ranges[i] && number <= ranges[i + 1])
      return number;
  return ranges.empty() && std::isfinite(number) ? std::optional<double>(number) : std::nullopt;
}

LogicalResult MixerOptionAttr::verify(function_ref<InFlightDiagnostic()> emitError, StringRef name, TypedAttr value,
                                      DenseF64ArrayAttr ranges) {
  if (name.empty() || !llvm::all_of(name, [](char c) { return llvm::isAlnum(c) || c == '_'; }))
    return emitError() << "mixer_option_c1: the name is '" << name << "', expected letters, digits and '_'";
  Type type = value.getType();
  if (!type.isInteger(64) && !type.isF64() && !type.isInteger(1))
    return emitError() << "mixer_option_c2: the value of '" << name << "' is " << value
                       << ", expected one of type i64, f64 or i1";
  ArrayRef<double> bounds = ranges ? ranges.asArrayRef() : ArrayRef<double>();
  bool rise = bounds.size() % 2 == 0 && llvm::all_of(bounds, [](double bound) { return std::isfinite(bound); });
  for (size_t i = 0; rise && i < bounds.size(); i += 2)
    rise = bounds[i] <= bounds[i + 1];
  if (!rise)
    return emitError() << "mixer_option_c3: the ranges of '" << name << "' are not pairs of numbers that rise";
  if (!readOption(value, value, bounds))
    return emitError() << "mixer_option_c3: the value of '" << name << "' is in none of its ranges";
  return success();
}

std::optional<double> MixerOptionAttr::read(Attribute given) const {
  return readOption(given, getValue(), getRanges() ? getRanges().asArrayRef() : ArrayRef<double>());
}

std::string MixerOptionAttr::describeRanges() const {
  std::string text;
  llvm::raw_string_ostream os(text);
  if (getValue().getType().isInteger(1))
    return "true or false";
  os << (getValue().getType().isF64() ? "a number" : "a whole number");
  ArrayRef<double> ranges = getRanges() ? getRanges().asArrayRef() : ArrayRef<double>();
  for (size_t i = 0; i < ranges.size(); i += 2) {
    os << (i ? " or" : ":") << " " << llvm::format("%.15g", ranges[i]);
    if (ranges[i] != ranges[i + 1])
      os << " to " << llvm::format("%.15g", ranges[i + 1]);
  }
  return text;
}
