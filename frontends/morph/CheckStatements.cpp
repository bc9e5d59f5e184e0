// SPDX-License-Identifier: Apache-2.0
// Statements: what names stand for, from line to line and through branches.

#include "frontends/morph/MixerChecker.h"

#include "llvm/ADT/ScopeExit.h"

using namespace morph;
using namespace morph::language;

std::vector<std::string> morph::language::getConjuncts(const Expression &condition) {
  if (condition.kind != Expression::Kind::And)
    return {printExpression(condition)};
  std::vector<std::string> parts = getConjuncts(condition.children[0]);
  for (std::string &part : getConjuncts(condition.children[1]))
    parts.push_back(std::move(part));
  return parts;
}

void MixerChecker::checkStatements(const std::vector<Statement> &statements) {
  for (const Statement &statement : statements)
    if (statement.kind == Statement::Kind::If)
      checkIf(statement);
    else if (statement.kind == Statement::Kind::Calibrate)
      checkCalibration(statement);
    else
      checkAssignment(statement);
}

void MixerChecker::checkAssignment(const Statement &statement) {
  const Word &target = statement.target;
  std::optional<Type> type = check(statement.value);
  if (auto symbol = symbols_.find(target.text); symbol != symbols_.end() && symbol->second.place.isValid()) {
    llvm::StringRef kind = symbol->second.kind == Symbol::Kind::Option      ? "an option"
                           : symbol->second.kind == Symbol::Kind::Dimension ? "a dimension"
                                                                            : "a weight";
    diagnostics_.error(target.range, "'" + target.text + "' is " + kind + " and cannot be assigned", "",
                       {{symbol->second.place, "it is declared here"}});
    return;
  }
  if (!isFree(target, /*dotted=*/false, /*maySoundLikeFunction=*/false))
    return;
  Variable variable;
  variable.place = target.range;
  if (type)
    variable.type = std::move(*type);
  else
    variable.state = Variable::State::Unknown;
  if (variable.isNumber()) {
    variable.number = std::make_shared<Expression>(writeOut(statement.value));
    variable.extent = measure(statement.value);
  }
  assign(target.text, std::move(variable));
}

void MixerChecker::checkCalibration(const Statement &statement) {
  const Word &target = statement.target;
  calibrates_ = true;
  std::optional<Type> type = check(statement.value);
  calibrates_ = false;
  auto symbol = symbols_.find(target.text);
  if (symbol == symbols_.end() || symbol->second.kind != Symbol::Kind::Weight) {
    llvm::SmallVector<llvm::StringRef> names;
    for (const Weight &weight : mixer_.weights)
      names.push_back(weight.name.text);
    llvm::StringRef nearest = findNearest(target.text, names);
    diagnostics_.error(target.range, "there is no weight '" + target.text + "' to calibrate",
                       nearest.empty() ? std::string() : "did you mean '" + nearest.str() + "'?");
    return;
  }
  checkWeightIsThere(target.text, target.range, symbol->second);
  if (auto [first, isNew] = calibrated_.try_emplace(target.text, target.range); !isNew)
    diagnostics_.error(target.range, "'" + target.text + "' is calibrated twice", "",
                       {{first->second, "it is calibrated here first"}});
  const Type &expected = symbol->second.type;
  if (!type || symbol->second.isWrong || *type == expected)
    return;
  llvm::SmallVector<Note, 2> notes{{symbol->second.place, "it is declared here"}};
  if (Note note = makeTypeNote(statement.value, *type); note.range.Start != getRange(statement.value).Start)
    notes.push_back(std::move(note));
  error(statement.value,
        "'" + target.text + "' is calibrated to " + printType(*type) + ", expected " + printType(expected),
        type->kind == ValueKind::Activation ? "mean(...) is of all positions" : "", notes);
}

void MixerChecker::assign(const std::string &name, Variable variable) {
  auto known = variables_.find(name);
  if (!changes_.empty())
    changes_.back().try_emplace(name, known == variables_.end() ? std::nullopt : std::optional(known->second));
  variables_[name] = std::move(variable);
}

MixerChecker::Changes MixerChecker::checkBranch(const std::vector<Statement> &statements,
                                                const std::vector<std::string> &conditions) {
  for (const std::string &condition : conditions)
    ++conditions_[condition];
  changes_.emplace_back();
  checkStatements(statements);
  // What the branch leaves changes places with what was before.
  Changes changes = std::move(changes_.back());
  changes_.pop_back();
  for (auto &[name, before] : changes) {
    std::optional<Variable> after = variables_[name];
    if (before)
      variables_[name] = std::move(*before);
    else
      variables_.erase(name);
    before = std::move(after);
  }
  for (const std::string &condition : conditions)
    if (--conditions_[condition] == 0)
      conditions_.erase(condition);
  return changes;
}

void MixerChecker::checkIf(const Statement &statement) {
  checkCondition(statement.value, Scope::Model);
  Expression negated;
  negated.kind = Expression::Kind::Not;
  negated.children.push_back(statement.value);
  Changes thenChanges = checkBranch(statement.thenBody, getConjuncts(statement.value));
  Changes elseChanges = checkBranch(statement.elseBody, {printExpression(negated)});

  // After both branches a name has what they agree on.
  Changes all = thenChanges;
  all.insert(elseChanges.begin(), elseChanges.end());
  for (const auto &entry : all) {
    const std::string &name = entry.first;
    auto getAfter = [&](const Changes &changes) -> std::optional<Variable> {
      if (auto changed = changes.find(name); changed != changes.end())
        return changed->second;
      auto before = variables_.find(name);
      return before == variables_.end() ? std::nullopt : std::optional(before->second);
    };
    std::optional<Variable> first = getAfter(thenChanges), second = getAfter(elseChanges);
    Variable merged = first ? *first : *second;
    if (!first || !second) {
      if (merged.isNumber()) {
        merged.state = Variable::State::Number;
      } else if (merged.state == Variable::State::Whole) {
        merged.state = Variable::State::Partly;
        merged.condition = printExpression(first ? statement.value : negated);
      }
    } else if (first->state == Variable::State::Whole && second->state == Variable::State::Whole) {
      if (first->type != second->type) {
        merged.state = Variable::State::Unequal;
        merged.otherType = second->type;
        merged.otherPlace = second->place;
      } else if (merged.isNumber()) {
        // A tensor is the value of either branch; a number stands in expressions, where it is one.
        merged.state = Variable::State::Number;
        merged.place = thenChanges.count(name) ? first->place : second->place;
      }
    } else if (first->state == Variable::State::Whole) {
      merged = *second;
    }
    assign(name, std::move(merged));
  }
}

void MixerChecker::checkReturn() {
  std::optional<Type> type = check(mixer_.result);
  Type expected{ValueKind::Activation, {SizePolynomial::makeName("M")}};
  if (!type || *type == expected)
    return;
  llvm::SmallVector<Note, 1> notes;
  if (Note note = makeTypeNote(mixer_.result, *type); note.range.Start != getRange(mixer_.result).Start)
    notes.push_back(std::move(note));
  error(mixer_.result, "return gives " + printType(*type) + ", expected " + printType(expected),
        "base_o(y) makes [M] of [H * D]", notes);
}
