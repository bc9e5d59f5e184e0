// SPDX-License-Identifier: Apache-2.0
// Attributes: generated code, registration and verification.

#include "dialect/MorphAttrs.h"

#include "dialect/MorphDialect.h"
#include "runtime/plan/SizeLimits.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

#include <cmath>

using namespace mlir;
using namespace morph;

#include "dialect/MorphEnums.cpp.inc"

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
