// SPDX-License-Identifier: Apache-2.0
// Declarations: options, dimensions, requirements and weights.

#include "dialect/WeightNames.h"
#include "frontends/morph/BaseNames.h"
#include "frontends/morph/MixerChecker.h"

#include "llvm/ADT/STLExtras.h"

#include <cmath>

using namespace morph;
using namespace morph::language;

bool MixerChecker::isFree(const Word &name, bool dotted, bool maySoundLikeFunction) {
  llvm::StringRef text = name.text;
  auto fail = [&](const llvm::Twine &message, llvm::ArrayRef<Note> notes = {}) {
    diagnostics_.error(name.range, message, "", notes);
    return false;
  };
  if (text == "base" || text.starts_with("base."))
    return fail("'" + text + "' cannot be declared: names of base are facts of the model that is converted");
  if (auto symbol = symbols_.find(text); symbol != symbols_.end()) {
    if (symbol->second.kind == Symbol::Kind::Input)
      return fail("'x' is the mixer's input and cannot be assigned or declared");
    if (symbol->second.kind == Symbol::Kind::Size)
      return fail("'" + text + "' is a size that every mixer has, and cannot be assigned or declared");
    return fail("'" + text + "' is declared twice", {{symbol->second.place, "it is declared here first"}});
  }
  if (!dotted && text.contains('.'))
    return fail("'" + text + "' has a dot, which only weights' names may have");
  if (!maySoundLikeFunction && (findTensorFunction(text) || getScalarFunctionArity(text)))
    return fail("'" + text + "' is a function");
  return true;
}

bool MixerChecker::declare(const Word &name, Symbol symbol) {
  bool isOption = symbol.kind == Symbol::Kind::Option;
  if (!isFree(name, symbol.kind == Symbol::Kind::Weight, isOption))
    return false;
  symbol.place = name.range;
  symbols_[name.text] = std::move(symbol);
  return true;
}

void MixerChecker::checkOptions() {
  for (const Option &option : mixer_.options) {
    checkOption(option);
    Symbol symbol{Symbol::Kind::Option, {}, {}};
    symbol.type.kind = option.type == Option::Type::Boolean ? ValueKind::Condition : ValueKind::Scalar;
    symbol.isSize = option.type == Option::Type::Whole;
    declare(option.name, std::move(symbol));
  }
}

void MixerChecker::checkOption(const Option &option) {
  if (option.type == Option::Type::Boolean)
    return;
  bool whole = option.type == Option::Type::Whole, ok = true;
  auto checkConstant = [&](const Constant &constant) {
    if (!whole || (constant.value >= 0 && constant.value <= double(limits::kDimension) &&
                   constant.value == std::floor(constant.value)))
      return;
    diagnostics_.error(constant.range,
                       "'" + constant.text + "' is no whole number from 0 to " + llvm::Twine(limits::kDimension),
                       "write real before the values of an option that has others");
    ok = false;
  };
  bool inside = false;
  std::string allowed;
  for (const Option::Range &range : option.ranges) {
    checkConstant(range.first);
    if (!range.isNumber)
      checkConstant(range.last);
    if (range.first.value > range.last.value) {
      diagnostics_.error({range.first.range.Start, range.last.range.End},
                         "no number is in " + range.first.text + ".." + range.last.text);
      ok = false;
    }
    inside |= range.first.value <= option.fallback.value && option.fallback.value <= range.last.value;
    allowed += (allowed.empty() ? "" : " | ") + range.first.text + (range.isNumber ? "" : ".." + range.last.text);
  }
  checkConstant(option.fallback);
  if (ok && !inside)
    diagnostics_.error(
        option.fallback.range,
        "the default of '" + option.name.text + "' is " + option.fallback.text + ", expected " + allowed, "",
        {{{option.ranges.front().first.range.Start, option.ranges.back().last.range.End}, "its values are these"}});
}

void MixerChecker::checkDimensions() {
  for (const Dimension &dimension : mixer_.dimensions) {
    std::optional<SizePolynomial> size;
    if (isSizeExpression(dimension.size)) {
      // What is no polynomial is a size like M, of which no more is known.
      size = getPolynomial(dimension.size) ? checkSize(dimension.size)
                                           : std::optional(SizePolynomial::makeName(dimension.name.text));
      checkScalar(dimension.size, Scope::Model);
    }
    Symbol symbol{Symbol::Kind::Dimension, {ValueKind::Scalar, {}}, {}, /*isSize=*/true};
    if (declare(dimension.name, std::move(symbol)))
      result_.dimensions[dimension.name.text] = size.value_or(SizePolynomial::makeName(dimension.name.text));
  }
}

void MixerChecker::checkRequirements() {
  for (const Requirement &requirement : mixer_.requirements)
    checkCondition(requirement.condition, Scope::Model);
}

void MixerChecker::checkWeights() {
  for (const Weight &weight : mixer_.weights)
    checkWeight(weight);
}

void MixerChecker::checkWeight(const Weight &weight) {
  Shape shape;
  bool ok = true;
  for (const WeightSize &size : weight.sizes) {
    std::optional<SizePolynomial> polynomial = checkSize(size.size);
    ok &= polynomial.has_value();
    // The evaluator of first values and sizes sees these, too.
    if (polynomial)
      checkScalar(size.size, Scope::Model);
    shape.push_back(polynomial.value_or(SizePolynomial::makeNumber(1)));
    if (!size.index)
      continue;
    isFree(*size.index, /*dotted=*/false, /*maySoundLikeFunction=*/false);
    for (const WeightSize &other : weight.sizes) {
      if (&other == &size)
        break;
      if (other.index && other.index->text == size.index->text)
        diagnostics_.error(size.index->range, "index '" + size.index->text + "' is declared twice", "",
                           {{other.index->range, "it is declared here first"}});
    }
  }
  std::vector<std::string> conditions;
  if (weight.condition && checkCondition(*weight.condition, Scope::Model))
    conditions = getConjuncts(*weight.condition);
  weightConditions_.push_back(std::move(conditions));
  weightUsed_.push_back(false);
  result_.weightShapes.push_back(shape);
  if (ok)
    checkInitializer(weight, shape);
  if (llvm::StringRef part = findModuleAttribute(weight.name.text); !part.empty())
    diagnostics_.error(weight.name.range,
                       "a weight cannot be called '" + weight.name.text +
                           "': " + (part == weight.name.text ? "it" : ("'" + part + "'").str()) +
                           " is an attribute of PyTorch's modules, which an export is made of",
                       "add a letter, or a word for what it does");
  Symbol symbol{Symbol::Kind::Weight, {ValueKind::Weight, shape}, {}};
  symbol.weight = weightUsed_.size() - 1;
  symbol.isWrong = !ok;
  // One that cannot be declared is not unused as well.
  if (!declare(weight.name, std::move(symbol)))
    weightUsed_.back() = true;
}

void MixerChecker::checkInitializer(const Weight &weight, const Shape &shape) {
  if (weight.init.kind == Initializer::Kind::Copy || weight.init.kind == Initializer::Kind::Repeat)
    return checkCopy(weight, shape);
  const bool isNormal = weight.init.kind == Initializer::Kind::Normal;
  indexed_ = &weight;
  bool ok = checkScalar(weight.init.formula, isNormal ? Scope::Model : Scope::Formula);
  indexed_ = nullptr;
  if (std::optional<double> deviation = ok && isNormal ? getConstant(weight.init.formula) : std::nullopt)
    if (*deviation < 0)
      error(weight.init.formula, "a standard deviation is no negative number");
}

void MixerChecker::checkCopy(const Weight &weight, const Shape &shape) {
  llvm::ArrayRef<BaseWeight> list = getBaseWeights();
  const Word &source = weight.init.source;
  auto found = llvm::find_if(list, [&](const BaseWeight &entry) { return entry.name == source.text; });
  if (found == list.end()) {
    llvm::SmallVector<llvm::StringRef> names;
    for (const BaseWeight &entry : list)
      names.push_back(entry.name);
    llvm::StringRef nearest = findNearest(source.text, names);
    diagnostics_.error(source.range, "the base has no weight '" + source.text + "'",
                       nearest.empty() ? std::string() : "did you mean 'base." + nearest.str() + "'?");
    return;
  }
  bool repeats = weight.init.kind == Initializer::Kind::Repeat;
  bool ofKeyValueHeads = found->sizes[0] == "GD";
  if (repeats && !ofKeyValueHeads) {
    diagnostics_.error(weight.init.range, "'base." + source.text + "' has no key-value heads to repeat");
    return;
  }
  Shape expected;
  for (llvm::StringRef names : found->sizes) {
    SizePolynomial size = SizePolynomial::makeNumber(1);
    for (char name : names)
      size = *(size * SizePolynomial::makeName(repeats && name == 'G' ? "H" : llvm::StringRef(&name, 1)));
    expected.push_back(size);
  }
  SourceRange sizes = file_.getRange(weight.sizes.front().size.begin, weight.sizes.back().size.end);
  if (shape != expected)
    diagnostics_.error(sizes,
                       "'" + weight.name.text + "' has shape " + printShape(shape) + ", but its first values are " +
                           printShape(expected),
                       ofKeyValueHeads && !repeats
                           ? "repeat(base." + source.text + ") has a row for each of the H heads"
                           : std::string(),
                       {{weight.init.range, "they come from here"}});
  if (!found->condition.empty() && !llvm::is_contained(weightConditions_.back(), found->condition))
    diagnostics_.error(source.range, "the base has '" + source.text + "' only if " + found->condition,
                       "add if " + found->condition.str());
}

void MixerChecker::checkWeightUses() {
  for (auto [weight, used] : llvm::zip(mixer_.weights, weightUsed_))
    if (!used)
      diagnostics_.error(weight.name.range, "weight '" + weight.name.text + "' is not used");
  for (const auto &[function, place] : calibratingFunctions_)
    if (!usedFunctions_.count(function))
      diagnostics_.error(place, "'" + function + "' stands in calibrate alone, and its weights would not be used",
                         "its weights are the mixer's");
  for (const auto &[function, place] : usedFunctions_)
    for (llvm::StringRef name : getWeightsOfFunction(function))
      if (auto symbol = symbols_.find(name); symbol != symbols_.end())
        diagnostics_.error(symbol->second.place, "'" + name + "' is also a weight of " + function,
                           "give it another name", {{place, function + " is used here"}});
  for (const auto &[function, place] : makingFunctions_)
    for (const Weight &weight : mixer_.weights)
      if (llvm::StringRef(weight.name.text).starts_with(getMadeWeightPrefix(function)))
        diagnostics_.error(weight.name.range,
                           "'" + weight.name.text + "' is named as the weights that " + function + " makes",
                           "give it another name", {{place, function + " is used here"}});
}
