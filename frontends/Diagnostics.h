// SPDX-License-Identifier: Apache-2.0
// Errors of the frontends: what, where with a caret, and a hint.

#ifndef MORPH_FRONTENDS_DIAGNOSTICS_H
#define MORPH_FRONTENDS_DIAGNOSTICS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SMLoc.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/raw_ostream.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace morph {

/// Where in a text something stands: a range of a buffer of the Diagnostics' source manager. Invalid: nowhere.
using SourceRange = llvm::SMRange;

/// What belongs to an error but stands elsewhere: what it conflicts with.
struct Note {
  SourceRange range;
  std::string message;
};

/// Collects errors and prints them, by flush() or at the end of its life, in the style of LLVM: `file:line:col: error:
/// ...`, the source line and a caret. What they quote comes from outside: it is shortened, control characters and what
/// is no UTF-8 are escaped, and of very many errors the first are printed and the others counted.
class Diagnostics {
public:
  /// Its texts are printable: valid UTF-8 without control characters.
  struct Error {
    SourceRange range; ///< Invalid where it has no place.
    std::string message, hint;
    std::vector<Note> notes;
  };

  /// Errors go to `os`; the program's name is put before errors without a place.
  Diagnostics(llvm::StringRef program, llvm::raw_ostream &os) : program_(program), os_(os) {}
  ~Diagnostics() { flush(); }

  /// Takes a text into the source manager and returns it; it lives as long as the Diagnostics.
  llvm::StringRef addText(llvm::StringRef name, llvm::StringRef text);
  /// The same for a buffer, whose identifier is the text's name.
  llvm::StringRef addBuffer(std::unique_ptr<llvm::MemoryBuffer> buffer);
  /// Reads a file of `maximum` bytes at most into the source manager; on failure, also where `path` is no file, prints
  /// an error and returns nothing. A text of that name that is there already, such as an editor's, is the file's.
  std::optional<llvm::StringRef> addFile(llvm::StringRef path, uint64_t maximum, SourceRange usedAt = {});

  /// Adds an error at a place; `hint` follows on a line of its own where it is not empty, and the notes after it.
  void error(SourceRange range, const llvm::Twine &message, const llvm::Twine &hint = "",
             llvm::ArrayRef<Note> notes = {});
  /// Adds an error that has no place in a text, or whose place is named in the message.
  void error(const llvm::Twine &message, const llvm::Twine &hint = "") { error(SourceRange(), message, hint); }

  /// Prints the errors added so far in the order of their places, text by text; those without a place come last.
  void flush();
  /// Instead of printing them: the errors added so far, in the same order.
  std::vector<Error> take();

  /// Line and column, both from 1, of a place; zeros where it is invalid.
  std::pair<unsigned, unsigned> getLineAndColumn(SourceRange range) const;
  /// The text that a place is in, and its name.
  llvm::StringRef getText(SourceRange range) const;
  llvm::StringRef getTextName(SourceRange range) const;

  unsigned getErrorCount() const { return errors_; }
  bool hasErrors() const { return errors_ != 0; }

private:
  void sortPending();
  /// A message of a kind with its place and a quote of it.
  void printPlace(llvm::raw_ostream &os, SourceRange range, llvm::StringRef kind, llvm::StringRef message) const;

  std::string program_;
  llvm::raw_ostream &os_;
  llvm::SourceMgr sources_;
  std::vector<Error> pending_;
  unsigned errors_ = 0;
  unsigned flushed_ = 0; ///< Errors that were printed, counted or taken.
};

/// The range of a part of a text.
SourceRange makeRange(llvm::StringRef part);

/// The candidate nearest to a word by edit distance, empty where none is near.
llvm::StringRef findNearest(llvm::StringRef word, llvm::ArrayRef<llvm::StringRef> candidates);

/// A number as people write it.
std::string printNumber(double value);

} // namespace morph

#endif // MORPH_FRONTENDS_DIAGNOSTICS_H
