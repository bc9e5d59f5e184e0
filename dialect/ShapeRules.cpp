// SPDX-License-Identifier: Apache-2.0

#include "dialect/ShapeRules.h"

#include "dialect/SizeLimits.h"

#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace morph;

namespace {
std::string toString(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

std::string toString(int64_t size) { return ShapedType::isDynamic(size) ? "?" : std::to_string(size); }

/// "*OI" as "[...,O,I]".
std::string describePattern(StringRef pattern) {
  std::string text = "[";
  for (char dimension : pattern) {
    if (text.size() > 1)
      text += ',';
    if (dimension == '*')
      text += "...";
    else
      text += dimension;
  }
  return text + "]";
}
} // namespace

LogicalResult ShapeRules::fail(StringRef label, const Twine &message) const {
  if (location)
    emitError(*location) << "'morph." << op << "' op " << label << ": " << message;
  return failure();
}

LogicalResult ShapeRules::match(StringRef label, StringRef operand, Value value, StringRef pattern) {
  std::string expected = pattern.empty() ? "a scalar" : describePattern(pattern);
  auto tensor = dyn_cast<RankedTensorType>(value.getType());
  if (!tensor)
    return fail(label, operand + " is " + toString(value.getType()) + ", expected a ranked tensor " + expected);
  auto mismatch = [&](const Twine &what) {
    return fail(label, operand + " is " + toString(tensor) + ", expected " + expected + what);
  };
  ArrayRef<int64_t> shape = tensor.getShape();
  if (llvm::any_of(shape, [](int64_t size) { return size > limits::kDimension; }))
    return mismatch(": a dimension is larger than " + Twine(limits::kDimension));
  bool anyLeading = pattern.consume_front("*");
  if (anyLeading ? shape.size() < pattern.size() : shape.size() != pattern.size())
    return mismatch("");

  if (anyLeading) {
    ArrayRef<int64_t> given = shape.drop_back(pattern.size());
    if (!leading) {
      leading.emplace(given);
      leadingOperand = operand;
      leadingType = tensor;
    } else {
      bool same = leading->size() == given.size();
      for (size_t i = 0; same && i < given.size(); ++i) {
        int64_t &known = (*leading)[i];
        same = ShapedType::isDynamic(known) || ShapedType::isDynamic(given[i]) || known == given[i];
        if (ShapedType::isDynamic(known))
          known = given[i];
      }
      if (!same)
        return mismatch(": the leading dimensions are not those of " + leadingOperand + " (" + toString(leadingType) +
                        ")");
    }
    shape = shape.take_back(pattern.size());
  }

  for (auto [dimension, size] : llvm::zip_equal(pattern, shape)) {
    if (dimension == '1') {
      if (size != 1)
        return mismatch(": " + toString(size) + " where there is 1");
      continue;
    }
    auto [known, isNew] = sizes.try_emplace(dimension, Size{size, operand.str(), tensor});
    if (isNew || ShapedType::isDynamic(size))
      continue;
    if (ShapedType::isDynamic(known->second.size)) {
      known->second = {size, operand.str(), tensor};
      continue;
    }
    if (known->second.size != size) {
      const Size &first = known->second;
      std::string where = first.type ? toString(first.size) + " in " + first.operand + " (" + toString(first.type) + ")"
                                     : first.operand + " is " + toString(first.size);
      return mismatch(": " + Twine(dimension) + " is " + toString(size) + ", but " + where);
    }
  }
  return success();
}

RankedTensorType ShapeRules::type(MLIRContext *context, StringRef pattern) const {
  SmallVector<int64_t> shape;
  if (pattern.consume_front("*"))
    shape.append(leading->begin(), leading->end());
  for (char dimension : pattern)
    shape.push_back(dimension == '1' ? 1 : get(dimension));
  return RankedTensorType::get(shape, Float32Type::get(context));
}
