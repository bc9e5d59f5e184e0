// SPDX-License-Identifier: Apache-2.0

#include "passes/pytorch/Text.h"

#include "dialect/Expression.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/Format.h"

#include <cmath>

using namespace mlir;
using namespace morph;
using namespace morph::pytorch;

/// Columns of a line.
static constexpr size_t kWidth = 118;

Text pytorch::printNumber(double value) {
  Binding binding = value < 0 ? Binding::Negation : Binding::Atom;
  // Sizes are to be whole in Python, too.
  if (value == std::floor(value) && std::abs(value) < 1e15)
    return {std::to_string(static_cast<int64_t>(value)), binding};
  std::string text;
  // The fewest digits that give the same number again.
  for (int digits = 1; digits <= 17; ++digits) {
    text.clear();
    llvm::raw_string_ostream(text) << llvm::format("%.*g", digits, value);
    if (std::strtod(text.c_str(), nullptr) == value)
      break;
  }
  return {text, binding};
}

std::string pytorch::escape(StringRef text) {
  std::string escaped;
  for (char c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7F)
      c = ' ';
    if (c == '"' || c == '\\')
      escaped += '\\';
    escaped += c;
  }
  return escaped;
}

std::string pytorch::printString(StringRef text) { return "\"" + escape(text) + "\""; }

//===----------------------------------------------------------------------===//
// Formulas
//===----------------------------------------------------------------------===//

static StringRef getAttributeOfSize(StringRef name) {
  return llvm::StringSwitch<StringRef>(name)
      .Case("M", "self._hidden")
      .Case("H", "self._heads")
      .Case("G", "self._kv_heads")
      .Case("D", "self._head_dim")
      .Default("");
}

static bool hasSize(const Expression &expression) {
  return (expression.kind == Expression::Kind::Name && !getAttributeOfSize(expression.text).empty()) ||
         llvm::any_of(expression.children, hasSize);
}

/// The expression in sizes of the base; nothing where that would be no simple arithmetic.
static std::optional<Text> printArithmetic(MixerExpander &expander, const Expression &expression, bool isSize) {
  using Kind = Expression::Kind;
  if (!hasSize(expression)) {
    FailureOr<double> value = expander.getNumber(printExpression(expression));
    return failed(value) ? std::nullopt : std::optional(printNumber(*value));
  }
  if (expression.kind == Kind::Name)
    return Text{getAttributeOfSize(expression.text).str(), Binding::Atom};
  SmallVector<Text, 2> operands;
  for (const Expression &child : expression.children) {
    std::optional<Text> operand = printArithmetic(expander, child, isSize);
    if (!operand)
      return std::nullopt;
    operands.push_back(*operand);
  }
  auto combine = [&](const char *symbol, Binding left, Binding right, Binding whole) {
    return Text{operands[0].within(left) + symbol + operands[1].within(right), whole};
  };
  switch (expression.kind) {
  case Kind::Negate:
    return Text{"-" + operands[0].within(Binding::Negation), Binding::Negation};
  case Kind::Add:
    return combine(" + ", Binding::Sum, Binding::Product, Binding::Sum);
  case Kind::Subtract:
    return combine(" - ", Binding::Sum, Binding::Product, Binding::Sum);
  case Kind::Multiply:
    return combine(" * ", Binding::Product, Binding::Negation, Binding::Product);
  case Kind::Divide:
    return combine(isSize ? " // " : " / ", Binding::Product, Binding::Negation, Binding::Product);
  case Kind::Power:
    return combine("**", Binding::Atom, Binding::Negation, Binding::Power);
  case Kind::Call:
    if (expression.text == "sqrt")
      return Text{operands[0].within(Binding::Atom) + "**0.5", Binding::Power};
    return std::nullopt;
  default:
    return std::nullopt;
  }
}

FailureOr<Text> pytorch::printFormula(MixerExpander &expander, StringRef formula, bool isSize) {
  TextError error;
  if (std::optional<Expression> expression = parseExpression(formula, error))
    if (std::optional<Text> text = printArithmetic(expander, *expression, isSize))
      return *text;
  FailureOr<double> value = expander.getNumber(formula);
  if (failed(value))
    return failure();
  return printNumber(*value);
}

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

/// Whether a name is one of the words of a text.
static bool isOneOf(StringRef name, StringRef words) { return llvm::is_contained(llvm::split(words, ' '), name); }

static bool isKeyword(StringRef name) {
  return isOneOf(name,
                 "False None True and as assert async await break class continue def del elif else except finally "
                 "for from global if import in is lambda nonlocal not or pass raise return try while with yield");
}

bool pytorch::isTakenAttribute(StringRef name) { return llvm::isDigit(name.front()) || isKeyword(name); }

bool pytorch::isTakenVariable(StringRef name) {
  return llvm::isDigit(name.front()) || isKeyword(name) ||
         isOneOf(name, "self x cache rope mask F nn torch wide rms_norm l2_norm expand convolve apply_rope recurrence "
                       "quick_gelu attention");
}

//===----------------------------------------------------------------------===//
// Lines
//===----------------------------------------------------------------------===//

std::string pytorch::printLine(StringRef statement, size_t indent) {
  // A line may end after a comma of the outermost brackets, or of those right within them. (Strings hold neither.)
  SmallVector<StringRef> pieces;
  size_t hanging = 0, depth = 0, begin = 0;
  for (auto [index, c] : llvm::enumerate(statement)) {
    if (c == '(' || c == '[' || c == '{') {
      if (++depth == 1 && !hanging)
        hanging = indent + index + 1;
    } else if (c == ')' || c == ']' || c == '}') {
      --depth;
    } else if (c == ',' && hanging && depth <= 2) {
      pieces.push_back(statement.slice(begin, index + 1));
      begin = index + 2;
    }
  }
  pieces.push_back(statement.substr(begin));
  std::string text(indent, ' ');
  size_t column = indent;
  for (auto [index, piece] : llvm::enumerate(pieces)) {
    if (index > 0 && column + 1 + piece.size() > kWidth) {
      text += "\n" + std::string(hanging, ' ');
      column = hanging;
    } else if (index > 0) {
      text += " ";
      ++column;
    }
    text += piece;
    column += piece.size();
  }
  return text + "\n";
}
