// SPDX-License-Identifier: Apache-2.0
// The schema of spec v1: one table that the reader, its errors, the documentation and the runtime's structs are made
// from.

#ifndef MORPH_FRONTENDS_SPEC_SCHEMA_H
#define MORPH_FRONTENDS_SPEC_SCHEMA_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <optional>
#include <string>

namespace morph::spec {

/// The type of a key's value. A Number takes an integer too; a list of one type is never mixed.
enum class ValueType { Boolean, Integer, Number, String, IntegerList, NumberList, StringList };

/// "integer", "list of strings", ...: how documentation and errors call a type.
llvm::StringRef getTypeName(ValueType type);

/// One key of the spec.
struct Key {
  /// "align.lr"; the members of a list of tables carry brackets: "task[].name".
  llvm::StringRef path;
  ValueType type;
  /// The unit of the value, empty where it has none.
  llvm::StringRef unit;
  /// The default as TOML; "required" where a section that is present must give the key; in angle brackets where it is
  /// computed from other keys, as words.
  llvm::StringRef fallback;
  /// What values are allowed, for each element of a list: words between bars ("fp32 | bf16"), or conditions between
  /// commas ("> 0, <= 1"), "count N" for a list of exactly N elements, "count any"
  /// for one of which some may be equal; empty where every value of the type is.
  llvm::StringRef allowed;
  /// The constraint's label: in this table, in errors, tests and specs/reference.md. Empty where there is none.
  llvm::StringRef label;
  /// One line of documentation.
  llvm::StringRef text;
};

/// A table of the spec: the root (empty name), a section, or a list of tables ("task[]").
struct Section {
  llvm::StringRef name;
  llvm::StringRef text;
  /// Filled in with its defaults where the spec does not have it.
  bool always;
  /// What it says stands in the `space` of a resolved spec, and not as a section.
  bool becomesSpace = false;
};

/// What several sections have in common: a base of their structs in runtime/spec/Spec.h, for code that serves them all.
struct Group {
  /// "training": the struct is TrainingSpec.
  llvm::StringRef name;
  llvm::StringRef text;
  /// Names of the sections with commas between. The group's keys are those that all of them have, alike in type,
  /// unit and allowed values.
  llvm::StringRef sections;
};

/// Constraints between keys, checked once every key by itself is right.
struct CrossConstraint {
  llvm::StringRef label;
  llvm::StringRef text;
};

/// All sections and keys, in the order of the documentation.
llvm::ArrayRef<Section> getSections();
llvm::ArrayRef<Key> getKeys();
llvm::ArrayRef<CrossConstraint> getCrossConstraints();
llvm::ArrayRef<Group> getGroups();

/// What resolving adds under "model_info" of what it knows of the spec's model; no keys of a spec.
llvm::ArrayRef<Key> getModelInfoKeys();

/// The keys of one section, by its name.
llvm::SmallVector<const Key *> getKeysOf(llvm::StringRef section);
/// The tables directly inside a section: "phase[]" for "pretrain".
llvm::SmallVector<llvm::StringRef> getSubsectionsOf(llvm::StringRef section);

/// The part of a key's path after its section.
llvm::StringRef getLeafName(const Key &key);
/// The part of a key's path before its leaf, empty at the root.
llvm::StringRef getSectionName(const Key &key);

/// The words of an enumeration, empty where `allowed` is not one.
llvm::SmallVector<llvm::StringRef> getAllowedWords(const Key &key);
/// The conditions on numbers in `allowed`: "> 0", "<= 1".
llvm::SmallVector<llvm::StringRef> getAllowedConditions(const Key &key);
/// Whether a number meets the conditions of `allowed`.
bool isAllowedNumber(const Key &key, double value);
/// The exact length of a list, where `allowed` has one.
std::optional<size_t> getAllowedCount(const Key &key);
/// Whether elements of a list may be equal.
bool mayRepeat(const Key &key);

/// The documentation's tables of keys and constraints, as Markdown.
std::string makeDocumentation();

/// runtime/spec/Spec.h and Spec.cpp: a struct a section, and what reads and writes it, as clang-format leaves them.
std::string makeStructsHeader();
std::string makeStructsSource();

} // namespace morph::spec

#endif // MORPH_FRONTENDS_SPEC_SCHEMA_H
