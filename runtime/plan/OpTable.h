// SPDX-License-Identifier: Apache-2.0
// What an instruction of each op looks like: operands, attributes, results. The order of operands is that of the op's
// definition in dialect/*.td; a new op is one line here and one rule in Shapes.cpp.

#ifndef MORPH_RUNTIME_PLAN_OPTABLE_H
#define MORPH_RUNTIME_PLAN_OPTABLE_H

#include "runtime/plan/Plan.h"

namespace morph::plan {

enum class Arity { One, Optional, Variadic };

struct OperandRule {
  std::string name;
  Arity arity = Arity::One;
  bool index = false;   ///< I64 (ids, positions, offsets) instead of floats.
  bool product = false; ///< A factor of a matrix product: may be rounded to bf16 under the bf16 policy.
};

enum class AttributeKind { Flag, Integer, Real, Text };

struct AttributeRule {
  std::string name;
  AttributeKind kind = AttributeKind::Integer;
  bool required = true;
};

struct OpRule {
  std::string name;
  std::vector<OperandRule> operands;
  std::vector<AttributeRule> attributes;
  std::vector<std::string> results; ///< A name that ends in "..." stands for as many results as there are `extras`.
};

/// The rule of an op, or null.
const OpRule *findOpRule(const std::string &op);
/// Names of all ops, sorted.
std::vector<std::string> opNames();

/// Number of values in the variadic operand `name`: the attribute `<name>_count`, 0 where absent.
int64_t variadicCount(const Instruction &instruction, const std::string &name);

/// Position in `instruction.operands` of the first value of operand `name`, or -1 where the op has no such operand.
int64_t operandPosition(const Instruction &instruction, const OpRule &rule, const std::string &name);

/// The rule of the operand at a position. The position must be valid for a validated instruction.
const OperandRule &operandRuleAt(const Instruction &instruction, const OpRule &rule, size_t position);

/// Number of operand slots and of results that the instruction must have.
size_t expectedOperands(const Instruction &instruction, const OpRule &rule);
size_t expectedResults(const Instruction &instruction, const OpRule &rule);

/// A shape as text: "[B,T,64]".
std::string shapeText(const std::vector<Dim> &shape);

/// No tensor of a plan has more elements, so that its size in bytes cannot overflow.
inline constexpr int64_t kMaximumElements = int64_t(1) << 48;

/// Shapes of the results of an instruction whose operands have the given shapes (null for an absent optional operand).
/// Two sizes agree where they are the same number or the same name: what a name stands for is known only at run time,
/// and then it is one number for the whole plan. Operand counts and attribute kinds must have been checked. Errors say
/// which operand or attribute is wrong and what was expected, without the instruction's place.
StatusOr<std::vector<std::vector<Dim>>> inferShapes(const Plan &plan, const Instruction &instruction,
                                                    const std::vector<const std::vector<Dim> *> &operands);

/// One dimension with the named sizes bound. Errors: a name that is not bound, a size out of range.
StatusOr<int64_t> resolveDim(const Dim &dim, const std::map<std::string, int64_t> &sizes);

/// The shape of every value of a validated plan, with its named sizes bound ("B", "T", "S", "N"). A size of 0 is a
/// size. Errors: a name that is not bound, a negative size, a value of more than kMaximumElements elements.
StatusOr<std::vector<std::vector<int64_t>>> resolveShapes(const Plan &plan,
                                                          const std::map<std::string, int64_t> &sizes);

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_OPTABLE_H
