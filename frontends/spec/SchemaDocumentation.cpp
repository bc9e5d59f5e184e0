// SPDX-License-Identifier: Apache-2.0
// The tables of specs/README.md.

#include "frontends/spec/Schema.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/raw_ostream.h"

using namespace morph::spec;

/// A cell's text: a bar would end the cell.
static std::string escapeCell(llvm::StringRef text) {
  std::string escaped;
  for (char c : text)
    escaped += c == '|' ? std::string("\\|") : std::string(1, c);
  return escaped;
}

/// "`x`", or a dash for nothing; words in angle brackets stay words.
static std::string makeValueCell(llvm::StringRef text) {
  if (text.empty())
    return "-";
  if (text == "required" || text.starts_with("<"))
    return text.trim("<>").str();
  return "`" + escapeCell(text) + "`";
}

std::string morph::spec::makeDocumentation() {
  std::string text;
  llvm::raw_string_ostream os(text);
  for (const Section &section : getSections()) {
    llvm::SmallVector<const Key *> keys = getKeysOf(section.name);
    llvm::StringRef name = section.name;
    bool isList = name.consume_back("[]");
    os << "### "
       << (name.empty() ? "At the top"
           : isList     ? "`[[" + name.str() + "]]`"
                        : "`[" + name.str() + "]`")
       << "\n"
       << section.text << "\n\n"
       << "| key | type | unit | default | allowed | constraint | meaning |\n"
       << "|---|---|---|---|---|---|---|\n";
    for (const Key *key : keys)
      os << "| `" << getLeafName(*key) << "` | " << getTypeName(key->type) << " | "
         << (key->unit.empty() ? "-" : key->unit) << " | " << makeValueCell(key->fallback) << " | "
         << makeValueCell(key->allowed) << " | " << (key->label.empty() ? "-" : key->label) << " | "
         << escapeCell(key->text) << " |\n";
    os << "\n";
  }
  os << "### Constraints between keys\n| label | what must hold |\n|---|---|\n";
  for (const CrossConstraint &constraint : getCrossConstraints())
    os << "| " << constraint.label << " | " << constraint.text << " |\n";
  return text;
}
