// SPDX-License-Identifier: Apache-2.0
// Expressions as text.

#include "dialect/Expression.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"

#include <cmath>

using namespace morph;
using Kind = Expression::Kind;

namespace {

/// Brackets and operators within each other. A printed tree has at most two of them a level.
constexpr size_t kMaxNesting = 2 * Expression::kMaxDepth;

/// How tightly operations bind, from the loosest.
enum Precedence { kOr = 1, kAnd, kNot, kComparison, kSum, kProduct, kNegation, kPower, kAtom };

struct BinaryOperator {
  llvm::StringRef text;
  Kind kind;
  Precedence precedence;
};
constexpr BinaryOperator binaryOperators[] = {
    {"or", Kind::Or, kOr},
    {"and", Kind::And, kAnd},
    {"==", Kind::Equal, kComparison},
    {"!=", Kind::NotEqual, kComparison},
    {"<", Kind::Less, kComparison},
    {"<=", Kind::LessEqual, kComparison},
    {">", Kind::Greater, kComparison},
    {">=", Kind::GreaterEqual, kComparison},
    {"+", Kind::Add, kSum},
    {"-", Kind::Subtract, kSum},
    {"*", Kind::Multiply, kProduct},
    {"/", Kind::Divide, kProduct},
    {"^", Kind::Power, kPower},
};

const BinaryOperator *findBinaryOperator(const Token &token) {
  const auto *found = llvm::find_if(binaryOperators, [&](const BinaryOperator &op) { return token.is(op.text); });
  return found == std::end(binaryOperators) ? nullptr : found;
}

Precedence getPrecedence(Kind kind) {
  for (const BinaryOperator &op : binaryOperators)
    if (op.kind == kind)
      return op.precedence;
  return kind == Kind::Not ? kNot : kind == Kind::Negate ? kNegation : kAtom;
}

/// What an operand must bind at least as tightly as, so that it has no brackets around it.
Precedence getOperandPrecedence(Kind kind, size_t operand) {
  Precedence own = getPrecedence(kind);
  if (kind == Kind::Call)
    return kOr;
  if (kind == Kind::Negate || kind == Kind::Not)
    return own;
  if (operand == 1)
    return kind == Kind::Power ? kNegation : Precedence(own + 1);
  // Comparisons do not follow each other, so that both sides need brackets where they are comparisons.
  return kind == Kind::Power || own == kComparison ? Precedence(own + 1) : own;
}

class Parser {
public:
  Parser(TokenReader &reader, TextError &error, bool bracketed)
      : reader_(reader), error_(error), brackets_(bracketed) {}

  /// An expression of operators that bind at least as tightly as `lowest`; its levels are added to `depth`.
  std::optional<Expression> parse(Precedence lowest, size_t &depth);

private:
  std::optional<Expression> parsePrefix(Precedence lowest, size_t &depth);
  std::optional<Expression> parseAtom(size_t &depth);
  bool parseArguments(Expression &call, size_t &depth);
  bool expectClosing(const Token &opening, llvm::StringRef expected);

  /// Whether the statement ends before the next token. `previous` was a whole operand.
  bool endsHere() const { return brackets_ == 0 && reader_.peek().startsLine; }

  std::nullopt_t fail(const Token &at, const llvm::Twine &message, const llvm::Twine &hint = "") {
    error_ = {at.begin, at.end(), message.str(), hint.str(), 0, 0, ""};
    return std::nullopt;
  }
  std::nullopt_t failTooDeep(const Token &at) {
    return fail(at, "the expression is nested deeper than " + llvm::Twine(Expression::kMaxDepth) + " levels",
                "give a part a name in a statement of its own");
  }
  /// Counts a level of the parser itself; whoever gets false has the error.
  bool enter(const Token &at) {
    if (++nesting_ <= kMaxNesting)
      return true;
    failTooDeep(at);
    return false;
  }

  TokenReader &reader_;
  TextError &error_;
  size_t brackets_; ///< That are open.
  size_t nesting_ = 0;
};

std::optional<Expression> Parser::parse(Precedence lowest, size_t &depth) {
  std::optional<Expression> left = parsePrefix(lowest, depth);
  bool compares = false;
  while (left && !endsHere()) {
    Token token = reader_.peek();
    const BinaryOperator *op = findBinaryOperator(token);
    if (!op || op->precedence < lowest)
      break;
    if (op->precedence == kComparison && compares)
      return fail(token, "comparisons follow each other", "write a < b and b < c");
    reader_.take();
    if (token.is("*") && reader_.peek().is("*"))
      return fail(reader_.peek(), "expected a value, found '*'", "a power is a ^ b");
    if (!enter(token))
      return std::nullopt;
    size_t rightDepth = 0;
    // What is right of ^ may have a sign and further powers; all others go from left to right.
    Precedence next = op->kind == Kind::Power ? kNegation : Precedence(op->precedence + 1);
    std::optional<Expression> right = parse(next, rightDepth);
    if (!right)
      return std::nullopt;
    --nesting_;
    depth = std::max(depth, rightDepth) + 1;
    if (depth > Expression::kMaxDepth)
      return failTooDeep(token);
    Expression operation;
    operation.kind = op->kind;
    operation.begin = left->begin;
    operation.end = right->end;
    operation.children.reserve(2);
    operation.children.push_back(std::move(*left));
    operation.children.push_back(std::move(*right));
    left = std::move(operation);
    compares = op->precedence == kComparison;
  }
  return left;
}

std::optional<Expression> Parser::parsePrefix(Precedence lowest, size_t &depth) {
  Token token = reader_.peek();
  bool negates = token.is("-") && lowest <= kNegation;
  if (!negates && !(token.is("not") && lowest <= kNot))
    return parseAtom(depth);
  reader_.take();
  if (!enter(token))
    return std::nullopt;
  std::optional<Expression> operand = parse(negates ? kNegation : kNot, depth);
  if (!operand)
    return std::nullopt;
  --nesting_;
  if (++depth > Expression::kMaxDepth)
    return failTooDeep(token);
  Expression operation;
  operation.kind = negates ? Kind::Negate : Kind::Not;
  operation.begin = token.begin;
  operation.end = operand->end;
  operation.children.push_back(std::move(*operand));
  return operation;
}

std::optional<Expression> Parser::parseAtom(size_t &depth) {
  Token token = reader_.peek();
  Expression atom;
  atom.begin = token.begin;
  atom.end = token.end();
  atom.text = token.text.str();
  depth = 1;
  if (token.kind == TokenKind::Number) {
    reader_.take();
    if (token.text.getAsDouble(atom.number) || !std::isfinite(atom.number))
      return fail(token, "the number is too large");
    return atom;
  }
  // The two values of a truth are names, which options of a mixer know.
  bool isTruth = token.is("true") || token.is("false");
  if (token.kind == TokenKind::Name && (isTruth || !isReservedWord(token.text))) {
    reader_.take();
    atom.kind = Kind::Name;
    if (!reader_.peek().is("(") || endsHere())
      return atom;
    atom.kind = Kind::Call;
    if (!parseArguments(atom, depth))
      return std::nullopt;
    return atom;
  }
  if (!token.is("(")) {
    if (token.is("not"))
      return fail(token, "expected a value, found 'not'", "write brackets around 'not ...'");
    return fail(token, "expected a value, found " + describeToken(token));
  }
  reader_.take();
  if (!enter(token))
    return std::nullopt;
  ++brackets_;
  std::optional<Expression> inner = parse(kOr, depth);
  --brackets_;
  if (!inner || !expectClosing(token, "')'"))
    return std::nullopt;
  inner->begin = token.begin;
  inner->end = reader_.previous().end();
  --nesting_;
  return inner;
}

bool Parser::expectClosing(const Token &opening, llvm::StringRef expected) {
  if (reader_.takeIf(")"))
    return true;
  fail(reader_.peek(), "expected " + expected + ", found " + describeToken(reader_.peek()));
  error_.note = "the bracket is opened here";
  error_.noteBegin = opening.begin;
  error_.noteEnd = opening.end();
  return false;
}

bool Parser::parseArguments(Expression &call, size_t &depth) {
  Token opening = reader_.take();
  if (!enter(opening))
    return false;
  ++brackets_;
  while (!reader_.peek().is(")")) {
    if (call.children.size() == Expression::kMaxArguments) {
      fail(reader_.peek(), "a call has at most " + llvm::Twine(Expression::kMaxArguments) + " arguments");
      return false;
    }
    std::string name;
    if (reader_.peek().kind == TokenKind::Name && reader_.peek(1).is("=")) {
      name = reader_.take().text.str();
      reader_.take();
    } else if (!call.argumentNames.empty() && !call.argumentNames.back().empty()) {
      fail(reader_.peek(), "an argument without a name follows one with a name", "write NAME = before it");
      return false;
    }
    size_t argumentDepth = 0;
    std::optional<Expression> argument = parse(kOr, argumentDepth);
    if (!argument)
      return false;
    depth = std::max(depth, argumentDepth + 1);
    if (depth > Expression::kMaxDepth) {
      failTooDeep(opening);
      return false;
    }
    call.children.push_back(std::move(*argument));
    call.argumentNames.push_back(std::move(name));
    if (!reader_.takeIf(","))
      break;
  }
  --brackets_;
  if (!expectClosing(opening, "',' or ')'"))
    return false;
  call.end = reader_.previous().end();
  --nesting_;
  return true;
}

class Printer {
public:
  explicit Printer(llvm::StringRef blank) : blank_(blank) {}

  void print(const Expression &expression, Precedence lowest) {
    Precedence own = getPrecedence(expression.kind);
    if (own < lowest) {
      text += '(';
      print(expression, kOr);
      text += ')';
      return;
    }
    switch (expression.kind) {
    case Kind::Number:
    case Kind::Name:
      text += expression.text;
      return;
    case Kind::Call:
      return printCall(expression);
    case Kind::Negate:
      text += '-';
      return printOperand(expression, 0);
    case Kind::Not:
      text += "not ";
      return printOperand(expression, 0);
    default:
      printOperand(expression, 0);
      text += (" " + getOperator(expression.kind) + blank_).str();
      return printOperand(expression, 1);
    }
  }

  std::string text;

private:
  void printOperand(const Expression &expression, size_t index) {
    print(expression.children[index], getOperandPrecedence(expression.kind, index));
  }

  void printCall(const Expression &call) {
    text += call.text + "(";
    for (size_t i = 0; i < call.children.size(); ++i) {
      if (i > 0)
        text += ("," + blank_).str();
      if (!call.argumentNames[i].empty())
        text += call.argumentNames[i] + " = ";
      printOperand(call, i);
    }
    text += ')';
  }

  llvm::StringRef blank_;
};

} // namespace

std::string morph::describeToken(const Token &token) {
  if (token.kind == TokenKind::End)
    return "the end of the text";
  return ("'" + token.text.take_front(40) + "'").str();
}

bool morph::operator==(const Expression &a, const Expression &b) {
  bool sameText = a.kind == Kind::Number ? a.number == b.number : a.text == b.text;
  return a.kind == b.kind && sameText && a.argumentNames == b.argumentNames && a.children == b.children;
}

llvm::StringRef morph::getOperator(Kind kind) {
  const auto *found = llvm::find_if(binaryOperators, [&](const BinaryOperator &op) { return op.kind == kind; });
  return found == std::end(binaryOperators) ? "" : found->text;
}

bool morph::isReservedWord(llvm::StringRef name) {
  constexpr llvm::StringLiteral words[] = {"and",     "or",     "not",    "if",   "else", "return",
                                           "mixer",   "weight", "frozen", "dim",  "doc",  "source",
                                           "require", "bool",   "real",   "true", "false"};
  return llvm::is_contained(words, name);
}

std::optional<Expression> morph::parseExpression(TokenReader &reader, TextError &error, bool bracketed) {
  size_t depth = 0;
  return Parser(reader, error, bracketed).parse(kOr, depth);
}

std::optional<Expression> morph::parseExpression(llvm::StringRef text, TextError &error) {
  if (text.size() > Expression::kMaxBytes) {
    std::string message = "an expression of " + std::to_string(text.size()) + " bytes, expected at most " +
                          std::to_string(Expression::kMaxBytes);
    error = {0, text.size(), std::move(message), "", 0, 0, ""};
    return std::nullopt;
  }
  TokenList list = readTokens(text);
  if (!list.errors.empty()) {
    error = list.errors.front();
    return std::nullopt;
  }
  TokenReader reader(list.tokens);
  std::optional<Expression> expression = parseExpression(reader, error);
  if (expression && !reader.atEnd()) {
    const Token &token = reader.peek();
    error = {token.begin, token.end(), "expected an operator or the end of the text, found " + describeToken(token),
             "",          0,           0,
             ""};
    return std::nullopt;
  }
  return expression;
}

std::string morph::printExpression(const Expression &expression, llvm::StringRef blank) {
  Printer printer(blank);
  printer.print(expression, kOr);
  return std::move(printer.text);
}

Expression morph::replaceNames(const Expression &expression,
                               llvm::function_ref<const Expression *(llvm::StringRef name)> lookup) {
  if (expression.kind == Kind::Name)
    if (const Expression *found = lookup(expression.text))
      return *found;
  Expression result = expression;
  for (Expression &child : result.children)
    child = replaceNames(child, lookup);
  return result;
}

ExpressionExtent morph::measureExpression(const Expression &expression,
                                          llvm::function_ref<const ExpressionExtent *(llvm::StringRef name)> lookup) {
  if (expression.kind == Kind::Name)
    if (const ExpressionExtent *found = lookup(expression.text))
      return *found;
  // Beside the operands the printer writes "f()", "-", "not " or " + ".
  const bool isCall = expression.kind == Kind::Call;
  ExpressionExtent extent{expression.kind, expression.text.size(), 1};
  if (isCall)
    extent.bytes += 2;
  else if (expression.children.size() == 1)
    extent.bytes += expression.kind == Kind::Not ? 4 : 1;
  else if (expression.children.size() == 2)
    extent.bytes += getOperator(expression.kind).size() + 2;
  for (size_t i = 0; i < expression.children.size(); ++i) {
    ExpressionExtent operand = measureExpression(expression.children[i], lookup);
    extent.depth = std::max(extent.depth, operand.depth + 1);
    bool hasBrackets = getPrecedence(operand.kind) < getOperandPrecedence(expression.kind, i);
    extent.bytes += operand.bytes + (hasBrackets ? 2 : 0);
    // ", name = "
    if (isCall && i > 0)
      extent.bytes += 2;
    if (isCall && !expression.argumentNames[i].empty())
      extent.bytes += expression.argumentNames[i].size() + 3;
  }
  return extent;
}
