// SPDX-License-Identifier: Apache-2.0
// Headers and pairs of a TOML text while it is written: also of one that no parser takes.

#ifndef MORPH_FRONTENDS_SPEC_TOMLLINES_H
#define MORPH_FRONTENDS_SPEC_TOMLLINES_H

#include "frontends/LanguageService.h"

#include <optional>
#include <string>
#include <vector>

namespace morph::spec {

/// `key = value`, or a line that is not yet more than a key.
struct TomlPair {
  size_t table = 0;      ///< Number of the table that it stands in.
  std::string path;      ///< The schema's name: "task[].length".
  TextRange key, value;  ///< The value is empty where there is none.
  bool hasValue = false; ///< There is an equals sign.
};

/// `[name]` or `[[name]]`, and what follows up to the next. The first of a text is the root, whose header is empty.
struct TomlTable {
  std::string name;    ///< The schema's: "align", "task[]".
  TextRange header;    ///< With its brackets.
  size_t end = 0;      ///< Where the next begins.
  bool isWhole = true; ///< The header has its closing brackets.
};

struct TomlLines {
  std::vector<TomlTable> tables;
  std::vector<TomlPair> pairs;
};
TomlLines readTomlLines(llvm::StringRef text);

/// The string that a place is within, without its quotes; up to the end of the line where it has no end.
std::optional<TextRange> findTomlString(llvm::StringRef text, TextRange value, size_t offset);

} // namespace morph::spec

#endif // MORPH_FRONTENDS_SPEC_TOMLLINES_H
