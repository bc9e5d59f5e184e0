// SPDX-License-Identifier: Apache-2.0
// Result types of ops by the op table (runtime/plan/OpTable.h), which is made from their definitions.

#ifndef MORPH_DIALECT_INFERTYPES_H
#define MORPH_DIALECT_INFERTYPES_H

#include "dialect/OperandCount.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/OperationSupport.h"
#include "runtime/plan/InferShapes.h"

#include "llvm/ADT/STLExtras.h"

namespace morph {

/// The sizes of a tensor as the op table knows them; dynamic ones are unknown.
plan::Shape getShape(mlir::Type type);

/// The attributes among `attributes` that the op table has for the op.
std::map<std::string, plan::Attribute> getTableAttributes(const plan::OpRule &rule, mlir::DictionaryAttr attributes);

/// The types of the results of op `name` with the operands `groups`, one a group of its definition. An error is
/// reported at `location`, where there is one.
llvm::LogicalResult inferTypesByTable(mlir::MLIRContext *context, std::optional<mlir::Location> location,
                                      llvm::StringRef name, llvm::ArrayRef<mlir::ValueRange> groups,
                                      mlir::DictionaryAttr attributes, llvm::SmallVectorImpl<mlir::Type> &results);

/// Reports that a constraint of op `name` ("morph.linear") does not hold; `message` begins with its label.
llvm::LogicalResult reportViolation(std::optional<mlir::Location> location, llvm::StringRef name,
                                    const llvm::Twine &message);

namespace detail {
template <typename Op> using PropertiesOf = decltype(&Op::getPropertiesAsAttr);
} // namespace detail

/// `InferTypeOpInterface::inferReturnTypes` of `Op`: by the table.
template <typename Op>
llvm::LogicalResult inferTypes(mlir::MLIRContext *context, std::optional<mlir::Location> location,
                               mlir::ValueRange operands, mlir::DictionaryAttr attributes,
                               mlir::OpaqueProperties properties, mlir::RegionRange regions,
                               llvm::SmallVectorImpl<mlir::Type> &results) {
  // A format that takes any list of operands infers types before the verifier has counted them.
  if (failed(checkOperandCount<Op>(location, operands.size())))
    return mlir::failure();
  typename Op::Adaptor adaptor(operands, attributes, properties, regions);
  llvm::StringRef name = Op::getOperationName();
  const plan::OpRule &rule = *plan::findOpRule(name.split('.').second.str());
  llvm::SmallVector<mlir::ValueRange> groups;
  if constexpr (!Op::template hasTrait<mlir::OpTrait::ZeroOperands>())
    for (unsigned group = 0; group < rule.operands.size(); ++group)
      groups.push_back(adaptor.getODSOperands(group));
  mlir::DictionaryAttr inherent = attributes;
  if constexpr (llvm::is_detected<detail::PropertiesOf, Op>::value)
    if (properties)
      inherent = mlir::dyn_cast_or_null<mlir::DictionaryAttr>(
          Op::getPropertiesAsAttr(context, *properties.as<typename Op::Properties *>()));
  return inferTypesByTable(context, location, name, groups, inherent, results);
}

} // namespace morph

#endif // MORPH_DIALECT_INFERTYPES_H
