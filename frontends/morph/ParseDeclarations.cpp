// SPDX-License-Identifier: Apache-2.0
// Text of options and declarations.

#include "frontends/morph/FileParser.h"

using namespace morph;
using namespace morph::language;

bool FileParser::parseOptions(Mixer &mixer) {
  Token opening = reader_.take();
  while (!reader_.peek().is(")")) {
    if (mixer.options.size() == kMaxOptions)
      return fail(reader_.peek(), "a mixer has at most " + llvm::Twine(kMaxOptions) + " options");
    if (!parseOption(mixer.options.emplace_back()))
      return false;
    if (!reader_.takeIf(","))
      break;
  }
  if (reader_.takeIf(")"))
    return true;
  return fail(reader_.peek(), "expected ',' or ')' after an option, found " + describeToken(reader_.peek()), "",
              {{getRange(opening), "the options begin here"}});
}

bool FileParser::parseOption(Option &option) {
  if (!parseName(option.name, "an option's name") || !expect(":", "the option's name"))
    return false;
  if (reader_.takeIf("bool")) {
    option.type = Option::Type::Boolean;
  } else {
    if (reader_.takeIf("real"))
      option.type = Option::Type::Real;
    do
      if (!parseRange(option))
        return false;
    while (option.type == Option::Type::Whole && reader_.takeIf("|"));
  }
  if (!expect("=", "the option's values"))
    return false;
  if (option.type != Option::Type::Boolean)
    return parseConstant(option.fallback);
  Token value = reader_.peek();
  if (!value.is("true") && !value.is("false"))
    return fail(value, "expected true or false, found " + describeToken(value));
  reader_.take();
  option.fallback = {value.text.str(), value.is("true") ? 1.0 : 0.0, getRange(value)};
  return true;
}

bool FileParser::parseRange(Option &option) {
  Option::Range &range = option.ranges.emplace_back();
  if (!parseConstant(range.first))
    return false;
  range.last = range.first;
  range.isNumber = !reader_.takeIf("..");
  return range.isNumber || parseConstant(range.last);
}

bool FileParser::parseConstant(Constant &constant) {
  size_t begin = reader_.peek().begin;
  bool negative = reader_.takeIf("-");
  Token number = reader_.peek();
  if (number.kind != TokenKind::Number)
    return fail(number, "expected a number, found " + describeToken(number));
  TextError error;
  std::optional<Expression> value = parseExpression(number.text, error);
  if (!value)
    return fail(number, error.message);
  reader_.take();
  constant.text = (negative ? "-" : "") + value->text;
  constant.value = negative ? -value->number : value->number;
  constant.range = getRangeFrom(begin);
  return true;
}

bool FileParser::parseDocumentation(std::optional<Word> &word, SourceRange &range) {
  Token keyword = reader_.take();
  if (word)
    return fail(keyword, "'" + keyword.text + "' stands twice", "", {{range, "it stands here first"}});
  Word string;
  if (!parseString(string, keyword.text))
    return false;
  word = std::move(string);
  range = getRangeFrom(keyword.begin);
  return true;
}

bool FileParser::parseDimension(Mixer &mixer) {
  size_t begin = reader_.take().begin;
  Dimension dimension;
  if (!parseName(dimension.name, "the dimension's name") || !expect("=", "the dimension's name") ||
      !parseValue(dimension.size))
    return false;
  dimension.range = getRangeFrom(begin);
  mixer.dimensions.push_back(std::move(dimension));
  return true;
}

bool FileParser::parseRequirement(Mixer &mixer) {
  size_t begin = reader_.take().begin;
  Requirement requirement;
  if (!parseValue(requirement.condition) || !expect(",", "the condition") ||
      !parseString(requirement.message, "the condition"))
    return false;
  requirement.range = getRangeFrom(begin);
  mixer.requirements.push_back(std::move(requirement));
  return true;
}

bool FileParser::parseWeight(Mixer &mixer) {
  size_t begin = reader_.peek().begin;
  Weight weight;
  weight.frozen = reader_.takeIf("frozen");
  if (!reader_.takeIf("weight"))
    return failExpected("'weight' after 'frozen'");
  if (!parseName(weight.name, "the weight's name") || !parseSizes(weight) || !parseInitializer(weight.init))
    return false;
  if (!reader_.peek().startsLine && reader_.takeIf("if")) {
    if (!parseValue(weight.condition.emplace()))
      return false;
  }
  weight.range = getRangeFrom(begin);
  mixer.weights.push_back(std::move(weight));
  return true;
}

bool FileParser::parseSizes(Weight &weight) {
  Token opening = reader_.peek();
  if (!opening.is("["))
    return failExpected("'[' and the weight's sizes", "write for example [H * D, M]");
  reader_.take();
  while (!reader_.peek().is("]")) {
    if (weight.sizes.size() == kMaxRank)
      return fail(reader_.peek(), "a weight has at most " + llvm::Twine(kMaxRank) + " sizes");
    WeightSize &size = weight.sizes.emplace_back();
    if (reader_.peek(1).is(":")) {
      if (!parseName(size.index.emplace(), "an index's name"))
        return false;
      reader_.take();
    }
    if (!parseValue(size.size, /*bracketed=*/true))
      return false;
    if (!reader_.takeIf(","))
      break;
  }
  if (!reader_.peek().is("]"))
    return fail(reader_.peek(), "expected ',' or ']' after a size, found " + describeToken(reader_.peek()), "",
                {{getRange(opening), "the sizes begin here"}});
  reader_.take();
  return !weight.sizes.empty() || fail(opening, "a weight has at least one size", "write [1] for a single number");
}

bool FileParser::parseInitializer(Initializer &init) {
  Token begin = reader_.peek();
  if (!begin.is("=") && !begin.is("~"))
    return failExpected("the weight's first values", "write = FORMULA or ~ normal(DEVIATION)");
  reader_.take();
  Expression value;
  if (!parseValue(value))
    return false;
  init.range = getRange(value.begin, value.end);
  auto isBase = [](const Expression &name) {
    llvm::StringRef text = name.text;
    return name.kind == Expression::Kind::Name && text.starts_with("base.") &&
           (text.ends_with(".weight") || text.ends_with(".bias"));
  };
  if (begin.is("~")) {
    if (value.kind != Expression::Kind::Call || value.text != "normal" || value.children.size() != 1 ||
        !value.argumentNames[0].empty()) {
      diagnostics_.error(init.range, "expected normal(DEVIATION) after '~'", "other first values follow '='");
      return false;
    }
    init.kind = Initializer::Kind::Normal;
    init.formula = std::move(value.children[0]);
  } else if (isBase(value)) {
    init.kind = Initializer::Kind::Copy;
    init.source = {value.text.substr(5), init.range};
  } else if (value.kind == Expression::Kind::Call && value.text == "repeat" && value.children.size() == 1 &&
             isBase(value.children[0])) {
    init.kind = Initializer::Kind::Repeat;
    const Expression &source = value.children[0];
    init.source = {source.text.substr(5), getRange(source.begin, source.end)};
  } else {
    init.formula = std::move(value);
  }
  return true;
}
