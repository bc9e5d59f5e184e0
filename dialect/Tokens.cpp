// SPDX-License-Identifier: Apache-2.0

#include "dialect/Tokens.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"

using namespace morph;

namespace {

bool isNameBegin(char c) { return llvm::isAlpha(c) || c == '_'; }
bool isNamePart(char c) { return llvm::isAlnum(c) || c == '_'; }

class Tokenizer {
public:
  explicit Tokenizer(llvm::StringRef text) : text_(text) {}

  TokenList run() {
    while (at_ < text_.size() && list_.errors.size() < TokenList::kMaxErrors)
      readNext();
    list_.tokens.push_back({TokenKind::End, text_.substr(text_.size()), text_.size(), startsLine_});
    return std::move(list_);
  }

private:
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  void readNext() {
    char c = peek();
    if (c == '\n') {
      startsLine_ = true;
      ++at_;
    } else if (c == ' ' || c == '\t' || c == '\r') {
      ++at_;
    } else if (c == '/' && peek(1) == '/') {
      llvm::StringRef comment = text_.substr(at_).take_until([](char c) { return c == '\n'; });
      list_.comments.push_back({comment.rtrim(), at_, startsLine_});
      at_ += comment.size();
    } else if (isNameBegin(c)) {
      readName();
    } else if (llvm::isDigit(c)) {
      readNumber();
    } else if (c == '"') {
      readString();
    } else {
      readPunctuation();
    }
  }

  void add(TokenKind kind, size_t bytes) {
    if ((kind == TokenKind::Name || kind == TokenKind::Number) && bytes > kMaxWordBytes)
      report(bytes, llvm::Twine(kind == TokenKind::Name ? "a name" : "a number") + " of " + llvm::Twine(bytes) +
                        " bytes, expected at most " + llvm::Twine(kMaxWordBytes));
    else
      list_.tokens.push_back({kind, text_.substr(at_, bytes), at_, startsLine_});
    startsLine_ = false;
    at_ += bytes;
  }

  void report(size_t bytes, const llvm::Twine &message, const llvm::Twine &hint = "") {
    list_.errors.push_back({at_, at_ + bytes, message.str(), hint.str(), 0, 0, ""});
  }

  void readName() {
    size_t bytes = 0;
    // A dot belongs to the name only where the next part follows: `1..n` and a lost dot stay outside.
    while (isNamePart(peek(bytes)) || (peek(bytes) == '.' && isNamePart(peek(bytes + 1))))
      ++bytes;
    add(TokenKind::Name, bytes);
  }

  void readNumber() {
    size_t bytes = 0;
    auto takeDigits = [&] {
      while (llvm::isDigit(peek(bytes)))
        ++bytes;
    };
    takeDigits();
    // The dots of `1..16` are no decimal point.
    if (peek(bytes) == '.' && llvm::isDigit(peek(bytes + 1))) {
      ++bytes;
      takeDigits();
    }
    size_t sign = llvm::StringRef("+-").contains(peek(bytes + 1)) && peek(bytes + 1) ? 1 : 0;
    if ((peek(bytes) == 'e' || peek(bytes) == 'E') && llvm::isDigit(peek(bytes + 1 + sign))) {
      bytes += 1 + sign;
      takeDigits();
    }
    size_t word = bytes;
    while (isNamePart(peek(word)))
      ++word;
    if (word == bytes)
      return add(TokenKind::Number, bytes);
    report(word, "'" + text_.substr(at_, std::min(word, kMaxWordBytes)) + "' is neither a number nor a name");
    at_ += word;
    startsLine_ = false;
  }

  void readString() {
    size_t bytes = 1;
    bool plain = true;
    for (; at_ + bytes < text_.size() && peek(bytes) != '"' && peek(bytes) != '\n'; ++bytes)
      plain &= static_cast<unsigned char>(peek(bytes)) >= ' ' && peek(bytes) != '\x7F';
    bool ends = peek(bytes) == '"';
    if (ends && plain)
      return add(TokenKind::String, bytes + 1);
    bytes += ends;
    if (ends)
      report(bytes, "this string has control characters");
    else
      report(bytes, "this string has no end", "a string ends on its line");
    at_ += bytes;
    startsLine_ = false;
  }

  void readPunctuation() {
    llvm::StringRef rest = text_.substr(at_);
    for (llvm::StringRef two : {"==", "!=", "<=", ">=", ".."})
      if (rest.starts_with(two))
        return add(TokenKind::Punctuation, 2);
    if (llvm::StringRef("+-*/^<>=~|,:()[]{}").contains(rest.front()) && rest.front() != '\0')
      return add(TokenKind::Punctuation, 1);
    // All bytes of a foreign character are one error.
    size_t bytes = 1;
    while (static_cast<unsigned char>(rest.front()) >= 0x80 && static_cast<unsigned char>(peek(bytes)) >= 0x80)
      ++bytes;
    report(bytes, "this character has no meaning here",
           rest.front() == '#'   ? "comments begin with //"
           : rest.front() == ';' ? "a statement ends with its line"
           : rest.front() == '%' ? "a - b * floor(a / b) is what is left of a / b"
                                 : "");
    at_ += bytes;
    startsLine_ = false;
  }

  llvm::StringRef text_;
  size_t at_ = 0;
  bool startsLine_ = true;
  TokenList list_;
};

} // namespace

TokenList morph::readTokens(llvm::StringRef text) { return Tokenizer(text).run(); }
