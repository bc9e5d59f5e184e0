// SPDX-License-Identifier: Apache-2.0

#include "frontends/spec/TomlLines.h"

#include "frontends/spec/SpecTree.h"

#include "llvm/ADT/StringExtras.h"

using namespace morph;
using namespace morph::spec;

static bool isKeyCharacter(char c) { return llvm::isAlnum(c) || llvm::StringRef("_-.").contains(c); }

/// The end of a part without what is blank at its end.
static TextRange trim(llvm::StringRef text, size_t begin, size_t end) {
  llvm::StringRef part = text.slice(begin, end);
  size_t blanks = part.size() - part.ltrim().size();
  return {begin + blanks, begin + std::max(blanks, part.rtrim().size())};
}

static size_t findLineEnd(llvm::StringRef text, size_t at) { return std::min(text.find('\n', at), text.size()); }

/// The end of a value: of its line, unless a bracket is open and the next line is no pair.
static size_t findValueEnd(llvm::StringRef text, size_t at) {
  int64_t open = 0;
  while (at < text.size()) {
    char c = text[at];
    if (c == '"' || c == '\'') {
      size_t end = skipTomlString(text, at);
      at = end > at && text[end - 1] == '\n' ? end - 1 : end; // A string without an end.
      continue;
    }
    if (c == '#') {
      if (open <= 0)
        return at;
      at = findLineEnd(text, at);
      continue;
    }
    open += c == '[' || c == '{';
    open -= c == ']' || c == '}';
    if (c == '\n') {
      llvm::StringRef next = text.substr(at + 1, 200).ltrim(" \t");
      llvm::StringRef rest = next.drop_while(isKeyCharacter).ltrim(" \t");
      if (open <= 0 || (!rest.empty() && rest.size() < next.size() && rest.front() == '='))
        return at;
    }
    ++at;
  }
  return text.size();
}

TomlLines morph::spec::readTomlLines(llvm::StringRef text) {
  TomlLines lines;
  lines.tables.emplace_back();
  for (size_t at = 0; at < text.size();) {
    size_t end = findLineEnd(text, at);
    TextRange line = trim(text, at, end);
    llvm::StringRef content = text.slice(line.begin, line.end);
    if (content.starts_with("[")) {
      bool isList = content.starts_with("[[");
      llvm::StringRef name = content.ltrim('[').take_while(isKeyCharacter);
      size_t nameEnd = name.end() - text.data();
      size_t brackets = text.slice(nameEnd, line.end).take_while([](char c) { return c == ']'; }).size();
      lines.tables.back().end = line.begin;
      TomlTable &table = lines.tables.emplace_back();
      table.name = name.str() + (isList ? "[]" : "");
      table.header = {line.begin, nameEnd + brackets};
      table.isWhole = brackets >= (isList ? 2u : 1u);
    } else if (!content.empty() && content.front() != '#') {
      TomlPair &pair = lines.pairs.emplace_back();
      pair.table = lines.tables.size() - 1;
      llvm::StringRef key = content.take_while(isKeyCharacter);
      pair.key = {line.begin, line.begin + key.size()};
      const std::string &section = lines.tables.back().name;
      pair.path = section.empty() ? key.str() : section + "." + key.str();
      TextRange rest = trim(text, pair.key.end, line.end);
      pair.hasValue = rest.begin < rest.end && text[rest.begin] == '=';
      pair.value = {line.end, line.end};
      if (pair.hasValue) {
        end = findValueEnd(text, rest.begin + 1);
        pair.value = trim(text, rest.begin + 1, end);
        end = findLineEnd(text, end);
      }
    }
    at = end + 1;
  }
  lines.tables.back().end = text.size();
  return lines;
}

std::optional<TextRange> morph::spec::findTomlString(llvm::StringRef text, TextRange value, size_t offset) {
  for (size_t at = value.begin; at < value.end && at < offset;) {
    if (text[at] == '#') {
      at = findLineEnd(text, at);
      continue;
    }
    if (text[at] != '"' && text[at] != '\'') {
      ++at;
      continue;
    }
    size_t end = std::min(skipTomlString(text, at), value.end);
    bool isClosed = end > at + 1 && text[end - 1] == text[at];
    size_t contentEnd = isClosed ? end - 1 : end;
    if (at < offset && offset <= contentEnd)
      return TextRange{at + 1, contentEnd};
    at = std::max(end, at + 1);
  }
  return std::nullopt;
}
