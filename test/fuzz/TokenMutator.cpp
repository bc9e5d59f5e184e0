// SPDX-License-Identifier: Apache-2.0
#include "TokenMutator.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <string_view>

/// libFuzzer's own mutation of bytes.
extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t maxSize);

namespace morph::fuzz {
namespace {

/// xorshift64*: the mutations of one call are a function of its seed.
class Generator {
public:
  explicit Generator(unsigned seed) : state_((seed + 1) * 0x9e3779b97f4a7c15u) {}
  /// Uniform enough in [0, bound); 0 where bound is 0.
  size_t below(size_t bound) {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return bound ? (state_ * 0x2545f4914f6cdd1du >> 32) % bound : 0;
  }
  template <typename List> const auto &pick(const List &list) { return list[below(std::size(list))]; }

private:
  uint64_t state_;
};

enum class Kind { Space, Word, Number, String, Open, Close, Mark };

struct Token {
  Kind kind;
  std::string text;
};
using Tokens = std::vector<Token>;

const char *const kNumbers[] = {"0",
                                "1",
                                "-1",
                                "2",
                                "3",
                                "7",
                                "64",
                                "65536",
                                "2147483647",
                                "2147483648",
                                "4294967296",
                                "1000000000000",
                                "-2147483649",
                                "9223372036854775807",
                                "9223372036854775808",
                                "-9223372036854775808",
                                "0.5",
                                "-0.0",
                                "1e-30",
                                "1e30",
                                "1e400",
                                "0.1",
                                "nan",
                                "inf"};

Tokens tokenize(std::string_view text) {
  Tokens tokens;
  size_t i = 0;
  auto take = [&](Kind kind, size_t end) {
    tokens.push_back({kind, std::string(text.substr(i, end - i))});
    i = end;
  };
  auto is = [&](size_t at, auto predicate) {
    return at < text.size() && predicate(static_cast<unsigned char>(text[at]));
  };
  auto space = [](unsigned char c) { return std::isspace(c) != 0; };
  auto digit = [](unsigned char c) { return std::isdigit(c) != 0; };
  auto wordPart = [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '.' || c == '$'; };
  while (i < text.size()) {
    size_t end = i + 1;
    char c = text[i];
    if (space(static_cast<unsigned char>(c))) {
      while (is(end, space))
        ++end;
      take(Kind::Space, end);
    } else if (digit(static_cast<unsigned char>(c)) || (c == '-' && is(end, digit))) {
      // Not the 'x' of a tensor's shape: each dimension is a number of its own.
      while (end < text.size() &&
             (digit(static_cast<unsigned char>(text[end])) || text[end] == '.' || text[end] == 'e' ||
              ((text[end] == '-' || text[end] == '+') && text[end - 1] == 'e')))
        ++end;
      take(Kind::Number, end);
    } else if (c == '"') {
      while (end < text.size() && text[end] != '"')
        end += text[end] == '\\' ? 2 : 1;
      take(Kind::String, std::min(end + 1, text.size()));
    } else if (wordPart(static_cast<unsigned char>(c)) ||
               ((c == '%' || c == '@' || c == '#' || c == '!') && is(end, wordPart))) {
      while (is(end, wordPart))
        ++end;
      take(Kind::Word, end);
    } else if (std::strchr("([{<", c)) {
      take(Kind::Open, end);
    } else if (std::strchr(")]}>", c)) {
      take(Kind::Close, end);
    } else {
      take(Kind::Mark, end);
    }
  }
  return tokens;
}

/// The end of the unit at `begin`: a whole bracketed group, or one token.
size_t unitEnd(const Tokens &tokens, size_t begin) {
  if (tokens[begin].kind != Kind::Open)
    return begin + 1;
  size_t depth = 0;
  for (size_t i = begin; i < tokens.size(); ++i) {
    depth += tokens[i].kind == Kind::Open;
    if (tokens[i].kind == Kind::Close && --depth == 0)
      return i + 1;
  }
  return begin + 1;
}

/// A random token that is no space; tokens.size() where there is none.
size_t pickToken(const Tokens &tokens, Generator &random) {
  for (int attempt = 0; attempt < 8; ++attempt)
    if (size_t at = random.below(tokens.size()); at < tokens.size() && tokens[at].kind != Kind::Space)
      return at;
  return tokens.size();
}

/// A random token of a kind, as above.
size_t pickKind(const Tokens &tokens, Kind kind, Generator &random) {
  size_t start = random.below(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i)
    if (size_t at = (start + i) % tokens.size(); tokens[at].kind == kind)
      return at;
  return tokens.size();
}

/// The lines around a token: [first, last) with the space that ends it.
std::pair<size_t, size_t> lineAt(const Tokens &tokens, size_t at) {
  auto ends = [&](size_t i) { return tokens[i].kind == Kind::Space && tokens[i].text.find('\n') != std::string::npos; };
  size_t begin = at, end = at;
  while (begin > 0 && !ends(begin - 1))
    --begin;
  while (end < tokens.size() && !ends(end))
    ++end;
  return {begin, std::min(end + 1, tokens.size())};
}

std::string changedNumber(const std::string &number, Generator &random) {
  char *end = nullptr;
  long long value = std::strtoll(number.c_str(), &end, 10);
  if (random.below(2) || *end)
    return random.pick(kNumbers);
  switch (random.below(4)) {
  case 0:
    return std::to_string(static_cast<unsigned long long>(value) + 1);
  case 1:
    return std::to_string(static_cast<long long>(static_cast<unsigned long long>(value) - 1));
  case 2:
    return std::to_string(static_cast<long long>(static_cast<unsigned long long>(value) * 2));
  default:
    return std::to_string(value / 2);
  }
}

void replace(Tokens &tokens, size_t begin, size_t end, Tokens with) {
  tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(begin), tokens.begin() + static_cast<std::ptrdiff_t>(end));
  tokens.insert(tokens.begin() + static_cast<std::ptrdiff_t>(begin), with.begin(), with.end());
}

Tokens slice(const Tokens &tokens, size_t begin, size_t end) {
  return Tokens(tokens.begin() + static_cast<std::ptrdiff_t>(begin), tokens.begin() + static_cast<std::ptrdiff_t>(end));
}

/// One change; pieces for replacements come from `other`, which may be the same text.
void change(Tokens &tokens, const Tokens &other, Generator &random) {
  size_t at = pickToken(tokens, random);
  if (at == tokens.size())
    return;
  size_t end = unitEnd(tokens, at);
  switch (random.below(14)) {
  case 0: // Delete a unit.
    return replace(tokens, at, end, {});
  case 1: { // Write a unit twice, a comma between where groups stand in a list.
    Tokens copy = slice(tokens, at, end);
    if (end < tokens.size() && (tokens[end].text == "," || tokens[end].kind == Kind::Close))
      copy.insert(copy.begin(), Token{Kind::Mark, ","});
    else
      copy.insert(copy.begin(), Token{Kind::Space, " "});
    return replace(tokens, end, end, copy);
  }
  case 2:
  case 3: { // A unit in the place of another.
    size_t from = pickToken(other, random);
    return from == other.size() ? void() : replace(tokens, at, end, slice(other, from, unitEnd(other, from)));
  }
  case 4:
  case 5: { // A token in the place of another of its kind.
    size_t from = pickKind(other, tokens[at].kind, random);
    if (from < other.size())
      tokens[at].text = other[from].text;
    return;
  }
  case 6:
  case 7: { // Another number.
    size_t number = pickKind(tokens, Kind::Number, random);
    if (number < tokens.size())
      tokens[number].text = changedNumber(tokens[number].text, random);
    return;
  }
  case 8: { // The same change wherever a number or a name stands: sizes that still agree, symbols renamed.
    size_t token = pickKind(tokens, random.below(3) ? Kind::Number : tokens[at].kind, random);
    if (token == tokens.size())
      return;
    std::string old = tokens[token].text;
    size_t from = pickKind(other, tokens[token].kind, random);
    std::string text = tokens[token].kind == Kind::Number && random.below(2) ? changedNumber(old, random)
                       : from < other.size()                                 ? other[from].text
                                                                             : old;
    for (Token &one : tokens)
      if (one.text == old)
        one.text = text;
    return;
  }
  case 9: // A word of the format.
    if (!formatWords().empty()) {
      const std::string &word = random.pick(formatWords());
      tokens[at].text = tokens[at].kind == Kind::String ? '"' + word + '"' : word;
    }
    return;
  case 10: { // A line goes, is written twice, or goes elsewhere.
    auto [first, last] = lineAt(tokens, at);
    Tokens line = slice(tokens, first, last);
    size_t how = random.below(3);
    if (how != 1)
      replace(tokens, first, last, {});
    if (how != 0 && !tokens.empty()) {
      size_t place = lineAt(tokens, random.below(tokens.size())).first;
      replace(tokens, place, place, line);
    }
    return;
  }
  case 11: { // Groups within groups, now and then thousands.
    size_t open = pickKind(tokens, Kind::Open, random);
    if (open == tokens.size())
      return;
    size_t close = unitEnd(tokens, open);
    size_t times = 1 + random.below(random.below(64) ? 4 : 4000);
    std::string opened, closed;
    for (size_t i = 0; i < times; ++i) {
      opened += tokens[open].text;
      closed += close > open + 1 ? tokens[close - 1].text : "";
    }
    if (close > open + 1)
      tokens[close - 1].text += closed;
    tokens[open].text += opened;
    return;
  }
  case 12: { // Bytes of one token.
    std::string &text = tokens[at].text;
    size_t length = text.size();
    text.resize(length + 8);
    text.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t *>(text.data()), length, text.size()));
    return;
  }
  default: // The end is cut off.
    if (random.below(8) == 0)
      tokens.resize(at);
    else if (end < tokens.size())
      std::swap(tokens[at], tokens[end]);
  }
}

size_t write(const Tokens &tokens, uint8_t *data, size_t maxSize) {
  size_t size = 0;
  for (const Token &token : tokens) {
    size_t count = std::min(token.text.size(), maxSize - size);
    std::memcpy(data + size, token.text.data(), count);
    size += count;
  }
  return size;
}

std::string_view view(const uint8_t *data, size_t size) {
  return std::string_view(reinterpret_cast<const char *>(data), size);
}

} // namespace
} // namespace morph::fuzz

using namespace morph::fuzz;

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t maxSize, unsigned seed) {
  Generator random(seed);
  if (random.below(16) == 0)
    return LLVMFuzzerMutate(data, size, maxSize);
  Tokens tokens = tokenize(view(data, size)), original = tokens;
  do
    change(tokens, original, random);
  while (random.below(3) == 0);
  size_t changed = write(tokens, data, maxSize);
  return changed ? changed : LLVMFuzzerMutate(data, size, maxSize);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2, size_t size2,
                                            uint8_t *out, size_t maxSize, unsigned seed) {
  Generator random(seed);
  Tokens tokens = tokenize(view(data1, size1)), other = tokenize(view(data2, size2));
  do
    change(tokens, other, random);
  while (random.below(2) == 0);
  return write(tokens, out, maxSize);
}
