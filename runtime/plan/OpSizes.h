// SPDX-License-Identifier: Apache-2.0
// The sizes of one op in a run, as the formulas of the op table read them.

#ifndef MORPH_RUNTIME_PLAN_OPSIZES_H
#define MORPH_RUNTIME_PLAN_OPSIZES_H

#include "runtime/plan/OpTable.h"

#include <optional>

namespace morph::plan {

/// An instruction with the shapes of all values of its plan in a run (resolveShapes). It refers to its arguments.
class OpShapes {
public:
  OpShapes(const Plan &plan, const Instruction &instruction, const std::vector<std::vector<int64_t>> &shapes)
      : plan(plan), instruction(instruction), rule(*findOpRule(instruction.op)), shapes(shapes) {}

  const Plan &plan;
  const Instruction &instruction;
  const OpRule &rule;
  const std::vector<std::vector<int64_t>> &shapes;

  /// The size of a letter of the operands' patterns. Throws std::out_of_range where no operand that is there has it.
  int64_t letter(char letter) const;
  /// The dimensions that '*' stands for. Throws as above.
  std::vector<int64_t> leading() const;
};

/// What FLOPs (`Number` is double) and bytes (int64_t) are counted of.
template <typename Number> class OpSizes : public OpShapes {
public:
  using OpShapes::OpShapes;

  Number operator()(char letter) const { return static_cast<Number>(OpShapes::letter(letter)); }
  /// The product of the dimensions that '*' stands for.
  Number rows() const {
    Number product = 1;
    for (int64_t size : leading())
      product *= static_cast<Number>(size);
    return product;
  }
  Number integer(const std::string &name) const {
    return static_cast<Number>(std::get<int64_t>(instruction.attributes.at(name)));
  }
  Number integer(const std::string &name, Number absent) const {
    return instruction.attributes.count(name) ? integer(name) : absent;
  }
};

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_OPSIZES_H
