// SPDX-License-Identifier: Apache-2.0
// Text of `arch` declarations.

#include "frontends/morph/FileParser.h"

using namespace morph;
using namespace morph::language;

static constexpr llvm::StringRef lineWords[] = {"doc", "model", "recipe", "layers", "tie", "pin", "pattern", "budget"};

bool FileParser::parseArch(Arch &arch) {
  Token begin = reader_.take();
  if (!parseHeader(arch.name, "arch", [] { return true; }))
    return false;
  parseArchBody(arch);
  arch.bodyRange = getRangeFrom(opening_.begin);
  arch.range = getRangeFrom(begin.begin);
  return true;
}

void FileParser::parseArchBody(Arch &arch) {
  while (!reader_.takeIf("}") && !hasTooManyErrors()) {
    Token first = reader_.peek();
    if (reader_.atEnd() || atDeclaration()) {
      failUnclosed("arch");
      return;
    }
    if (!countItem())
      return;
    ArchLine line;
    if (parseArchLine(line) && expectLineEnd())
      arch.lines.push_back(std::move(line));
    else
      recover(first.begin);
  }
}

bool FileParser::parseArchLine(ArchLine &line) {
  using Kind = ArchLine::Kind;
  Token word = reader_.peek();
  const auto *known = llvm::find_if(lineWords, [&](llvm::StringRef name) { return word.is(name); });
  if (known == std::end(lineWords)) {
    llvm::StringRef nearest = findNearest(word.text, lineWords);
    return fail(word, "expected a line of an arch, found " + describeToken(word),
                nearest.empty() ? "its lines begin with doc, model, recipe, layers, tie, pin, pattern or budget"
                                : "did you mean '" + nearest.str() + "'?");
  }
  reader_.take();
  line.kind = static_cast<Kind>(known - std::begin(lineWords));
  bool ok = false;
  switch (line.kind) {
  case Kind::Doc:
  case Kind::Model:
  case Kind::Recipe:
    ok = parseString(line.text, word.text);
    break;
  case Kind::Tie:
    ok = parseLayers(line.layers);
    break;
  case Kind::Layers:
  case Kind::Pin:
    ok = parseLayers(line.layers) && expect("=", "the layers") && parseCandidates(line);
    break;
  case Kind::Pattern:
    ok = parsePattern(line);
    break;
  case Kind::Budget:
    ok = parseBudget(line);
    break;
  }
  line.range = getRangeFrom(word.begin);
  return ok;
}

bool FileParser::parseLayers(LayerSet &layers) {
  size_t begin = reader_.peek().begin;
  if (peekOnLine().kind == TokenKind::End)
    return failExpected("layers", "for example 0..9, 12, or all");
  if (!reader_.takeIf("all")) {
    do {
      auto &[first, last] = layers.ranges.emplace_back();
      if (layers.ranges.size() > kMaxStatements)
        return fail(reader_.peek(), "a line has at most " + llvm::Twine(kMaxStatements) + " ranges of layers");
      if (!parseConstant(first))
        return false;
      last = first;
      if (reader_.takeIf("..") && !parseConstant(last))
        return false;
    } while (reader_.takeIf(","));
  }
  layers.range = getRangeFrom(begin);
  return true;
}

bool FileParser::parseCandidates(ArchLine &line) {
  do {
    if (line.mixers.size() > kMaxCandidates)
      return fail(reader_.peek(),
                  "a layer has at most " + llvm::Twine(kMaxCandidates) + " candidates beside full attention");
    if (!parseCandidate(line.mixers.emplace_back()))
      return false;
  } while (reader_.takeIf("|"));
  return true;
}

bool FileParser::parseCandidate(Word &candidate) {
  // A line that ends with '|' goes on in the next one.
  Token token = reader_.previous().is("|") ? reader_.peek() : peekOnLine();
  if (token.kind == TokenKind::String)
    return parseString(candidate, "'='");
  if (token.kind != TokenKind::Name)
    return failExpected("a mixer", "for example full, gla(rank = 8) or \"mine.morph:mine\"");
  Expression expression;
  if (!parseValue(expression))
    return false;
  candidate = {printExpression(expression), getRange(expression.begin, expression.end)};
  return true;
}

bool FileParser::parsePattern(ArchLine &line) {
  if (Token token = reader_.peek(); reader_.takeIf("one"))
    line.count = {"1", 1, getRange(token)};
  else if (!parseConstant(line.count))
    return false;
  if (!parseName(line.mixers.emplace_back(), "a candidate's name"))
    return false;
  if (!reader_.takeIf("in") || !reader_.takeIf("every"))
    return failExpected("'in every' after the candidate's name", "for example pattern one full in every 4");
  return parseConstant(line.every);
}

bool FileParser::parseBudget(ArchLine &line) {
  if (!parseName(line.text, "what the budget is of") || !expect("=", "what the budget is of") ||
      !parseConstant(line.limit))
    return false;
  if (reader_.takeIf("at") && !parseConstant(line.context.emplace()))
    return false;
  return !reader_.takeIf("by") || parseString(line.table.emplace(), "'by'");
}
