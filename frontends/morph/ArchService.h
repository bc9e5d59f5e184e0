// SPDX-License-Identifier: Apache-2.0
// The lines of an `arch` in an editor. Words tell what stands where, so that lines with errors do not matter.

#ifndef MORPH_FRONTENDS_MORPH_ARCHSERVICE_H
#define MORPH_FRONTENDS_MORPH_ARCHSERVICE_H

#include "dialect/Tokens.h"
#include "frontends/LanguageService.h"
#include "frontends/morph/NamedDeclarations.h"

namespace morph::language {

class ArchService {
public:
  /// Of the arch in whose braces a place is; nothing elsewhere. The words of a text, and what could be parsed of it,
  /// must outlive the service. Paths are relative to the document's folder.
  static std::optional<ArchService> find(const File &file, const TokenList &list, llvm::StringRef documentPath,
                                         size_t offset);

  // Of a word, which may be empty.
  std::optional<Hover> getHover(TextRange word) const;
  std::optional<TextPlace> findDefinition(TextRange word) const;
  /// What may stand in its place.
  std::vector<Completion> getCompletions(TextRange word) const;

private:
  /// What a word is, by those before it on its line.
  enum class Role {
    None,
    Keyword,   ///< The line's first.
    All,       ///< `all`, or a layer.
    Candidate, ///< A mixer with or without options.
    Option,    ///< The name of one, in a mixer's brackets.
    Name,      ///< A candidate's.
    Measure,   ///< Of a budget.
    File,      ///< A recipe or a table of costs.
  };
  /// Numbers of tokens.
  struct Line {
    size_t head = 0, end = 0;
  };
  /// What stands in a `layers` line.
  struct Candidate {
    std::string name;
    llvm::StringRef reference; ///< As it is written, without quotes.
    TextRange range;
    bool isString = false;
  };
  /// A word, which may be empty, or the string that it is in.
  struct Place {
    Role role = Role::None;
    TextRange range;
    llvm::StringRef text;
    bool isString = false;   ///< A string: the text is without quotes.
    bool isAssigned = false; ///< `=` follows.
    // Of an Option.
    llvm::StringRef mixer = "";                    ///< The reference before the brackets.
    llvm::SmallVector<llvm::StringRef> given = {}; ///< The other options in them.
  };

  ArchService(const File &file, llvm::ArrayRef<Token> tokens, llvm::ArrayRef<Comment> comments,
              llvm::StringRef documentPath)
      : file_(file), tokens_(tokens), comments_(comments), path_(documentPath) {}

  void readLines(size_t begin, size_t end);
  /// The last line that begins at a token or before it; null before the first.
  const Line *findLine(size_t at) const;
  Role getRole(const Line &line, size_t at) const;
  bool isInComment(size_t offset) const;
  Place findPlace(TextRange word) const;
  static Place findPlaceInString(const Token &string, TextRange word);
  /// The options that an open bracket's mixer is given, but the one whose name is token `at`.
  static void readOption(Place &place, llvm::ArrayRef<Token> tokens, size_t open, size_t at);

  std::vector<Candidate> getCandidates() const;
  std::optional<Candidate> findCandidate(llvm::StringRef name) const;
  std::optional<MixerDescription> findMixer(llvm::StringRef reference) const;
  std::string describe(const Place &place) const;

  const File &file_;
  llvm::ArrayRef<Token> tokens_;
  llvm::ArrayRef<Comment> comments_;
  llvm::StringRef path_;
  std::vector<Line> lines_;
};

} // namespace morph::language

#endif // MORPH_FRONTENDS_MORPH_ARCHSERVICE_H
