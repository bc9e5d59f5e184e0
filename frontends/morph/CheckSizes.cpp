// SPDX-License-Identifier: Apache-2.0
// Sizes: which expressions are some, and their polynomials.

#include "frontends/morph/MixerChecker.h"

#include "llvm/ADT/STLExtras.h"

using namespace morph;
using namespace morph::language;
using Kind = Expression::Kind;

/// The value of a literal that is a whole number.
static std::optional<int64_t> getWhole(const Expression &expression) {
  if (expression.kind != Kind::Number || expression.number > double(limits::kDimension) ||
      expression.number != double(int64_t(expression.number)))
    return std::nullopt;
  return int64_t(expression.number);
}

bool MixerChecker::isSizeExpression(const Expression &expression) {
  constexpr llvm::StringLiteral functions[] = {"min", "max", "abs", "floor"};
  switch (expression.kind) {
  case Kind::Number:
    if (getWhole(expression))
      return true;
    error(expression, "'" + expression.text + "' is no size: a whole number up to " + llvm::Twine(limits::kDimension));
    return false;
  case Kind::Name: {
    auto symbol = symbols_.find(expression.text);
    if (symbol == symbols_.end()) {
      if (variables_.count(expression.text))
        error(expression, "'" + expression.text + "' is no size", "dim declares a name for one");
      else
        reportUnknownName(expression);
      return false;
    }
    if (symbol->second.isSize)
      return true;
    llvm::SmallVector<Note, 1> notes;
    if (symbol->second.place.isValid())
      notes.push_back({symbol->second.place, "it is declared here"});
    error(expression, "'" + expression.text + "' is no size",
          "sizes are M, H, G, D, what dim declares, and options that are whole numbers", notes);
    return false;
  }
  case Kind::Call:
    if (!llvm::is_contained(functions, expression.text)) {
      error(expression, "'" + expression.text + "' is no function of sizes", "there are min, max, abs and floor");
      return false;
    }
    if (expression.children.size() != *getScalarFunctionArity(expression.text) ||
        llvm::any_of(expression.argumentNames, [](const std::string &name) { return !name.empty(); })) {
      error(expression, "'" + expression.text + "' takes " + llvm::Twine(*getScalarFunctionArity(expression.text)) +
                            " sizes without names");
      return false;
    }
    break;
  case Kind::Negate:
  case Kind::Add:
  case Kind::Subtract:
  case Kind::Multiply:
  case Kind::Divide:
  case Kind::Power:
    break;
  default:
    error(expression, "a condition is no size");
    return false;
  }
  bool ok = true;
  for (const Expression &child : expression.children)
    ok &= isSizeExpression(child);
  return ok;
}

std::optional<SizePolynomial> MixerChecker::getPolynomial(const Expression &expression) const {
  if (std::optional<int64_t> number = getWhole(expression))
    return SizePolynomial::makeNumber(*number);
  if (expression.kind == Kind::Name) {
    auto dimension = result_.dimensions.find(expression.text);
    return dimension == result_.dimensions.end() ? SizePolynomial::makeName(expression.text) : dimension->second;
  }
  if (expression.kind == Kind::Number || expression.kind == Kind::Call)
    return std::nullopt;
  std::optional<SizePolynomial> left = getPolynomial(expression.children[0]);
  if (!left || expression.kind == Kind::Negate)
    return left ? SizePolynomial() - *left : std::nullopt;
  std::optional<SizePolynomial> right = getPolynomial(expression.children[1]);
  if (!right)
    return std::nullopt;
  switch (expression.kind) {
  case Kind::Add:
    return *left + *right;
  case Kind::Subtract:
    return *left - *right;
  case Kind::Multiply:
    return *left * *right;
  case Kind::Divide:
    return *left / *right;
  default:
    return right->getNumber() ? left->power(*right->getNumber()) : std::nullopt;
  }
}

std::optional<SizePolynomial> MixerChecker::checkSize(const Expression &expression) {
  if (!isSizeExpression(expression))
    return std::nullopt;
  std::optional<SizePolynomial> size = getPolynomial(expression);
  if (!size) {
    error(expression, "'" + printExpression(expression) + "' is no sum of products of sizes",
          "dim declares a name for it");
    return std::nullopt;
  }
  if (size->isNeverSize()) {
    error(expression, "'" + printExpression(expression) + "' is " + size->print() + ", expected a whole number from 1");
    return std::nullopt;
  }
  return size;
}
