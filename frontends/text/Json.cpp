// SPDX-License-Identifier: Apache-2.0
// llvm::json parses; it has no limits, keeps no places and takes a name twice, so a scan of the text goes before it.

#include "frontends/text/Json.h"

#include "frontends/text/Utf8.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

#include <cmath>
#include <cstdlib>
#include <vector>

using namespace morph;

/// The text of a string literal that begins at `at`, quotes included; up to the text's end where it is not closed.
static llvm::StringRef takeString(llvm::StringRef text, size_t at) {
  size_t end = at + 1;
  while (end < text.size() && text[end] != '"')
    end += text[end] == '\\' ? 2 : 1;
  return text.slice(at, std::min(end + 1, text.size()));
}

/// The value of a string literal: names differ by what they say, not by how it is escaped.
static std::string decode(llvm::StringRef literal) {
  if (literal.contains('\\')) {
    if (llvm::Expected<llvm::json::Value> value = llvm::json::parse(literal))
      return value->getAsString().value_or("").str();
    else
      llvm::consumeError(value.takeError());
  }
  return literal.drop_front().drop_back(literal.size() > 1 ? 1 : 0).str();
}

/// A name as errors quote it.
static std::string shorten(llvm::StringRef literal) {
  constexpr size_t kQuoted = 200;
  return literal.size() <= kQuoted ? literal.str()
                                   : (literal.take_front(findCharacterBegin(literal, kQuoted)) + "...").str();
}

namespace {

/// What parseJson refuses beside malformed text, which the scan passes over.
class LimitCheck {
public:
  LimitCheck(llvm::StringRef text, JsonError &error) : text_(text), error_(error) {}

  bool check() {
    if (text_.starts_with("\xEF\xBB\xBF"))
      return fail(0, 1, "the text begins with a byte order mark; write it as UTF-8 without one");
    for (size_t at = 0; at < text_.size();) {
      size_t length = 1;
      if (!checkToken(at, length))
        return false;
      at += length;
    }
    return true;
  }

private:
  struct Scope {
    bool isObject;
    llvm::StringSet<> names;
  };

  bool fail(size_t offset, size_t length, const llvm::Twine &message) {
    error_ = {offset, length, message.str()};
    return false;
  }

  /// Looks at what begins at `at` and says how long it is. False after an error.
  bool checkToken(size_t at, size_t &length) {
    char c = text_[at];
    if (c == '{' || c == '[')
      return open(at, c == '{');
    if (c == '}' || c == ']') {
      expectName_ = false;
      if (!scopes_.empty())
        scopes_.pop_back();
    } else if (c == ',') {
      if (++values_ > kMaxJsonValues)
        return fail(at, 1, "more than " + llvm::Twine(kMaxJsonValues) + " values");
      expectName_ = !scopes_.empty() && scopes_.back().isObject;
    } else if (c == '"') {
      return checkString(at, length);
    } else if (c == '-' || llvm::isDigit(c)) {
      return checkNumber(at, length);
    }
    return true;
  }

  bool open(size_t at, bool isObject) {
    if (scopes_.size() == kMaxJsonNesting)
      return fail(at, 1, "lists and objects are nested more than " + llvm::Twine(kMaxJsonNesting) + " deep");
    if (isObject && ++objects_ > kMaxJsonObjects)
      return fail(at, 1, "more than " + llvm::Twine(kMaxJsonObjects) + " objects");
    scopes_.push_back({isObject, {}});
    expectName_ = isObject;
    return true;
  }

  bool checkString(size_t at, size_t &length) {
    llvm::StringRef literal = takeString(text_, at);
    length = literal.size();
    if (expectName_ && !scopes_.back().names.insert(decode(literal)).second)
      return fail(at, length, "the name " + shorten(literal) + " is given twice");
    expectName_ = false;
    return true;
  }

  bool checkNumber(size_t at, size_t &length) {
    llvm::StringRef number =
        text_.substr(at).take_while([](char c) { return llvm::isAlnum(c) || c == '.' || c == '+' || c == '-'; });
    length = number.size();
    if (length > kMaxJsonNumber)
      return fail(at, length, "a number of " + llvm::Twine(length) + " characters");
    llvm::SmallString<kMaxJsonNumber + 1> copy(number);
    if (!std::isfinite(std::strtod(copy.c_str(), nullptr)))
      return fail(at, length, "the number " + number + " is beyond the largest double");
    return true;
  }

  llvm::StringRef text_;
  JsonError &error_;
  std::vector<Scope> scopes_;
  size_t objects_ = 0;
  size_t values_ = 0;
  bool expectName_ = false;
};

} // namespace

std::optional<llvm::json::Value> morph::parseJson(llvm::StringRef text, JsonError &error) {
  if (!LimitCheck(text, error).check())
    return std::nullopt;
  llvm::Expected<llvm::json::Value> value = llvm::json::parse(text);
  if (value)
    return std::move(*value);
  // llvm::json says "[line:column, byte=offset]: what".
  std::string message = llvm::toString(value.takeError());
  llvm::StringRef rest = message;
  error = {};
  if (size_t byte = rest.find("byte="); byte != llvm::StringRef::npos) {
    rest.drop_front(byte + 5).take_while(llvm::isDigit).getAsInteger(10, error.offset);
    rest = rest.drop_front(rest.find("]: ") + 3);
  }
  error.offset = std::min(error.offset, text.size());
  error.message = ("malformed JSON: " + rest).str();
  return std::nullopt;
}

llvm::StringRef morph::findJsonName(llvm::StringRef text, llvm::ArrayRef<llvm::StringRef> path) {
  // Of the scopes that are open, `depth` in number, the first `found` are objects that the path leads to.
  size_t depth = 0, found = 0;
  bool expectName = false;
  llvm::SmallVector<bool> isObject;
  for (size_t at = 0; at < text.size(); ++at) {
    char c = text[at];
    if (c == '{' || c == '[') {
      isObject.push_back(c == '{');
      ++depth;
    } else if (c == '}' || c == ']') {
      if (isObject.empty())
        return "";
      isObject.pop_back();
      found = std::min(found, --depth);
    } else if (c == '"') {
      llvm::StringRef literal = takeString(text, at);
      at += literal.size() - 1;
      if (expectName && depth >= 1 && found + 1 >= depth) {
        // A name at the depth of the path's next part, or of the one found last, which it takes the place of.
        found = depth - 1;
        if (decode(literal) == path[found]) {
          if (++found == path.size())
            return literal;
        }
      }
      expectName = false;
      continue;
    }
    if (c == '{' || c == '[' || c == ',')
      expectName = !isObject.empty() && isObject.back();
  }
  return "";
}
