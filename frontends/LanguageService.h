// SPDX-License-Identifier: Apache-2.0
// What an editor asks of a text while it is written. A language answers for one document; nothing here knows a
// protocol.

#ifndef MORPH_FRONTENDS_LANGUAGESERVICE_H
#define MORPH_FRONTENDS_LANGUAGESERVICE_H

#include "frontends/Diagnostics.h"

#include <optional>
#include <string>
#include <vector>

namespace morph {

/// Bytes of a text, from its first on.
struct TextRange {
  size_t begin = 0, end = 0;
};

/// A range of the document itself, or of the file that is named.
struct TextPlace {
  std::string path; ///< Empty: the document.
  TextRange range;
};

/// An error of a document.
struct Problem {
  struct Note {
    TextPlace place;
    std::string message;
  };
  TextRange range;
  std::string message; ///< With its hint on a line of its own.
  std::vector<Note> notes;
};

struct Hover {
  TextRange range;
  std::string markdown;
};

/// What a name stands for: the icons that editors have.
enum class NameKind { Keyword, Function, Parameter, Variable, Weight, Option, Constant, Word, Section, Key, Mixer };

struct Completion {
  std::string label;
  NameKind kind = NameKind::Variable;
  std::string detail;   ///< A few words beside the label.
  std::string markdown; ///< Documentation.
  std::string text;     ///< What is written; empty: the label.
  TextRange replaced;   ///< By that text.
};

/// A declaration, for an outline.
struct Symbol {
  std::string name, detail;
  NameKind kind = NameKind::Variable;
  TextRange range, nameRange;
  std::vector<Symbol> children;
};

/// A document and its language. Offsets are bytes of the last text, up to its end; those beyond are taken for the end.
class LanguageService {
public:
  virtual ~LanguageService() = default;

  /// Takes in what the document has become. The other questions are about this text.
  virtual void setText(llvm::StringRef text) = 0;
  virtual std::vector<Problem> getProblems() = 0;
  virtual std::optional<Hover> getHover(size_t offset) = 0;
  virtual std::vector<Completion> getCompletions(size_t offset) = 0;
  virtual std::optional<TextPlace> findDefinition(size_t offset) = 0;
  virtual std::vector<Symbol> getSymbols() = 0;
  /// The text in its language's layout; nothing where there is none, or where the text has errors.
  virtual std::optional<std::string> format() = 0;
};

/// Takes errors out of `diagnostics` for the document that is called `name` there and has this text. What has its place
/// in another text stands where `findPlace` says, with a note at that place.
std::vector<Problem> takeProblems(Diagnostics &diagnostics, llvm::StringRef text,
                                  llvm::function_ref<TextRange(llvm::StringRef path)> findPlace);

} // namespace morph

#endif // MORPH_FRONTENDS_LANGUAGESERVICE_H
