// SPDX-License-Identifier: Apache-2.0

#include "dialect/InferTypes.h"

#include "dialect/MorphOps.h"
#include "dialect/backends/LinearAttentionBackend.h"

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
    if (rule.updates.empty() || rule.updates[result].empty())
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

/// linear_attention_c4 and c5, which its gradient shares: the extras are those of a backend's kernel. B, T, H, K and V
/// are those of q, k and v.
template <typename Adaptor>
static LogicalResult verifyExtras(std::optional<Location> location, StringRef op, Adaptor adaptor) {
  StringRef kind = adaptor.getKind();
  std::optional<ArrayRef<LinearAttentionKernelOperand>> operands = getLinearAttentionKernel(kind);
  if (!operands)
    return reportViolation(location, op,
                           "linear_attention_c4: no backend has a kernel '" + kind +
                               "'; there are: " + llvm::join(getLinearAttentionKernelNames(), ", "));
  if (operands->size() != adaptor.getExtras().size())
    return reportViolation(location, op,
                           "linear_attention_c5: kernel '" + kind + "' takes " + Twine(operands->size()) +
                               " further operands, got " + Twine(adaptor.getExtras().size()));
  // An op of the table for once, whose operands are q, v and the extras.
  plan::OpRule rule;
  plan::OpArguments arguments;
  std::vector<plan::Shape> shapes;
  shapes.reserve(operands->size() + 2);
  SmallVector<Value> values;
  auto add = [&](StringRef name, StringRef pattern, Value value) {
    shapes.push_back(getShape(value.getType()));
    values.push_back(value);
    rule.operands.push_back({name.str(), plan::Arity::One, false, false});
    rule.rules.push_back({plan::RuleKind::Shape, name.str(), pattern.str(), "", "linear_attention_c5"});
    arguments.operands.push_back({&shapes.back()});
  };
  add("q", "BTHK", adaptor.getQ());
  add("v", "BTHV", adaptor.getV());
  for (auto [operand, extra] : llvm::zip_equal(*operands, adaptor.getExtras()))
    add(operand.name, operand.shape, extra);
  const std::map<std::string, plan::Attribute> none;
  arguments.attributes = &none;
  arguments.describe = [&](size_t index, size_t) { return toString(values[index].getType()); };
  plan::BoundSizes sizes;
  if (StatusOr<std::vector<plan::Shape>> checked = plan::inferShapes(rule, arguments, sizes); !checked.ok())
    return reportViolation(location, op, checked.status().message());
  return success();
}

LogicalResult LinearAttentionOp::verifyShapes(std::optional<Location> location, Adaptor adaptor) {
  return verifyExtras(location, getOperationName(), adaptor);
}

LogicalResult LinearAttentionGradOp::verifyShapes(std::optional<Location> location, Adaptor adaptor) {
  return verifyExtras(location, getOperationName(), adaptor);
}

} // namespace morph
