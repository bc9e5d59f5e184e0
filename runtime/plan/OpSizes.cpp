// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/OpSizes.h"

#include <stdexcept>

namespace morph::plan {

namespace {

/// Calls `found` with the pattern and the shape of each operand that is there, until it returns true.
template <typename Found> void findPattern(const OpShapes &op, char letter, Found found) {
  for (const ShapeRule &constraint : op.rule.rules) {
    if (constraint.kind != RuleKind::Shape)
      continue;
    const OperandRule &operand = op.rule.operands[static_cast<size_t>(op.rule.operandIndex(constraint.first))];
    if (operand.arity == Arity::Variadic && variadicCount(op.instruction, operand.name) == 0)
      continue;
    const size_t at = constraint.second.find(letter);
    const int64_t value = operandValue(op.instruction, op.rule, operand.name);
    if (at != std::string::npos && value >= 0)
      return found(constraint.second, at, op.shapes[static_cast<size_t>(value)]);
  }
  throw std::out_of_range("op '" + op.rule.name + "' has no operand with the size '" + letter + "'");
}

} // namespace

int64_t OpShapes::letter(char letter) const {
  int64_t size = 0;
  findPattern(*this, letter, [&](const std::string &pattern, size_t at, const std::vector<int64_t> &shape) {
    size = shape[pattern[0] == '*' ? shape.size() - (pattern.size() - at) : at];
  });
  return size;
}

bool OpShapes::has(const std::string &name) const {
  return instruction.attributes.count(name) != 0 ||
         (rule.operandIndex(name) >= 0 && operandValue(instruction, rule, name) >= 0);
}

std::optional<MatrixProduct> matrixProduct(const OpSizes<int64_t> &sizes) {
  std::vector<std::string> patterns;
  DType type = DType::F32;
  for (const OperandRule &operand : sizes.rule.operands)
    if (operand.factor) {
      for (const ShapeRule &constraint : sizes.rule.rules)
        if (constraint.kind == RuleKind::Shape && constraint.first == operand.name)
          patterns.push_back(constraint.second);
      const int64_t value = operandValue(sizes.instruction, sizes.rule, operand.name);
      type = sizes.plan.values[static_cast<size_t>(value)].dtype;
    }
  if (patterns.size() != 2 || sizes.rule.results.size() != 1)
    return std::nullopt;
  const std::string &a = patterns[0], &b = patterns[1], &c = sizes.rule.results[0].shape;
  if (a.size() != 2 || b.size() != 2 || c.size() != 2)
    return std::nullopt;
  auto beside = [](const std::string &pattern, char letter) {
    return pattern[0] == letter ? pattern[1] : pattern[1] == letter ? pattern[0] : '\0';
  };
  const char k = beside(a, c[0]);
  if (!k || k != beside(b, c[1]))
    return std::nullopt;
  auto size = [&](char letter) { return letter == '*' ? sizes.rows() : sizes(letter); };
  return MatrixProduct{size(c[0]), size(c[1]), size(k), a[0] == k, b[1] == k, type};
}

std::vector<int64_t> OpShapes::leading() const {
  std::vector<int64_t> sizes;
  findPattern(*this, '*', [&](const std::string &pattern, size_t, const std::vector<int64_t> &shape) {
    sizes.assign(shape.begin(), shape.end() - static_cast<int64_t>(pattern.size() - 1));
  });
  return sizes;
}

} // namespace morph::plan
