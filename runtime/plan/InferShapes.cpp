// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/InferShapes.h"

#include "runtime/plan/SizeLimits.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <optional>

namespace morph::plan {

namespace {

const int64_t *numberOf(const Dim &dim) { return std::get_if<int64_t>(&dim); }

std::string text(const Dim &dim) {
  const int64_t *number = numberOf(dim);
  return number ? std::to_string(*number) : std::get<std::string>(dim);
}

bool agree(const Dim &a, const Dim &b) { return a == b || isUnknown(a) || isUnknown(b); }

/// "*OI" as "[...,O,I]".
std::string describePattern(const std::string &pattern) {
  if (pattern.empty())
    return "a scalar";
  std::string result = "[";
  for (char letter : pattern) {
    if (result.size() > 1)
      result += ',';
    result += letter == '*' || letter == '~' ? std::string("...") : std::string(1, letter);
  }
  return result + "]";
}

/// "#candidates - 1" as "the number of candidates - 1", "V + ?normaliser" as "V + (normaliser ? 1 : 0)".
std::string describeExpression(std::string expression) {
  if (const size_t count = expression.find('#'); count != std::string::npos)
    expression.replace(count, 1, "the number of ");
  if (const size_t flag = expression.find('?'); flag != std::string::npos)
    expression = expression.substr(0, flag) + "(" + expression.substr(flag + 1) + " ? 1 : 0)";
  return expression;
}

/// "mean|rows|relative" in its words.
std::vector<std::string> splitWords(const std::string &words) {
  std::vector<std::string> list;
  for (size_t begin = 0; begin <= words.size();) {
    const size_t end = std::min(words.find('|', begin), words.size());
    list.push_back(words.substr(begin, end - begin));
    begin = end + 1;
  }
  return list;
}

/// "'mean', 'rows' or 'relative'", with another word in the place of "or".
std::string joinWords(const std::vector<std::string> &words, const std::string &last) {
  std::string result;
  for (size_t i = 0; i < words.size(); ++i)
    result += (i == 0 ? "'" : i + 1 == words.size() ? " " + last + " '" : ", '") + words[i] + "'";
  return result;
}

/// Letters whose sizes may be names in a program.
bool mayBeNamed(char letter) { return std::strchr("BTSN", letter) != nullptr; }

/// Applies the rules of one op in order.
class Inference {
public:
  Inference(const OpRule &rule, const OpArguments &arguments, BoundSizes &sizes)
      : rule(rule), arguments(arguments), sizes(sizes) {}

  StatusOr<std::vector<Shape>> run() {
    for (const ShapeRule &constraint : rule.rules)
      if (Status status = apply(constraint); !status.ok())
        return status;
    std::vector<Shape> results;
    for (const ResultRule &result : rule.results) {
      const char kind = result.shape.empty() ? '\0' : result.shape[0];
      if (kind == '=') {
        for (const std::string &name : splitWords(result.shape.substr(1)))
          for (const Shape *shape : operand(name))
            results.push_back(*shape);
      } else if (kind == '?') {
        for (const std::string &each : splitWords(result.shape))
          if (const size_t equals = each.find('='); attribute(each.substr(1, equals - 1)))
            results.push_back(shapeOf(each.substr(equals + 1)));
      } else {
        results.push_back(shapeOf(result.shape));
      }
    }
    return results;
  }

private:
  const OpRule &rule;
  const OpArguments &arguments;
  BoundSizes &sizes;
  /// The operand that gave a letter its size, and the text of its shape; for one that a Size rule gave, its meaning.
  struct Origin {
    std::string operand, shape;
  };
  std::map<char, Origin> origins;
  std::optional<Origin> leadingOrigin, trailingOrigin;

  const std::vector<const Shape *> &operand(const std::string &name) const {
    return arguments.operands[static_cast<size_t>(rule.operandIndex(name))];
  }
  std::string describe(const std::string &name, size_t nth) const {
    const size_t index = static_cast<size_t>(rule.operandIndex(name));
    return arguments.describe ? arguments.describe(index, nth) : shapeText(*arguments.operands[index][nth]);
  }
  const Attribute *attribute(const std::string &name) const {
    auto found = arguments.attributes->find(name);
    return found == arguments.attributes->end() ? nullptr : &found->second;
  }

  Status apply(const ShapeRule &constraint) {
    switch (constraint.kind) {
    case RuleKind::Shape:
      return matchAll(constraint);
    case RuleKind::Size:
      return setSize(constraint);
    case RuleKind::Divides:
      return checkDivides(constraint);
    case RuleKind::AtMost:
      return checkAtMost(constraint);
    case RuleKind::Range:
      return checkRange(constraint);
    case RuleKind::Positive:
      return checkPositive(constraint);
    case RuleKind::Real:
      return checkReal(constraint);
    case RuleKind::OneOf:
      return checkOneOf(constraint);
    case RuleKind::AtMostOne:
      return checkPresent(constraint, /*all=*/false);
    case RuleKind::Together:
      return checkPresent(constraint, /*all=*/true);
    case RuleKind::Trailing:
      return checkTrailing(constraint);
    case RuleKind::Last:
      return takeLast(constraint);
    case RuleKind::Table:
      return Status();
    }
    return Status();
  }

  static Status violated(const ShapeRule &constraint, const std::string &message) {
    return Status::invalid(constraint.label.empty() ? message : constraint.label + ": " + message);
  }

  //===--- Shape -------------------------------------------------------------------------------------------------===//

  Status matchAll(const ShapeRule &constraint) {
    const std::vector<const Shape *> &values = operand(constraint.first);
    const bool variadic =
        rule.operands[static_cast<size_t>(rule.operandIndex(constraint.first))].arity == Arity::Variadic;
    for (size_t nth = 0; nth < values.size(); ++nth) {
      const std::string name = constraint.first + (variadic ? "[" + std::to_string(nth) + "]" : "");
      const Origin origin{name, describe(constraint.first, nth)};
      MORPH_RETURN_IF_ERROR(match(constraint, origin, *values[nth], constraint.second));
    }
    return Status();
  }

  Status match(const ShapeRule &constraint, const Origin &origin, const Shape &shape, std::string pattern) {
    const std::string expected = describePattern(pattern);
    auto mismatch = [&](const std::string &what) {
      return violated(constraint, origin.operand + " is " + origin.shape + ", expected " + expected + what);
    };
    for (const Dim &dim : shape)
      if (const int64_t *size = numberOf(dim); size && *size > limits::kDimension)
        return mismatch(": a dimension is larger than " + std::to_string(limits::kDimension));
    const bool anyLeading = !pattern.empty() && pattern.front() == '*';
    const bool anyTrailing = !pattern.empty() && pattern.back() == '~';
    if (anyLeading)
      pattern.erase(pattern.begin());
    if (anyTrailing)
      pattern.pop_back();
    if (anyLeading || anyTrailing ? shape.size() < pattern.size() : shape.size() != pattern.size())
      return mismatch("");
    const auto begin = anyLeading ? shape.end() - static_cast<int64_t>(pattern.size()) : shape.begin();
    const auto end = begin + static_cast<int64_t>(pattern.size());
    if (anyLeading && !matchRest(Shape(shape.begin(), begin), origin, sizes.leading, leadingOrigin))
      return mismatch(": the leading dimensions are not those of " + leadingOrigin->operand + " (" +
                      leadingOrigin->shape + ")");
    for (size_t i = 0; i < pattern.size(); ++i) {
      const Dim &size = begin[static_cast<int64_t>(i)];
      if (const std::string conflict = bind(pattern[i], size, origin); !conflict.empty())
        return mismatch(": " + conflict);
    }
    if (anyTrailing && !matchRest(Shape(end, shape.end()), origin, sizes.trailing, trailingOrigin))
      return mismatch(": the trailing dimensions are not those of " + trailingOrigin->operand + " (" +
                      trailingOrigin->shape + ")");
    return Status();
  }

  /// The dimensions that a wildcard stands for, which are the same wherever it appears.
  static bool matchRest(Shape given, const Origin &origin, Shape &known, std::optional<Origin> &from) {
    if (!from) {
      known = std::move(given);
      from = origin;
      return true;
    }
    if (known.size() != given.size())
      return false;
    for (size_t i = 0; i < given.size(); ++i) {
      if (!agree(known[i], given[i]))
        return false;
      if (isUnknown(known[i]))
        known[i] = given[i];
    }
    return true;
  }

  /// Gives a letter the size, or says how it differs from the one it has.
  std::string bind(char letter, const Dim &size, const Origin &origin) {
    if (letter == '1')
      return agree(size, Dim(int64_t(1))) ? "" : text(size) + " where there is 1";
    if (arguments.isProgram && !mayBeNamed(letter) && !numberOf(size))
      return std::string(1, letter) + " is " + text(size) + ", but must be known when the program is made";
    auto [known, isNew] = sizes.letters.try_emplace(letter, size);
    if (isNew || isUnknown(known->second)) {
      known->second = size;
      origins[letter] = origin;
      return "";
    }
    if (agree(known->second, size))
      return "";
    const Origin &first = origins[letter];
    return std::string(1, letter) + " is " + text(size) + ", but " +
           (first.shape.empty() ? first.operand + " is " + text(known->second)
                                : text(known->second) + " in " + first.operand + " (" + first.shape + ")");
  }

  Shape shapeOf(const std::string &pattern) const {
    Shape shape;
    for (char letter : pattern) {
      if (letter == '*')
        shape.insert(shape.end(), sizes.leading.begin(), sizes.leading.end());
      else if (letter == '~')
        shape.insert(shape.end(), sizes.trailing.begin(), sizes.trailing.end());
      else
        shape.push_back(letter == '1' ? Dim(int64_t(1)) : sizes.letters.at(letter));
    }
    return shape;
  }

  //===--- Sizes and attributes ----------------------------------------------------------------------------------===//

  /// The size of a term: a letter, a number, an integer attribute, or the count of a variadic operand.
  Dim valueOf(const std::string &term) const {
    if (term.size() == 1 && std::isupper(static_cast<unsigned char>(term[0])))
      return sizes.letters.at(term[0]);
    if (term[0] == '#')
      return Dim(static_cast<int64_t>(operand(term.substr(1)).size()));
    if (term[0] == '?')
      return Dim(int64_t(attribute(term.substr(1)) != nullptr));
    if (term == "kDimension")
      return Dim(limits::kDimension);
    if (term == "kChunk")
      return Dim(limits::kChunk);
    int64_t number = 0;
    if (std::from_chars(term.data(), term.data() + term.size(), number).ec == std::errc())
      return Dim(number);
    return Dim(std::get<int64_t>(*attribute(term)));
  }

  /// "H is 4 in q ([B,T,4,4])", "H = heads is 3" for a size by a rule, "window is 0".
  std::string describeTerm(const std::string &term) const {
    const std::string is = " is " + text(valueOf(term));
    auto origin = term.size() == 1 ? origins.find(term[0]) : origins.end();
    if (origin == origins.end())
      return term + is;
    return origin->second.shape.empty()
               ? term + " = " + origin->second.operand + is
               : term + is + " in " + origin->second.operand + " (" + origin->second.shape + ")";
  }

  Status noMultiple(const ShapeRule &constraint, const std::string &dividend, const std::string &divisor) const {
    return violated(constraint,
                    describeTerm(dividend) + ", expected a multiple of " + divisor + ": " + describeTerm(divisor));
  }

  Status setSize(const ShapeRule &constraint) {
    const std::string &expression = constraint.second;
    const char letter = constraint.first[0];
    const size_t space = expression.find(' ');
    Dim size = valueOf(expression.substr(0, space));
    if (space != std::string::npos) {
      const size_t end = expression.find(' ', space + 1);
      MORPH_RETURN_IF_ERROR(combine(constraint, expression.substr(0, space),
                                    expression.substr(space + 1, end - space - 1), expression.substr(end + 1), size));
    }
    const int64_t *number = numberOf(size);
    const std::string meaning = describeExpression(expression);
    const int64_t least = expression.find("//") == std::string::npos; // Chunks of no positions are none.
    if (number && (*number < least || *number > limits::kDimension))
      return violated(constraint, constraint.first + " = " + meaning + " is " + std::to_string(*number) +
                                      ", expected 1 to " + std::to_string(limits::kDimension));
    if (const std::string conflict = bind(letter, size, {meaning, ""}); !conflict.empty())
      return violated(constraint, conflict);
    origins[letter] = {meaning, ""};
    return Status();
  }

  /// `size`, the value of `left`, becomes that of the operation on it and `right`.
  Status combine(const ShapeRule &constraint, const std::string &left, const std::string &operation,
                 const std::string &right, Dim &size) const {
    const Dim other = valueOf(right);
    const int64_t *a = numberOf(size), *b = numberOf(other);
    if (operation == "//" && !a && b) {
      if (!isUnknown(size))
        size = Dim(std::get<std::string>(size) + "/" + std::to_string(*b)); // resolveDim divides.
      return Status();
    }
    if (!a || !b)
      return violated(constraint, describeTerm(a ? right : left) + ", but must be known");
    if (operation == "/" && (*b < 1 || *a % *b != 0))
      return noMultiple(constraint, left, right);
    // Sizes are of 31 bits: no product overflows.
    size = Dim(operation == "+"    ? *a + *b
               : operation == "-"  ? *a - *b
               : operation == "*"  ? *a * *b
               : operation == "//" ? (*a + *b - 1) / *b
                                   : *a / *b);
    return Status();
  }

  Status checkDivides(const ShapeRule &constraint) const {
    const Dim divisor = valueOf(constraint.first), dividend = valueOf(constraint.second);
    const int64_t *a = numberOf(divisor), *b = numberOf(dividend);
    if (a && b && *a > 0 && *b % *a == 0)
      return Status();
    return noMultiple(constraint, constraint.second, constraint.first);
  }

  Status checkAtMost(const ShapeRule &constraint) const {
    const Dim value = valueOf(constraint.first), most = valueOf(constraint.second);
    const int64_t *a = numberOf(value), *b = numberOf(most);
    if (!a || !b || *a <= *b)
      return Status();
    return violated(constraint, describeTerm(constraint.first) + ", expected no more than " + constraint.second + ": " +
                                    describeTerm(constraint.second));
  }

  Status checkRange(const ShapeRule &constraint) const {
    const std::string &what = constraint.first;
    const bool isLetter = what.size() == 1 && std::isupper(static_cast<unsigned char>(what[0]));
    if (!isLetter && what[0] != '#' && !attribute(what))
      return Status();
    const Dim value = valueOf(what), low = valueOf(constraint.second), high = valueOf(constraint.third);
    const int64_t *number = numberOf(value), *least = numberOf(low), *most = numberOf(high);
    if (!number)
      return violated(constraint, describeTerm(what) + ", but must be known");
    if (*number >= *least && (!most || *number <= *most))
      return Status();
    if (what[0] == '#')
      return violated(constraint, "got " + text(value) + " " + what.substr(1) + ", expected " + text(low) + " or more");
    return violated(constraint, describeTerm(what) + ", expected " + text(low) + " to " + text(high));
  }

  Status checkPositive(const ShapeRule &constraint) const {
    if (!attribute(constraint.first))
      return Status();
    const double value = std::get<double>(*attribute(constraint.first));
    if (value > 0 && std::isfinite(value))
      return Status();
    return violated(constraint, constraint.first + " is " + digitsOf(value) + ", expected a positive finite number");
  }

  Status checkReal(const ShapeRule &constraint) const {
    const double value = std::get<double>(*attribute(constraint.first));
    const bool hasEnd = !constraint.third.empty();
    if (value >= std::stod(constraint.second) && (hasEnd ? value < std::stod(constraint.third) : std::isfinite(value)))
      return Status();
    return violated(constraint, constraint.first + " is " + digitsOf(value) + ", expected " +
                                    (hasEnd ? "a number from " + constraint.second + " to less than " + constraint.third
                                            : "a finite number of " + constraint.second + " or more"));
  }

  static std::string digitsOf(double value) {
    char digits[32];
    std::snprintf(digits, sizeof(digits), "%g", value);
    return digits;
  }

  Status checkOneOf(const ShapeRule &constraint) const {
    const std::string &word = std::get<std::string>(*attribute(constraint.first));
    const std::vector<std::string> words = splitWords(constraint.second);
    if (std::find(words.begin(), words.end(), word) != words.end())
      return Status();
    return violated(constraint, constraint.first + " is '" + word + "', expected " + joinWords(words, "or"));
  }

  /// Of some optional operands all are there or none, or one at most.
  Status checkPresent(const ShapeRule &constraint, bool all) const {
    const std::vector<std::string> names = splitWords(constraint.first);
    std::vector<std::string> present;
    for (const std::string &name : names)
      if (!operand(name).empty())
        present.push_back(name);
    if (all ? present.empty() || present.size() == names.size() : present.size() <= 1)
      return Status();
    return violated(constraint, "there is " + joinWords(present, "and") + ", expected " +
                                    (all ? "all or none of " : "one at most of ") + joinWords(names, "and"));
  }

  Status checkTrailing(const ShapeRule &constraint) const {
    const Shape &end = *operand(constraint.first)[0], &whole = *operand(constraint.second)[0];
    bool fits = end.size() <= whole.size();
    for (size_t i = 0; fits && i < end.size(); ++i)
      fits = agree(end[i], whole[whole.size() - end.size() + i]);
    if (fits)
      return Status();
    return violated(constraint, constraint.first + " is " + describe(constraint.first, 0) +
                                    ", expected the trailing dimensions of " + constraint.second + " (" +
                                    describe(constraint.second, 0) + ")");
  }

  Status takeLast(const ShapeRule &constraint) {
    const Shape &shape = *operand(constraint.first)[0];
    const int64_t rank = std::get<int64_t>(*attribute(constraint.second));
    if (rank < 0 || rank > static_cast<int64_t>(shape.size()))
      return violated(constraint, constraint.second + " is " + std::to_string(rank) + ", expected 0 to " +
                                      std::to_string(shape.size()));
    sizes.trailing.assign(shape.end() - rank, shape.end());
    return Status();
  }
};

StatusOr<std::vector<TensorType>> inferLaunch(const Plan &plan, const Instruction &launch) {
  const Kernel *found = findKernel(plan, launch);
  if (!found)
    return Status::invalid("the plan has no kernel of that name");
  const Kernel &kernel = *found;
  if (static_cast<int64_t>(launch.operands.size()) != kernel.arguments)
    return Status::invalid("kernel '" + kernel.name + "' takes " + std::to_string(kernel.arguments) +
                           " arguments, got " + std::to_string(launch.operands.size()));
  std::map<std::string, Dim> rows;
  for (size_t i = 0; i < launch.operands.size(); ++i) {
    const TensorType &expected = kernel.values[i], &given = plan.values[static_cast<size_t>(launch.operands[i])];
    bool fits = expected.shape.size() == given.shape.size() && expected.dtype == given.dtype;
    for (size_t d = 0; fits && d < given.shape.size(); ++d) {
      const std::string *name = std::get_if<std::string>(&expected.shape[d]);
      fits = name ? rows.emplace(*name, given.shape[d]).first->second == given.shape[d]
                  : expected.shape[d] == given.shape[d];
    }
    if (!fits)
      return Status::invalid("argument " + std::to_string(i) + " is " + shapeText(given.shape) + " of " +
                             dtypeName(given.dtype) + ", but kernel '" + kernel.name + "' takes " +
                             shapeText(expected.shape) + " of " + dtypeName(expected.dtype) +
                             " and the rows of the arguments before");
  }
  std::vector<TensorType> results;
  for (int64_t value : kernel.results)
    for (Dim &dim : results.emplace_back(kernel.values[static_cast<size_t>(value)]).shape)
      if (const std::string *name = std::get_if<std::string>(&dim)) {
        auto row = rows.find(*name);
        if (row == rows.end())
          return Status::invalid("kernel '" + kernel.name + "' has the size '" + *name + "' that no argument has");
        dim = row->second;
      }
  return results;
}

} // namespace

bool isUnknown(const Dim &dim) {
  const std::string *name = std::get_if<std::string>(&dim);
  return name && *name == kUnknown;
}

std::string shapeText(const Shape &shape) {
  std::string result = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    result += (i ? "," : "") + text(shape[i]);
  return result + "]";
}

StatusOr<std::vector<Shape>> inferShapes(const OpRule &rule, const OpArguments &arguments, BoundSizes &sizes) {
  return Inference(rule, arguments, sizes).run();
}

StatusOr<std::vector<TensorType>> inferResults(const Plan &plan, const Instruction &instruction, BoundSizes &sizes) {
  if (instruction.op == "launch")
    return inferLaunch(plan, instruction);
  const OpRule &rule = *findOpRule(instruction.op);
  OpArguments arguments;
  arguments.attributes = &instruction.attributes;
  arguments.isProgram = true;
  size_t next = 0;
  for (const OperandRule &operand : rule.operands) {
    const size_t count =
        operand.arity == Arity::Variadic ? static_cast<size_t>(variadicCount(instruction, operand.name)) : 1;
    std::vector<const Shape *> &shapes = arguments.operands.emplace_back();
    for (size_t i = 0; i < count; ++i, ++next)
      if (const int64_t value = instruction.operands[next]; value >= 0)
        shapes.push_back(&plan.values[static_cast<size_t>(value)].shape);
  }
  MORPH_ASSIGN_OR_RETURN(std::vector<Shape> shapes, inferShapes(rule, arguments, sizes));
  const DType dtype = resultType(rule, instruction.attributes);
  const std::vector<int64_t> updated = updatedValues(instruction, rule);
  std::vector<TensorType> results;
  for (size_t r = 0; r < shapes.size(); ++r)
    results.push_back({std::move(shapes[r]), r < updated.size() && updated[r] >= 0
                                                 ? plan.values[static_cast<size_t>(updated[r])].dtype
                                                 : dtype});
  return results;
}

} // namespace morph::plan
