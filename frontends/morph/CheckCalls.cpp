// SPDX-License-Identifier: Apache-2.0
// Calls: arguments to parameters, and shapes by the functions' signatures.

#include "frontends/morph/MixerChecker.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace morph;
using namespace morph::language;
using Kind = Expression::Kind;

/// Whether a size of a function's own is part of what a parameter may be.
static bool mentions(const Parameter &parameter, llvm::StringRef size) {
  return llvm::any_of(parameter.forms, [&](const ArgumentForm &form) {
    return llvm::any_of(form.shape, [&](const Expression &pattern) { return pattern.isName(size); });
  });
}

/// Whether a name is in an expression.
static bool mentions(const Expression &expression, llvm::StringRef name) {
  return expression.isName(name) ||
         llvm::any_of(expression.children, [&](const Expression &child) { return mentions(child, name); });
}

std::optional<Type> MixerChecker::checkCall(const Expression &call) {
  const TensorFunction *function = findTensorFunction(call.text);
  bool isScalar = getScalarFunctionArity(call.text).has_value();
  if (!function && !isScalar) {
    llvm::SmallVector<llvm::StringRef> names(getScalarFunctionNames());
    for (const auto &entry : getTensorFunctions())
      names.push_back(entry.first);
    llvm::StringRef nearest = findNearest(call.text, names);
    error(call, "there is no function '" + call.text + "'",
          nearest.empty() ? std::string() : "did you mean '" + nearest.str() + "'?");
    return std::nullopt;
  }
  // Sizes among the arguments are no values, so that each function looks at its own.
  if (!isScalar)
    return checkTensorCall(call, *function);
  std::vector<std::optional<Type>> types;
  for (const Expression &argument : call.children)
    types.push_back(check(argument));
  if (llvm::is_contained(types, std::nullopt))
    return std::nullopt;
  bool hasTensor = llvm::any_of(types, [](const std::optional<Type> &type) { return type->isTensor(); });
  if (function && hasTensor)
    return checkTensorCall(call, *function);
  return checkScalarCall(call, types);
}

std::optional<Type> MixerChecker::checkScalarCall(const Expression &call, llvm::ArrayRef<std::optional<Type>> types) {
  size_t arity = *getScalarFunctionArity(call.text);
  if (types.size() != arity ||
      llvm::any_of(call.argumentNames, [](const std::string &name) { return !name.empty(); })) {
    error(call, "'" + call.text + "' takes " + llvm::Twine(arity) + (arity == 1 ? " number" : " numbers") +
                    " without a name");
    return std::nullopt;
  }
  for (auto [argument, type] : llvm::zip(call.children, types))
    if (type->isTensor()) {
      error(argument, "'" + call.text + "' is a function of numbers, found " + printType(*type));
      return std::nullopt;
    }
  return Type{ValueKind::Scalar, {}};
}

std::optional<Type> MixerChecker::checkTensorCall(const Expression &call, const TensorFunction &function) {
  if (scope_ != Scope::Values) {
    error(call, "'" + call.text + "' is a function of tensors, expected a number");
    return std::nullopt;
  }
  if (function.isStatistic() && !calibrates_) {
    error(call, "'" + call.text + "' sums up positions, which only calibrate may",
          "a mixer's result at a position must not depend on later ones");
    return std::nullopt;
  }
  CheckedCall checked;
  checked.function = &function;
  if (!bindArguments(call, function, checked))
    return std::nullopt;
  // Calls among the arguments have names of sizes of their own: all arguments first.
  bool ok = true;
  for (auto [parameter, argument] : llvm::zip(function.parameters, checked.arguments))
    if (argument && parameter.size.empty())
      ok &= result_.types.count(argument) || check(*argument);
  if (!ok)
    return std::nullopt;
  boundBy_.clear();
  for (auto [parameter, argument] : llvm::zip(function.parameters, checked.arguments)) {
    if (argument)
      ok &= checkArgument(parameter, *argument, checked);
    else if (!parameter.size.empty())
      checked.sizes[parameter.size] = *getPatternSize(*parameter.fallback, checked);
    if (!ok)
      return std::nullopt;
  }
  if (!function.divisor.empty() &&
      !checkDivides(call, checked.sizes[function.divisor], checked.sizes[function.dividend], "'" + function.name + "'"))
    return std::nullopt;

  Type type{ValueKind::Weight, {}};
  for (const Expression *argument : checked.arguments)
    if (!function.isStatistic() && argument && result_.types.lookup(argument).kind == ValueKind::Activation)
      type.kind = ValueKind::Activation;
  if (function.result.anyBefore) {
    const Type first = result_.types.lookup(checked.arguments[0]);
    size_t own = function.parameters[0].forms[0].shape.size();
    type.shape.assign(first.shape.begin(), first.shape.end() - own);
  }
  for (const Expression &pattern : function.result.shape) {
    std::optional<SizePolynomial> size = getPatternSize(pattern, checked);
    if (!size) {
      error(call, "the result of '" + function.name + "' has no size: " + printPattern(function.result, checked));
      return std::nullopt;
    }
    if (pattern.kind == Kind::Divide &&
        !checkDivides(call, *getPatternSize(pattern.children[1], checked),
                      *getPatternSize(pattern.children[0], checked), "'" + function.name + "'"))
      return std::nullopt;
    type.shape.push_back(std::move(*size));
  }
  if (!checkSizeTexts(call, checked) || !checkHeads(call, function, checked))
    return std::nullopt;
  if (!getWeightsOfFunction(function.name).empty())
    (calibrates_ ? calibratingFunctions_ : usedFunctions_).emplace(function.name, getRange(call));
  if (!getMadeWeightPrefix(function.name).empty())
    makingFunctions_.emplace(function.name, getRange(call));
  result_.calls[&call] = std::move(checked);
  return type;
}

bool MixerChecker::checkSizeTexts(const Expression &call, const CheckedCall &checked) {
  const TensorFunction &function = *checked.function;
  auto fits = [&](const std::string &name) {
    const size_t bytes = checked.sizes.at(name).print().size(), most = Expression::kMaxBytes - kBytesAround;
    if (bytes <= most)
      return true;
    llvm::SmallVector<Note, 1> notes;
    if (auto bound = boundBy_.find(name); bound != boundBy_.end())
      notes.push_back({bound->second.range, "it is a size of this"});
    error(call,
          "'" + function.name + "' has a size that takes " + llvm::Twine(bytes) + " bytes, expected at most " +
              llvm::Twine(most),
          "sizes are written out with the names of dims: shorter ones take less", notes);
    return false;
  };
  // In what an absent argument stands for, and in the shapes of weights that the function makes.
  for (auto [parameter, argument] : llvm::zip(function.parameters, checked.arguments))
    if (!argument && parameter.fallback)
      for (const auto &size : checked.sizes)
        if (mentions(*parameter.fallback, size.first) && !fits(size.first))
          return false;
  if (getMadeWeightPrefix(function.name).empty())
    return true;
  if (checked.sizes.count("channels"))
    return fits("channels");
  error(call, "the channels of '" + function.name + "' have no size: their product has too many terms");
  return false;
}

/// A weight of the base has the base's key-value heads or all heads, not both; its norm is there or not.
bool MixerChecker::checkHeads(const Expression &call, const TensorFunction &function, const CheckedCall &checked) {
  if (getWeightsOfFunction(function.name).empty())
    return true;
  for (auto [parameter, argument] : llvm::zip(function.parameters, checked.arguments)) {
    if (parameter.name == "norm") {
      // A name may stand for another number than before.
      const std::string norm = argument ? printExpression(writeOut(*argument)) : "1";
      auto [known, isNew] = normOf_.try_emplace(function.name, std::make_pair(norm, getRange(call)));
      if (isNew || known->second.first == norm)
        continue;
      error(call, "'" + function.name + "' has norm = " + norm + " here, and " + known->second.first + " elsewhere",
            "its weight is one: write the same 'norm' everywhere",
            {{known->second.second, "it has norm = " + known->second.first + " here"}});
      return false;
    }
    if (parameter.size.empty())
      continue;
    const SizePolynomial &heads = checked.sizes.at(parameter.size);
    auto [known, isNew] = headsOf_.try_emplace(function.name, std::make_pair(heads, getRange(call)));
    if (isNew || known->second.first == heads)
      continue;
    error(call,
          "'" + function.name + "' gives " + heads.print() + " heads here, and " + known->second.first.print() +
              " elsewhere",
          "its weight is one: write the same '" + parameter.name + "' everywhere",
          {{known->second.second, "it gives " + known->second.first.print() + " here"}});
    return false;
  }
  return true;
}

bool MixerChecker::bindArguments(const Expression &call, const TensorFunction &function, CheckedCall &checked) {
  checked.arguments.assign(function.parameters.size(), nullptr);
  size_t next = 0, positional = llvm::count_if(function.parameters, [](const Parameter &p) { return !p.onlyByName; });
  for (auto [argument, name] : llvm::zip(call.children, call.argumentNames)) {
    size_t at = next++;
    if (name.empty() && at >= positional) {
      error(argument,
            "'" + function.name + "' takes " + llvm::Twine(positional) + " argument" + (positional == 1 ? "" : "s") +
                " without a name",
            function.signature);
      return false;
    }
    if (!name.empty()) {
      at = llvm::find_if(function.parameters,
                         [name = llvm::StringRef(name)](const Parameter &p) { return p.name == name; }) -
           function.parameters.begin();
      if (at == function.parameters.size()) {
        llvm::SmallVector<llvm::StringRef> names;
        for (const Parameter &parameter : function.parameters)
          names.push_back(parameter.name);
        llvm::StringRef nearest = findNearest(name, names);
        error(argument, "'" + function.name + "' has no argument '" + name + "'",
              nearest.empty() ? function.signature : "did you mean '" + nearest.str() + "'?");
        return false;
      }
    }
    if (checked.arguments[at]) {
      error(argument, "argument '" + function.parameters[at].name + "' of '" + function.name + "' is given twice", "",
            {{getRange(*checked.arguments[at]), "it is given here first"}});
      return false;
    }
    checked.arguments[at] = &argument;
  }
  auto isGiven = [&](llvm::StringRef name) {
    return llvm::any_of(llvm::zip(function.parameters, checked.arguments),
                        [&](const auto &entry) { return std::get<0>(entry).name == name && std::get<1>(entry); });
  };
  for (const auto &pair : getArgumentPairs(function.name))
    if (isGiven(pair.first) != isGiven(pair.second)) {
      bool hasFirst = isGiven(pair.first);
      error(call,
            "'" + function.name + "' has '" + (hasFirst ? pair.first : pair.second) + "' without '" +
                (hasFirst ? pair.second : pair.first) + "'",
            function.signature);
      return false;
    }
  for (auto [parameter, argument] : llvm::zip(function.parameters, checked.arguments))
    if (!argument && parameter.required) {
      error(call, "argument '" + parameter.name + "' of '" + function.name + "' is missing", function.signature);
      return false;
    }
  return true;
}

bool MixerChecker::checkArgument(const Parameter &parameter, const Expression &argument, CheckedCall &checked) {
  const std::string &function = checked.function->name;
  if (!parameter.size.empty()) {
    std::optional<SizePolynomial> size = checkSize(argument);
    if (!size || !checkExtent(argument))
      return false;
    // The base has its heads or its key-value heads.
    bool isBase = !getWeightsOfFunction(function).empty();
    if (isBase && *size != SizePolynomial::makeName("H") && *size != SizePolynomial::makeName("G")) {
      error(argument,
            "argument '" + parameter.name + "' of '" + function + "' is " + size->print() + ", expected H or G");
      return false;
    }
    boundBy_[parameter.size] = {getRange(argument), "argument '" + parameter.name + "' is " + size->print()};
    checked.sizes[parameter.size] = std::move(*size);
    return true;
  }
  const Type type = result_.types.lookup(&argument);
  std::string expected;
  const ArgumentForm *fitting = nullptr;
  for (const ArgumentForm &form : parameter.forms) {
    bool isNumber = form.kind == ValueKind::Scalar;
    expected +=
        (expected.empty() ? "" : " or ") +
        (isNumber ? "a number"
                  : (form.kind == ValueKind::Weight ? "a weight " : "an activation ") + printPattern(form, checked));
    bool sameKind = isNumber ? !type.isTensor() : form.kind == type.kind;
    bool sameRank = form.anyBefore ? type.shape.size() >= form.shape.size() : type.shape.size() == form.shape.size();
    if (sameKind && (isNumber || sameRank) && !fitting)
      fitting = &form;
  }
  if (fitting && (fitting->kind == ValueKind::Scalar || matchShape(parameter, *fitting, argument, type, checked)))
    return true;
  llvm::SmallVector<Note> notes;
  for (const auto &bound : boundBy_) {
    const Note &note = bound.second; // Not a structured binding, which C++17 does not let lambdas capture.
    if (!mentions(parameter, bound.first))
      continue;
    // One argument may give several sizes.
    if (llvm::none_of(notes, [&](const Note &other) { return other.range.Start == note.range.Start; }))
      notes.push_back(note);
  }
  if (Note note = makeTypeNote(argument, type); note.range.Start != getRange(argument).Start)
    notes.push_back(std::move(note));
  error(argument,
        "argument '" + parameter.name + "' of '" + function + "' is " + printType(type) + ", expected " + expected, "",
        notes);
  return false;
}

bool MixerChecker::matchShape(const Parameter &parameter, const ArgumentForm &form, const Expression &argument,
                              const Type &type, CheckedCall &checked) {
  Note note{getRange(argument), "argument '" + parameter.name + "' is " + printType(type)};
  size_t before = type.shape.size() - form.shape.size();
  if (form.anyBefore) {
    std::optional<SizePolynomial> channels = SizePolynomial::makeNumber(1);
    for (const SizePolynomial &size : llvm::ArrayRef(type.shape).take_front(before))
      channels = channels ? *channels * size : std::nullopt;
    if (channels) {
      checked.sizes["channels"] = *channels;
      boundBy_["channels"] = note;
    }
  }
  // All or none, so that what is expected is told by the other arguments alone.
  std::map<std::string, SizePolynomial> found;
  for (auto [pattern, size] : llvm::zip(form.shape, llvm::ArrayRef(type.shape).drop_front(before))) {
    bool isOwn = pattern.kind == Kind::Name && !checked.sizes.count(pattern.text) && pattern.text != "channels" &&
                 !isSizeOfEveryMixer(pattern.text);
    if (isOwn && !found.count(pattern.text)) {
      found.emplace(pattern.text, size);
      continue;
    }
    std::optional<SizePolynomial> expected =
        isOwn ? std::optional(found[pattern.text]) : getPatternSize(pattern, checked);
    if (!expected || *expected != size)
      return false;
  }
  for (auto &[name, size] : found) {
    checked.sizes[name] = size;
    boundBy_.emplace(name, note);
  }
  return true;
}

bool MixerChecker::checkDivides(const Expression &call, const SizePolynomial &divisor, const SizePolynomial &dividend,
                                const llvm::Twine &what) {
  if (divisor.divides(dividend))
    return true;
  if (divisor.neverDivides(dividend)) {
    error(call, what + " needs " + divisor.print() + " to divide " + dividend.print());
    return false;
  }
  result_.divisions.push_back({divisor, dividend, getRange(call)});
  return true;
}

std::optional<SizePolynomial> MixerChecker::getPatternSize(const Expression &pattern,
                                                           const CheckedCall &checked) const {
  if (pattern.kind == Kind::Number)
    return SizePolynomial::makeNumber(int64_t(pattern.number));
  if (pattern.kind == Kind::Name) {
    auto own = checked.sizes.find(pattern.text);
    if (own != checked.sizes.end())
      return own->second;
    return isSizeOfEveryMixer(pattern.text) ? std::optional(SizePolynomial::makeName(pattern.text)) : std::nullopt;
  }
  std::optional<SizePolynomial> left = getPatternSize(pattern.children[0], checked);
  std::optional<SizePolynomial> right = getPatternSize(pattern.children[1], checked);
  if (!left || !right)
    return std::nullopt;
  return pattern.kind == Kind::Divide ? *left / *right : *left * *right;
}

std::string MixerChecker::printPattern(const ArgumentForm &form, const CheckedCall &checked) const {
  std::vector<std::string> sizes;
  if (form.anyBefore)
    sizes.push_back("*");
  for (const Expression &pattern : form.shape) {
    std::optional<SizePolynomial> size = getPatternSize(pattern, checked);
    sizes.push_back(size ? size->print() : printExpression(pattern));
  }
  return "[" + llvm::join(sizes, ", ") + "]";
}
