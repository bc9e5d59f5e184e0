// SPDX-License-Identifier: Apache-2.0
// The parser of one file; only Parse*.cpp use it.

#ifndef MORPH_FRONTENDS_MORPH_FILEPARSER_H
#define MORPH_FRONTENDS_MORPH_FILEPARSER_H

#include "frontends/morph/Parser.h"

#include "llvm/ADT/STLFunctionalExtras.h"

namespace morph::language {

class FileParser {
public:
  FileParser(llvm::StringRef text, llvm::ArrayRef<Token> tokens, Diagnostics &diagnostics)
      : text_(text), reader_(tokens), diagnostics_(diagnostics) {}

  /// The declarations of the file.
  void run(File &file);

private:
  // Parsers return false after an error, which is reported; the reader stands where it was found.

  // ParseDeclarations.cpp
  bool parseOptions(Mixer &mixer);
  bool parseOption(Option &option);
  bool parseRange(Option &option);
  bool parseConstant(Constant &constant);
  bool parseDocumentation(std::optional<Word> &word, SourceRange &range);
  bool parseDimension(Mixer &mixer);
  bool parseRequirement(Mixer &mixer);
  bool parseWeight(Mixer &mixer);
  bool parseSizes(Weight &weight);
  bool parseInitializer(Initializer &init);

  // ParseArch.cpp
  /// False where its head has an error; lines with errors are left out.
  bool parseArch(Arch &arch);
  void parseArchBody(Arch &arch);
  bool parseArchLine(ArchLine &line);
  bool parseLayers(LayerSet &layers);
  bool parseCandidates(ArchLine &line);
  bool parseCandidate(Word &candidate);
  bool parsePattern(ArchLine &line);
  bool parseBudget(ArchLine &line);

  // Parser.cpp
  /// Whether a declaration begins here.
  bool atDeclaration() const;
  /// False where its head has an error; lines with errors are left out.
  bool parseMixer(Mixer &mixer);
  bool parseBody(Mixer &mixer);
  bool parseItem(Mixer &mixer);
  bool parseStatement(std::vector<Statement> &statements);
  bool parseAssignment(Statement &statement);
  bool parseIf(Statement &statement);
  bool parseBlock(std::vector<Statement> &statements, SourceRange &range);
  bool parseReturn(Mixer &mixer);
  bool parseValue(Expression &expression, bool bracketed = false);
  bool parseName(Word &name, llvm::StringRef what);
  /// The declaration's name, what `afterName` reads, and the opening brace.
  bool parseHeader(Word &name, llvm::StringRef kind, llvm::function_ref<bool()> afterName);
  bool parseString(Word &string, llvm::StringRef what);
  /// The next token; the end of the line where the statement has no more.
  Token peekOnLine() const;
  bool failExpected(const llvm::Twine &what, const llvm::Twine &hint = "");
  bool expect(llvm::StringRef word, llvm::StringRef after);
  bool expectLineEnd();
  bool failUnclosed(llvm::StringRef kind);

  bool isDeclaration() const;
  bool countItem();
  /// Goes on after an error: at the token that does not fit where it begins a line after `began`, else at the next
  /// line; blocks that the skipped part opens are skipped whole.
  void recover(size_t began);
  bool hasTooManyErrors() const { return diagnostics_.getErrorCount() >= errorsBefore_ + kMaxErrors; }

  SourceRange getRange(size_t begin, size_t end) const { return makeRange(text_.slice(begin, end)); }
  SourceRange getRange(const Token &token) const { return getRange(token.begin, token.end()); }
  SourceRange getRangeFrom(size_t begin) const { return getRange(begin, reader_.previous().end()); }

  bool fail(const Token &at, const llvm::Twine &message, const llvm::Twine &hint = "",
            llvm::ArrayRef<Note> notes = {}) {
    diagnostics_.error(getRange(at), message, hint, notes);
    return false;
  }

  llvm::StringRef text_;
  TokenReader reader_;
  Diagnostics &diagnostics_;
  unsigned errorsBefore_ = diagnostics_.getErrorCount();
  size_t items_ = 0;   ///< Of the declaration.
  size_t nesting_ = 0; ///< Of `if`.
  Token opening_;      ///< The brace of the declaration.
  bool returned_ = false;
  bool unclosed_ = false; ///< A block of the mixer has no end.
};

} // namespace morph::language

#endif // MORPH_FRONTENDS_MORPH_FILEPARSER_H
