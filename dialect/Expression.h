// SPDX-License-Identifier: Apache-2.0
// Expressions of the mixer language: of `.morph` files, and of attributes such as "H * D" or "conv > 0". One grammar,
// much like Python's:
//
//   expression := or;  or := and ("or" and)*;  and := not ("and" not)*;  not := "not" not | comparison
//   comparison := sum [("==" | "!=" | "<" | "<=" | ">" | ">=") sum]
//   sum        := product (("+" | "-") product)*;  product := negation (("*" | "/") negation)*
//   negation   := "-" negation | power;  power := atom ["^" negation]
//   atom       := NUMBER | NAME | NAME "(" [argument ("," argument)* [","]] ")" | "(" expression ")"
//   argument   := [NAME "="] expression
//
// An expression ends with its line unless a bracket is open or the line ends with an operator or comma.

#ifndef MORPH_DIALECT_EXPRESSION_H
#define MORPH_DIALECT_EXPRESSION_H

#include "dialect/Tokens.h"

#include "llvm/ADT/STLFunctionalExtras.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace morph {

/// A tree of operations. Trees that the parser makes have at most kMaxDepth levels, and calls kMaxArguments.
struct Expression {
  enum class Kind {
    Number,
    Name,
    Call,
    Negate,
    Not,
    // Of two operands.
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    And,
    Or,
  };
  static constexpr size_t kMaxDepth = 64;
  static constexpr size_t kMaxArguments = 64;
  static constexpr size_t kMaxBytes = 4096; ///< Of a text that is one expression.

  Kind kind = Kind::Number;
  std::string text;                       ///< A number as it was written, or the name of a Name or Call.
  double number = 0;                      ///< Of a Number: finite.
  std::vector<Expression> children;       ///< Operands or arguments.
  std::vector<std::string> argumentNames; ///< Of a Call: as many as arguments, empty for positional ones.
  size_t begin = 0, end = 0;              ///< Where it stands in the text, with brackets around it.

  bool isName(llvm::StringRef name) const { return kind == Kind::Name && text == name; }
};

/// Whether two trees are the same, wherever they stand; numbers by their values.
bool operator==(const Expression &a, const Expression &b);
inline bool operator!=(const Expression &a, const Expression &b) { return !(a == b); }

/// `==`, `and`, ... of an operation of two operands.
llvm::StringRef getOperator(Expression::Kind kind);

/// Whether a name has a meaning of its own and names nothing else: `and`, `if`, `weight`, ...
bool isReservedWord(llvm::StringRef name);

/// Parses the expression that the reader stands at; `bracketed`: a bracket is open, so that lines do not end it. On
/// failure `error` says why, and the reader stands at the token that does not fit.
std::optional<Expression> parseExpression(TokenReader &reader, TextError &error, bool bracketed = false);

/// A token in an error: "'k'" or "the end of the text".
std::string describeToken(const Token &token);

/// Parses a text that is one expression of at most kMaxBytes.
std::optional<Expression> parseExpression(llvm::StringRef text, TextError &error);

/// The expression with the fewest brackets; parsed, it gives the same tree. `blank` stands where a line may be broken:
/// after operators and commas.
std::string printExpression(const Expression &expression, llvm::StringRef blank = " ");

/// The expression with what names stand for in their places; `lookup` gives null for a name that stays.
Expression replaceNames(const Expression &expression,
                        llvm::function_ref<const Expression *(llvm::StringRef name)> lookup);

/// How large an expression is as text.
struct ExpressionExtent {
  Expression::Kind kind = Expression::Kind::Number; ///< Of the outermost operation.
  size_t bytes = 0;                                 ///< As printExpression writes it.
  size_t depth = 0;                                 ///< Levels.
};

/// The extent of what replaceNames would make, which may be too large to be made; `lookup` gives the extents of what
/// names stand for.
ExpressionExtent measureExpression(const Expression &expression,
                                   llvm::function_ref<const ExpressionExtent *(llvm::StringRef name)> lookup);

/// The value of a name, nothing where it is unknown.
using NumberLookup = llvm::function_ref<std::optional<double>(llvm::StringRef name)>;
using SizeLookup = llvm::function_ref<std::optional<int64_t>(llvm::StringRef name)>;

/// The functions of evaluateNumber: exp, log, sqrt, ...; the number of their arguments, nothing where there is none.
std::optional<size_t> getScalarFunctionArity(llvm::StringRef name);
llvm::ArrayRef<llvm::StringRef> getScalarFunctionNames();

/// The value of an expression; conditions are 1 or 0. Operands of `and` and `or` that do not matter are not evaluated.
/// On failure, also where any part is not finite, `error` says why at the part's place.
std::optional<double> evaluateNumber(const Expression &expression, NumberLookup lookup, TextError &error);

/// The value of a size, a whole number from 1 to limits::kDimension, in exact 64-bit arithmetic. Quotients must be
/// whole, except in `floor(a / b)`; `min`, `max` and `abs` are the other functions.
std::optional<int64_t> evaluateSize(const Expression &expression, SizeLookup lookup, TextError &error);

} // namespace morph

#endif // MORPH_DIALECT_EXPRESSION_H
