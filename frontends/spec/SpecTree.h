// SPDX-License-Identifier: Apache-2.0
// A TOML document with the place of every key and value, and the overrides of the command line put into it.

#ifndef MORPH_FRONTENDS_SPEC_SPECTREE_H
#define MORPH_FRONTENDS_SPEC_SPECTREE_H

#include "frontends/Diagnostics.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace morph::spec {

/// A value of the document. Members keep the document's order.
struct Node {
  enum class Kind { Boolean, Integer, Float, String, List, Table, Time };

  Kind kind = Kind::Table;
  bool boolean = false;
  int64_t integer = 0;
  double number = 0;
  std::string string;
  std::vector<Node> elements;
  std::vector<std::pair<std::string, Node>> members;
  SourceRange range;    ///< Of the value.
  SourceRange keyRange; ///< Of the key that names it, invalid for elements of lists.

  Node *find(llvm::StringRef key);
  const Node *find(llvm::StringRef key) const { return const_cast<Node *>(this)->find(key); }
  /// The key's place, or the value's where there is no key.
  SourceRange getPlace() const { return keyRange.isValid() ? keyRange : range; }
};

/// "integer", "float", "string", "list", "table", ...: TOML's own words.
llvm::StringRef getKindName(Node::Kind kind);

/// A document's outermost table and the place of its first character.
struct Document {
  Node root;
  SourceRange begin;
};

/// Reads a TOML file. Prints an error and returns nothing where it cannot be read, is malformed, or larger or nested
/// deeper than a spec can be. `usedAt` is where the file is named.
std::optional<Document> readToml(llvm::StringRef path, Diagnostics &diagnostics, SourceRange usedAt = {});
/// The same for a text that `diagnostics` has taken in.
std::optional<Document> parseToml(llvm::StringRef text, Diagnostics &diagnostics);

/// The end of a TOML string that begins at `at`: behind its closing quotes, or where it breaks off.
size_t skipTomlString(llvm::StringRef text, size_t at);

/// Puts one override `key=value` of the command line into the document. Keys are dotted ("align.lr"); the members of
/// `[[task]]` go by the task's name ("task.needle.queries"), those of other lists by number ("pretrain.phase.0.batch").
/// The value is TOML, and a bare word is a string. Returns false after an error.
bool applyOverride(Node &root, llvm::StringRef assignment, Diagnostics &diagnostics);

} // namespace morph::spec

#endif // MORPH_FRONTENDS_SPEC_SPECTREE_H
