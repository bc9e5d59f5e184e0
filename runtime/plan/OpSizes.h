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
  /// Whether the optional operand or attribute of that name is there.
  bool has(const std::string &name) const;
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

/// c [m,n] = a [m,k] times b [k,n].
struct MatrixProduct {
  int64_t m = 0, n = 0, k = 0;
  bool transposedA = false, transposedB = false; ///< a lies in memory as [k,m], b as [n,k].
  DType factors = DType::F32;
};

/// What an op with two factors computes whose patterns, and that of its one result, have two letters each ('*' is one
/// of these): a sum over the letter that both factors have. Nothing where an op is none such.
std::optional<MatrixProduct> matrixProduct(const OpSizes<int64_t> &sizes);

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_OPSIZES_H
