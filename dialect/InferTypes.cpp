// SPDX-License-Identifier: Apache-2.0

#include "dialect/InferTypes.h"

#include "dialect/MorphOps.h"

#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace morph {

static std::string toString(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

plan::Shape getShape(Type type) {
  plan::Shape shape;
  for (int64_t size : cast<RankedTensorType>(type).getShape())
    shape.push_back(ShapedType::isDynamic(size) ? plan::Dim(std::string(plan::kUnknown)) : plan::Dim(size));
  return shape;
}

std::map<std::string, plan::Attribute> getTableAttributes(const plan::OpRule &rule, DictionaryAttr attributes) {
  std::map<std::string, plan::Attribute> result;
  for (const plan::AttributeRule &known : rule.attributes) {
    Attribute attribute = attributes ? attributes.get(known.name) : Attribute();
    if (!attribute)
      continue;
    if (isa<UnitAttr>(attribute))
      result[known.name] = true;
    else if (auto integer = dyn_cast<IntegerAttr>(attribute))
      result[known.name] = integer.getInt();
    else if (auto number = dyn_cast<FloatAttr>(attribute))
      result[known.name] = number.getValueAsDouble();
    else if (auto text = dyn_cast<StringAttr>(attribute))
      result[known.name] = text.str();
    else if (auto symbol = dyn_cast<FlatSymbolRefAttr>(attribute))
      result[known.name] = symbol.getValue().str();
  }
  return result;
}

LogicalResult reportViolation(std::optional<Location> location, StringRef name, const Twine &message) {
  if (location)
    emitError(*location) << "'" << name << "' op " << message;
  return failure();
}

LogicalResult inferTypesByTable(MLIRContext *context, std::optional<Location> location, StringRef name,
                                ArrayRef<ValueRange> groups, DictionaryAttr attributes,
                                SmallVectorImpl<Type> &results) {
  const plan::OpRule &rule = *plan::findOpRule(name.split('.').second.str());
  std::vector<std::vector<plan::Shape>> shapes;
  for (auto [group, operand] : llvm::zip_equal(groups, rule.operands)) {
    std::vector<plan::Shape> &values = shapes.emplace_back();
    for (auto [index, value] : llvm::enumerate(group)) {
      if (!isa<RankedTensorType>(value.getType()))
        return reportViolation(location, name,
                               operand.name + " is " + toString(value.getType()) + ", expected a ranked tensor");
      values.push_back(getShape(value.getType()));
    }
  }
  plan::OpArguments arguments;
  for (const std::vector<plan::Shape> &values : shapes) {
    std::vector<const plan::Shape *> &pointers = arguments.operands.emplace_back();
    for (const plan::Shape &shape : values)
      pointers.push_back(&shape);
  }
  const std::map<std::string, plan::Attribute> tableAttributes = getTableAttributes(rule, attributes);
  for (const plan::AttributeRule &known : rule.attributes)
    if (known.required && !tableAttributes.count(known.name) && !StringRef(known.name).ends_with("_count"))
      return reportViolation(location, name, "requires attribute '" + known.name + "'");
  arguments.attributes = &tableAttributes;
  arguments.describe = [&](size_t index, size_t nth) { return toString(groups[index][nth].getType()); };
  plan::BoundSizes sizes;
  StatusOr<std::vector<plan::Shape>> inferred = plan::inferShapes(rule, arguments, sizes);
  if (!inferred.ok())
    return reportViolation(location, name, inferred.status().message());
  Type element = Float32Type::get(context);
  if (plan::resultType(rule, tableAttributes) == plan::DType::BF16)
    element = BFloat16Type::get(context);
  // What is written into an operand's memory is of its type.
  auto updatedElement = [&](size_t result) -> std::optional<Type> {
    if (result >= rule.updates.size() || rule.updates[result].empty())
      return std::nullopt;
    ValueRange operand = groups[static_cast<size_t>(rule.operandIndex(rule.updates[result]))];
    return operand.empty() ? std::nullopt : std::optional<Type>(getElementTypeOrSelf(operand.front().getType()));
  };
  for (auto [index, shape] : llvm::enumerate(*inferred)) {
    SmallVector<int64_t> dimensions;
    for (const plan::Dim &dim : shape)
      dimensions.push_back(plan::isUnknown(dim) ? ShapedType::kDynamic : std::get<int64_t>(dim));
    results.push_back(RankedTensorType::get(dimensions, updatedElement(index).value_or(element)));
  }
  return success();
}

} // namespace morph
