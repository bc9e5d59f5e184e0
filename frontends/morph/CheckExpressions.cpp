// SPDX-License-Identifier: Apache-2.0
// Kinds and shapes of expressions.

#include "frontends/morph/MixerChecker.h"
#include "frontends/morph/Parser.h"

#include "llvm/ADT/STLExtras.h"

using namespace morph;
using namespace morph::language;
using Kind = Expression::Kind;

/// Whether an expression has the same value in every model.
static bool isConstant(const Expression &expression) {
  return expression.kind != Kind::Name && llvm::all_of(expression.children, isConstant);
}

static std::optional<double> evaluate(const Expression &expression, TextError &error) {
  return evaluateNumber(expression, [](llvm::StringRef) { return std::optional<double>(); }, error);
}

std::optional<double> MixerChecker::getConstant(const Expression &expression) {
  TextError ignored;
  return isConstant(expression) ? evaluate(expression, ignored) : std::nullopt;
}

std::optional<Type> MixerChecker::check(const Expression &expression) {
  std::optional<Type> type = computeType(expression);
  if (TextError text; type && !type->isTensor() && expression.kind != Kind::Number && isConstant(expression) &&
                      !evaluate(expression, text)) {
    diagnostics_.error(file_.getRange(text.begin, text.end), text.message);
    return std::nullopt;
  }
  if (type && !type->isTensor() && !checkExtent(expression))
    return std::nullopt;
  if (type)
    result_.types[&expression] = *type;
  return type;
}

Expression MixerChecker::writeOut(const Expression &expression) const {
  return replaceNames(expression, [&](llvm::StringRef name) -> const Expression * {
    auto variable = variables_.find(name.str());
    return variable != variables_.end() && variable->second.isNumber() ? variable->second.number.get() : nullptr;
  });
}

ExpressionExtent MixerChecker::measure(const Expression &expression) const {
  return measureExpression(expression, [&](llvm::StringRef name) -> const ExpressionExtent * {
    auto variable = variables_.find(name.str());
    return variable != variables_.end() && variable->second.isNumber() ? &variable->second.extent : nullptr;
  });
}

bool MixerChecker::checkExtent(const Expression &expression) {
  const bool isInStatement = scope_ == Scope::Values;
  const size_t depth = Expression::kMaxDepth - (isInStatement ? kLevelsAround : 0);
  const size_t bytes = Expression::kMaxBytes - (isInStatement ? kBytesAround : 0);
  ExpressionExtent extent = measure(expression);
  if (extent.depth <= depth && extent.bytes <= bytes)
    return true;
  std::string message = extent.depth > depth ? "written out, this is nested " + std::to_string(extent.depth) +
                                                   " levels deep, expected at most " + std::to_string(depth)
                                             : "written out, this has " + std::to_string(extent.bytes) +
                                                   " bytes, expected at most " + std::to_string(bytes);
  error(expression, message, isInStatement ? "a number stands in full wherever its name is read" : "");
  return false;
}

std::optional<Type> MixerChecker::computeType(const Expression &expression) {
  constexpr ValueKind kScalar = ValueKind::Scalar, kCondition = ValueKind::Condition;
  if (expression.kind == Kind::Number)
    return Type{kScalar, {}};
  if (expression.kind == Kind::Name)
    return checkName(expression);
  if (expression.kind == Kind::Call)
    return checkCall(expression);
  std::vector<Type> types;
  bool ok = true;
  for (const Expression &child : expression.children) {
    std::optional<Type> type = check(child);
    ok &= type.has_value();
    types.push_back(type.value_or(Type()));
  }
  if (!ok)
    return std::nullopt;
  if (expression.kind == Kind::Negate)
    return types[0].isTensor() ? types[0] : Type{kScalar, {}};
  bool joins = expression.kind == Kind::And || expression.kind == Kind::Or || expression.kind == Kind::Not;
  if (joins) {
    for (auto [child, type] : llvm::zip(expression.children, types))
      if (type.kind != kCondition) {
        error(child,
              "'" + (expression.kind == Kind::Not ? "not" : getOperator(expression.kind)) +
                  "' takes conditions, found " + printType(type),
              type.isTensor() ? "" : "compare it: ... != 0");
        return std::nullopt;
      }
    return Type{kCondition, {}};
  }
  if (!types[0].isTensor() && !types[1].isTensor())
    return Type{expression.kind >= Kind::Equal ? kCondition : kScalar, {}};
  if (expression.kind >= Kind::Power) {
    size_t tensor = types[0].isTensor() ? 0 : 1;
    error(expression.children[tensor],
          "'" + getOperator(expression.kind) + "' takes numbers, found " + printType(types[tensor]));
    return std::nullopt;
  }
  return checkElementwise(expression, types[0], types[1]);
}

std::optional<Type> MixerChecker::checkElementwise(const Expression &operation, const Type &left, const Type &right) {
  if (operation.kind == Kind::Divide && right.isTensor()) {
    error(operation.children[1], "'/' divides by numbers only, found " + printType(right));
    return std::nullopt;
  }
  if (!left.isTensor() || !right.isTensor())
    return left.isTensor() ? left : right;
  const Type &longer = left.shape.size() >= right.shape.size() ? left : right;
  const Type &shorter = &longer == &left ? right : left;
  auto ends = llvm::ArrayRef(longer.shape).take_back(shorter.shape.size());
  bool bothActivations = left.kind == ValueKind::Activation && right.kind == left.kind;
  bool fits = left.shape == right.shape || (longer.kind >= shorter.kind && !bothActivations);
  if (ends == llvm::ArrayRef(shorter.shape) && fits)
    return Type{std::max(left.kind, right.kind), longer.shape};
  std::string hint = "one shape must end the other";
  if (bothActivations && ends == llvm::ArrayRef(shorter.shape))
    hint = "two activations must have the same shape"; // Positions stand before what a shape names.
  else if (ends == llvm::ArrayRef(shorter.shape))
    hint = "a weight's shape must end the activation's";
  else if (llvm::ArrayRef(longer.shape).take_front(shorter.shape.size()) == llvm::ArrayRef(shorter.shape))
    hint = "one shape must end the other; expand gives each element a row";
  diagnostics_.error(getRange(operation),
                     "'" + getOperator(operation.kind) + "' of shapes that do not fit: " + printShape(left.shape) +
                         " and " + printShape(right.shape),
                     hint, {makeTypeNote(operation.children[0], left), makeTypeNote(operation.children[1], right)});
  return std::nullopt;
}

Note MixerChecker::makeTypeNote(const Expression &expression, const Type &type) const {
  std::string text = printType(type);
  if (expression.kind == Kind::Name) {
    if (auto variable = variables_.find(expression.text); variable != variables_.end())
      return {variable->second.place, "'" + expression.text + "' is assigned here, " + text};
    if (auto symbol = symbols_.find(expression.text); symbol != symbols_.end() && symbol->second.place.isValid())
      return {symbol->second.place, "'" + expression.text + "' is declared here, " + text};
  }
  return {getRange(expression), "this is " + text};
}

std::optional<Type> MixerChecker::checkName(const Expression &name) {
  if (scope_ == Scope::Formula)
    for (const WeightSize &size : indexed_->sizes)
      if (size.index && size.index->text == name.text)
        return Type{ValueKind::Scalar, {}};
  if (auto variable = variables_.find(name.text); variable != variables_.end())
    return checkVariable(name, variable->second);
  auto found = symbols_.find(name.text);
  if (found == symbols_.end()) {
    reportUnknownName(name);
    return std::nullopt;
  }
  const Symbol &symbol = found->second;
  if (symbol.kind == Symbol::Kind::Weight)
    weightUsed_[symbol.weight] = weightUsed_[symbol.weight] || !calibrates_;
  if (scope_ != Scope::Values && symbol.type.isTensor()) {
    error(name, "'" + name.text + "' is " + printType(symbol.type) + ", expected a number",
          "numbers here are sizes, options" +
              std::string(scope_ == Scope::Formula ? " and indices" : " and facts of the base"));
    return std::nullopt;
  }
  if (scope_ == Scope::Formula && symbol.kind == Symbol::Kind::Fact) {
    error(name, "'" + name.text + "' is a fact of the base, which first values do not depend on",
          "numbers here are sizes, options and indices");
    return std::nullopt;
  }
  if (symbol.isWrong)
    return std::nullopt;
  if (symbol.kind == Symbol::Kind::Weight)
    checkWeightIsThere(name.text, getRange(name), symbol);
  return symbol.type;
}

std::optional<Type> MixerChecker::checkVariable(const Expression &name, const Variable &variable) {
  switch (variable.state) {
  case Variable::State::Unknown:
    return std::nullopt;
  case Variable::State::Partly:
    error(name, "'" + name.text + "' has a value only where " + variable.condition,
          "assign it before the if, or in both branches", {{variable.place, "it is assigned here"}});
    return std::nullopt;
  case Variable::State::Unequal:
    error(name, "'" + name.text + "' is not the same in both branches of an if", "",
          {{variable.place, "here it is " + printType(variable.type)},
           {variable.otherPlace, "here it is " + printType(variable.otherType)}});
    return std::nullopt;
  case Variable::State::Number:
    error(name, "'" + name.text + "' is a number that a branch of an if gives: numbers do not depend on branches",
          "write one number of both: a condition in it counts as 1 or 0", {{variable.place, "it is assigned here"}});
    return std::nullopt;
  case Variable::State::Whole:
    break;
  }
  if (scope_ != Scope::Values) {
    error(name, "'" + name.text + "' is assigned; a condition is of sizes, options and facts of the base", "",
          {{variable.place, "it is assigned here"}});
    return std::nullopt;
  }
  return variable.type;
}

void MixerChecker::checkWeightIsThere(const std::string &name, SourceRange use, const Symbol &symbol) {
  for (const std::string &condition : weightConditions_[symbol.weight])
    if (!conditions_.contains(condition)) {
      diagnostics_.error(use, "'" + name + "' is there only if " + condition,
                         "use it within if " + condition + " { ... }", {{symbol.place, "it is declared here"}});
      return;
    }
}

void MixerChecker::reportUnknownName(const Expression &name) {
  // Errors that are not printed need no search for near names, which takes time.
  if (diagnostics_.getErrorCount() >= kMaxErrors)
    return error(name, "'" + name.text + "' is not declared or assigned before");
  llvm::SmallVector<llvm::StringRef> names;
  for (const auto &symbol : symbols_)
    names.push_back(symbol.first());
  for (const auto &variable : variables_)
    names.push_back(variable.first);
  if (scope_ == Scope::Formula)
    for (const WeightSize &size : indexed_->sizes)
      if (size.index)
        names.push_back(size.index->text);
  // Of equally near names always the same.
  llvm::sort(names);
  llvm::StringRef nearest = findNearest(name.text, names);
  std::string hint;
  if (!nearest.empty())
    hint = "did you mean '" + nearest.str() + "'?";
  else if (findTensorFunction(name.text))
    hint = "'" + name.text + "' is a function: write brackets after it";
  // It may be assigned later.
  error(name, "'" + name.text + "' is not declared or assigned before", hint);
}

bool MixerChecker::checkScalar(const Expression &expression, Scope scope) {
  Scope before = std::exchange(scope_, scope);
  std::optional<Type> type = check(expression);
  scope_ = before;
  if (type && type->isTensor()) {
    error(expression, "expected a number, found " + printType(*type));
    return false;
  }
  return type.has_value();
}

bool MixerChecker::checkCondition(const Expression &expression, Scope scope) {
  if (!checkScalar(expression, scope))
    return false;
  if (result_.types[&expression].kind == ValueKind::Condition)
    return true;
  error(expression, "expected a condition, found a number", "compare it: ... != 0");
  return false;
}
