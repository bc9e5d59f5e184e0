// SPDX-License-Identifier: Apache-2.0
// Values of expressions: finite numbers, and sizes in exact whole numbers.

#include "dialect/Expression.h"
#include "runtime/plan/SizeLimits.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/MathExtras.h"

#include <cmath>
#include <limits>

using namespace morph;
using Kind = Expression::Kind;

namespace {

struct ScalarFunction {
  llvm::StringRef name;
  size_t arity;
  double (*evaluate)(double a, double b);
};
/// The one list of them. Expressions see every function's values only where they are finite.
constexpr ScalarFunction scalarFunctions[] = {
    {"abs", 1, [](double a, double) { return std::fabs(a); }},
    {"exp", 1, [](double a, double) { return std::exp(a); }},
    {"floor", 1, [](double a, double) { return std::floor(a); }},
    // y + log(1 - exp(-y)), in the form that keeps its digits where y is small.
    {"inverse_softplus", 1, [](double a, double) { return a + std::log(-std::expm1(-a)); }},
    {"log", 1, [](double a, double) { return std::log(a); }},
    {"max", 2, [](double a, double b) { return std::fmax(a, b); }},
    {"min", 2, [](double a, double b) { return std::fmin(a, b); }},
    {"sqrt", 1, [](double a, double) { return std::sqrt(a); }},
};

const ScalarFunction *findScalarFunction(llvm::StringRef name) {
  const auto *found = llvm::find_if(scalarFunctions, [&](const ScalarFunction &f) { return f.name == name; });
  return found == std::end(scalarFunctions) ? nullptr : found;
}

std::nullopt_t fail(const Expression &at, const llvm::Twine &message, TextError &error) {
  error = {at.begin, at.end, message.str(), "", 0, 0, ""};
  return std::nullopt;
}

/// A part of an expression in an error.
std::string quote(const Expression &expression) {
  std::string text = printExpression(expression);
  return "'" + (text.size() > 80 ? text.substr(0, 77) + "..." : text) + "'";
}

/// Whether a call can be made; reports why not.
bool checkCall(const Expression &call, const ScalarFunction *function, TextError &error) {
  if (!function) {
    fail(call, "'" + llvm::Twine(call.text) + "' is no function of numbers", error);
    return false;
  }
  if (call.children.size() != function->arity ||
      llvm::any_of(call.argumentNames, [](const std::string &name) { return !name.empty(); })) {
    fail(call,
         "'" + llvm::Twine(call.text) + "' takes " + llvm::Twine(function->arity) + " number" +
             (function->arity == 1 ? "" : "s"),
         error);
    return false;
  }
  return true;
}

bool compare(Kind kind, double a, double b) {
  switch (kind) {
  case Kind::Equal:
    return a == b;
  case Kind::NotEqual:
    return a != b;
  case Kind::Less:
    return a < b;
  case Kind::LessEqual:
    return a <= b;
  case Kind::Greater:
    return a > b;
  default:
    return a >= b;
  }
}

class NumberEvaluator {
public:
  NumberEvaluator(NumberLookup lookup, TextError &error) : lookup_(lookup), error_(error) {}

  std::optional<double> run(const Expression &expression) {
    std::optional<double> value = compute(expression);
    if (value && !std::isfinite(*value))
      return fail(expression, quote(expression) + " is not finite", error_);
    return value;
  }

private:
  std::optional<double> compute(const Expression &expression) {
    if (expression.kind == Kind::Number)
      return expression.number;
    if (expression.kind == Kind::Name) {
      if (std::optional<double> value = lookup_(expression.text))
        return value;
      return fail(expression, "'" + llvm::Twine(expression.text) + "' has no value here", error_);
    }
    const ScalarFunction *function = nullptr;
    if (expression.kind == Kind::Call) {
      function = findScalarFunction(expression.text);
      if (!checkCall(expression, function, error_))
        return std::nullopt;
    }
    std::optional<double> a = run(expression.children[0]), b = 0;
    if (!a)
      return std::nullopt;
    if (expression.kind == Kind::And && *a == 0)
      return 0;
    if (expression.kind == Kind::Or && *a != 0)
      return 1;
    if (expression.children.size() > 1)
      b = run(expression.children[1]);
    if (!b)
      return std::nullopt;
    switch (expression.kind) {
    case Kind::Call:
      return function->evaluate(*a, *b);
    case Kind::Negate:
      return -*a;
    case Kind::Not:
      return *a == 0;
    case Kind::Add:
      return *a + *b;
    case Kind::Subtract:
      return *a - *b;
    case Kind::Multiply:
      return *a * *b;
    case Kind::Divide:
      if (*b == 0)
        return fail(expression.children[1], quote(expression) + " divides by zero", error_);
      return *a / *b;
    case Kind::Power:
      return std::pow(*a, *b);
    case Kind::And:
    case Kind::Or:
      return *b != 0;
    default:
      return compare(expression.kind, *a, *b);
    }
  }

  NumberLookup lookup_;
  TextError &error_;
};

class SizeEvaluator {
public:
  SizeEvaluator(SizeLookup lookup, TextError &error) : lookup_(lookup), error_(error) {}

  std::optional<int64_t> run(const Expression &expression);

private:
  std::optional<int64_t> compute(const Expression &expression, int64_t a, int64_t b);
  std::optional<int64_t> computePower(const Expression &expression, int64_t base, int64_t exponent);
  std::optional<int64_t> runCall(const Expression &call);
  std::optional<int64_t> failTooLarge(const Expression &at) {
    return fail(at, quote(at) + " is too large for a size", error_);
  }

  SizeLookup lookup_;
  TextError &error_;
};

std::optional<int64_t> SizeEvaluator::run(const Expression &expression) {
  switch (expression.kind) {
  case Kind::Number:
    if (expression.number != std::floor(expression.number))
      return fail(expression, quote(expression) + " is no whole number", error_);
    if (expression.number > double(limits::kDimension))
      return failTooLarge(expression);
    return int64_t(expression.number);
  case Kind::Name:
    if (std::optional<int64_t> value = lookup_(expression.text))
      return value;
    return fail(expression, "'" + llvm::Twine(expression.text) + "' is no size that has a value here", error_);
  case Kind::Call:
    return runCall(expression);
  default:
    break;
  }
  std::optional<int64_t> a = run(expression.children[0]);
  std::optional<int64_t> b = a && expression.children.size() > 1 ? run(expression.children[1]) : 0;
  if (!a || !b)
    return std::nullopt;
  return compute(expression, *a, *b);
}

std::optional<int64_t> SizeEvaluator::compute(const Expression &expression, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflows = false;
  switch (expression.kind) {
  case Kind::Negate:
    overflows = llvm::SubOverflow(int64_t(0), a, result);
    break;
  case Kind::Add:
    overflows = llvm::AddOverflow(a, b, result);
    break;
  case Kind::Subtract:
    overflows = llvm::SubOverflow(a, b, result);
    break;
  case Kind::Multiply:
    overflows = llvm::MulOverflow(a, b, result);
    break;
  case Kind::Divide:
    if (b == 0)
      return fail(expression.children[1], quote(expression) + " divides by zero", error_);
    // The remainder of the smallest number by -1 does not exist in C++.
    overflows = a == std::numeric_limits<int64_t>::min() && b == -1;
    if (!overflows && a % b != 0)
      return fail(expression, quote(expression) + " is " + llvm::Twine(a) + " / " + llvm::Twine(b) + ", not whole",
                  error_);
    result = overflows ? 0 : a / b;
    break;
  case Kind::Power:
    return computePower(expression, a, b);
  default:
    return fail(expression, quote(expression) + " is no size", error_);
  }
  if (overflows)
    return failTooLarge(expression);
  return result;
}

std::optional<int64_t> SizeEvaluator::computePower(const Expression &expression, int64_t base, int64_t exponent) {
  if (exponent < 0)
    return fail(expression, quote(expression) + " has the exponent " + llvm::Twine(exponent) + ", expected 0 or more",
                error_);
  // Other bases overflow within 63 steps.
  if (base >= -1 && base <= 1)
    exponent = exponent == 0 ? 0 : 2 - exponent % 2;
  int64_t result = 1;
  for (; exponent > 0; --exponent)
    if (llvm::MulOverflow(result, base, result))
      return failTooLarge(expression);
  return result;
}

std::optional<int64_t> SizeEvaluator::runCall(const Expression &call) {
  const ScalarFunction *function = findScalarFunction(call.text);
  if (!checkCall(call, function, error_))
    return std::nullopt;
  const Expression &argument = call.children[0];
  bool rounds = function->name == "floor" && argument.kind == Kind::Divide;
  std::optional<int64_t> a = run(rounds ? argument.children[0] : argument), b = 0;
  if (rounds)
    b = a ? run(argument.children[1]) : a;
  else if (function->arity == 2)
    b = a ? run(call.children[1]) : a;
  if (!a || !b)
    return std::nullopt;
  if (rounds) {
    if (*b <= 0)
      return fail(argument.children[1], quote(argument) + " divides by " + llvm::Twine(*b) + ", expected more than 0",
                  error_);
    return *a / *b - (*a % *b < 0);
  }
  if (function->name == "floor")
    return a;
  if (function->name == "min")
    return std::min(*a, *b);
  if (function->name == "max")
    return std::max(*a, *b);
  if (function->name == "abs" && *a != std::numeric_limits<int64_t>::min())
    return *a < 0 ? -*a : *a;
  return fail(call, "'" + llvm::Twine(call.text) + "' is no function of sizes", error_);
}

} // namespace

std::optional<size_t> morph::getScalarFunctionArity(llvm::StringRef name) {
  const ScalarFunction *function = findScalarFunction(name);
  return function ? std::optional<size_t>(function->arity) : std::nullopt;
}

llvm::ArrayRef<llvm::StringRef> morph::getScalarFunctionNames() {
  static const std::vector<llvm::StringRef> names = [] {
    std::vector<llvm::StringRef> list;
    for (const ScalarFunction &function : scalarFunctions)
      list.push_back(function.name);
    return list;
  }();
  return names;
}

std::optional<double> morph::evaluateNumber(const Expression &expression, NumberLookup lookup, TextError &error) {
  return NumberEvaluator(lookup, error).run(expression);
}

std::optional<int64_t> morph::evaluateSize(const Expression &expression, SizeLookup lookup, TextError &error) {
  std::optional<int64_t> size = SizeEvaluator(lookup, error).run(expression);
  if (size && (*size < 1 || *size > limits::kDimension))
    return fail(expression,
                quote(expression) + " is " + llvm::Twine(*size) + ", expected a size from 1 to " +
                    llvm::Twine(limits::kDimension),
                error);
  return size;
}
