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

std::vector<int64_t> OpShapes::leading() const {
  std::vector<int64_t> sizes;
  findPattern(*this, '*', [&](const std::string &pattern, size_t, const std::vector<int64_t> &shape) {
    sizes.assign(shape.begin(), shape.end() - static_cast<int64_t>(pattern.size() - 1));
  });
  return sizes;
}

} // namespace morph::plan
