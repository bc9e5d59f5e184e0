// SPDX-License-Identifier: Apache-2.0
// Words of the mixer language: of `.morph` files, and of the expressions that attributes hold.

#ifndef MORPH_DIALECT_TOKENS_H
#define MORPH_DIALECT_TOKENS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <string>
#include <vector>

namespace morph {

/// Bytes that a name or a number may have.
constexpr size_t kMaxWordBytes = 100;

enum class TokenKind {
  Name,        ///< Also words such as `if`; `f_proj.0.weight` is one name.
  Number,      ///< 3, 0.02, 1e-3. No sign.
  String,      ///< With its quotes.
  Punctuation, ///< + - * / ^ == != < <= > >= = ~ | , : .. ( ) [ ] { }
  End,
};

struct Token {
  TokenKind kind = TokenKind::End;
  llvm::StringRef text;   ///< Part of the whole text.
  size_t begin = 0;       ///< Offset in the whole text.
  bool startsLine = true; ///< Only blanks and comments stand before it on its line.

  size_t end() const { return begin + text.size(); }
  bool is(llvm::StringRef word) const { return kind != TokenKind::String && text == word; }
};

/// `// ...` to the end of the line, without blanks at its end.
struct Comment {
  llvm::StringRef text;
  size_t begin = 0;
  bool startsLine = true;
};

/// What is wrong in a text: a range of it, and maybe a second one, to which `note` belongs.
struct TextError {
  size_t begin = 0, end = 0;
  std::string message;
  std::string hint;
  size_t noteBegin = 0, noteEnd = 0;
  std::string note;
};

/// The words of a text; the last token is of kind End. Characters that are no part of any word, words that are too long
/// and malformed ones are left out and reported.
struct TokenList {
  std::vector<Token> tokens;
  std::vector<Comment> comments;
  std::vector<TextError> errors; ///< At most kMaxErrors.

  static constexpr size_t kMaxErrors = 100;
};
TokenList readTokens(llvm::StringRef text);

/// Reads tokens one after the other. At the end it stays on the last one, which is of kind End.
class TokenReader {
public:
  explicit TokenReader(llvm::ArrayRef<Token> tokens) : tokens_(tokens) {}

  const Token &peek(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  const Token &previous() const { return tokens_[at_ == 0 ? 0 : at_ - 1]; }
  const Token &take() {
    const Token &token = peek();
    at_ += at_ + 1 < tokens_.size();
    return token;
  }
  /// Takes the next token where it is this one.
  bool takeIf(llvm::StringRef word) {
    if (!peek().is(word))
      return false;
    take();
    return true;
  }
  bool atEnd() const { return peek().kind == TokenKind::End; }

private:
  llvm::ArrayRef<Token> tokens_;
  size_t at_ = 0;
};

} // namespace morph

#endif // MORPH_DIALECT_TOKENS_H
