// SPDX-License-Identifier: Apache-2.0
// What an instruction of each op looks like: operands, attributes, results and the rules of their shapes. The table is
// made from dialect/*.td by tools/morph-tblgen; dialect/MorphBase.td says what rules and patterns mean.

#ifndef MORPH_RUNTIME_PLAN_OPTABLE_H
#define MORPH_RUNTIME_PLAN_OPTABLE_H

#include "runtime/plan/Plan.h"

namespace morph::plan {

template <typename Number> class OpSizes;
class ScratchSizes;

enum class Arity { One, Optional, Variadic };

struct OperandRule {
  std::string name;
  Arity arity = Arity::One;
  bool index = false;  ///< I64 (ids, positions, offsets) instead of floats.
  bool half = false;   ///< May be bf16.
  bool factor = false; ///< A factor of a matrix product.
};

enum class AttributeKind { Flag, Integer, Real, Text };

struct AttributeRule {
  std::string name;
  AttributeKind kind = AttributeKind::Integer;
  bool required = true;
};

struct ResultRule {
  std::string name;
  /// A pattern, "=x" for those of operand x, which may be variadic, "=x|y" of optional ones, or "?x=P" of a flag x.
  std::string shape;
};

enum class RuleKind {
  Shape,
  Size,
  Divides,
  AtMost,
  Range,
  Positive,
  Real,
  OneOf,
  AtMostOne,
  Together,
  Trailing,
  Last,
  Table
};

/// A constraint of dialect/MorphBase.td, with its parameters in their order there.
struct ShapeRule {
  RuleKind kind;
  std::string first, second, third;
  std::string label;
};

/// Values of an index operand are less than the product of these dimensions.
struct IndexRule {
  std::string operand;
  std::string letters;
};

/// Shares of a gate: those of the values of a variadic operand, or the one by which all results are multiplied.
struct ShareRule {
  std::string gate; ///< An operand.
  std::string of;   ///< The variadic operand, or the integer attribute that has the share's number.
};

/// An operand that is a ring of positions where the operand `offset` is there, read up to a window.
struct RingRule {
  std::string ring, offset;
  std::string window; ///< An integer attribute; absent: all positions.
};

struct OpRule {
  std::string name;
  std::vector<OperandRule> operands;
  std::vector<AttributeRule> attributes;
  std::vector<ResultRule> results;
  std::vector<ShapeRule> rules;
  std::vector<IndexRule> indices;
  std::string resultType;           ///< f32, or the attribute that names it.
  std::string viewOf;               ///< The operand that the result is a view of, or empty.
  std::vector<std::string> inPlace; ///< Operands whose memory the first result may take.
  std::vector<std::string> updates; ///< None, or one a result: the operand in whose memory it is written, or empty.
  bool elementwise = false;         ///< An expression of the operands' elements is all that it is.
  std::vector<std::vector<std::string>> zeroWhere; ///< Where all operands of one list are zero, so are all results.
  std::vector<ShareRule> shares;
  std::vector<RingRule> rings;
  std::string pyTorch;                                ///< Of an elementwise op of one operand, {}; or empty.
  bool mixesTokens = false;                           ///< Positions see each other by it.
  double (*flops)(const OpSizes<double> &) = nullptr; ///< Null: some operations an element.
  int64_t (*scratch)(const ScratchSizes &) = nullptr; ///< Bytes that its kernel works in; null: none.

  /// The operand of a name, its place among `operands`; -1 where there is none.
  int64_t operandIndex(const std::string &operand) const;
};

/// The element type of an instruction's results. Attribute kinds must have been checked.
DType resultType(const OpRule &rule, const std::map<std::string, Attribute> &attributes);

/// The rule of an op, or null.
const OpRule *findOpRule(const std::string &op);
/// Names of all ops, sorted.
std::vector<std::string> opNames();

/// Number of values in the variadic operand `name`: the attribute `<name>_count`, 0 where absent.
int64_t variadicCount(const Instruction &instruction, const std::string &name);

/// Position in `instruction.operands` of the first value of operand `name`, or -1 where the op has no such operand.
int64_t operandPosition(const Instruction &instruction, const OpRule &rule, const std::string &name);

/// The first value of operand `name`, which the op must have; -1 where it is absent.
int64_t operandValue(const Instruction &instruction, const OpRule &rule, const std::string &name);

/// One a result: the value in whose memory it is written in place; -1 where it has its own. The instruction's operands
/// must be as many as its rule says.
std::vector<int64_t> updatedValues(const Instruction &instruction, const OpRule &rule);
/// Whether one of them is.
bool updatesInPlace(const Instruction &instruction, const OpRule &rule);

/// The rule of the operand at a position. The position must be valid for a validated instruction.
const OperandRule &operandRuleAt(const Instruction &instruction, const OpRule &rule, size_t position);

/// Number of operand slots that the instruction must have.
size_t expectedOperands(const Instruction &instruction, const OpRule &rule);

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_OPTABLE_H
