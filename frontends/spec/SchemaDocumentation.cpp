// SPDX-License-Identifier: Apache-2.0
// specs/reference.md.

#include "dialect/Expression.h"
#include "frontends/morph/Functions.h"
#include "frontends/spec/Schema.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/raw_ostream.h"

using namespace morph;
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
  os << R"(# Reference: keys of specs, functions of mixers
Made from `frontends/spec/SchemaTable.cpp` and `frontends/morph/Functions.cpp` by `morph-translate --spec-docs -o
specs/reference.md`; a test fails when they differ. [README.md](README.md) says how specs are read and mixers declared,
`morph explain align.batch` and `morph explain S14` what a key or an error's label stands for.

)";
  for (const Section &section : getSections()) {
    llvm::SmallVector<const Key *> keys = getKeysOf(section.name);
    llvm::StringRef name = section.name;
    bool isList = name.consume_back("[]");
    os << "## "
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
  os << "## Constraints between keys\n| label | what must hold |\n|---|---|\n";
  for (const CrossConstraint &constraint : getCrossConstraints())
    os << "| " << constraint.label << " | " << constraint.text << " |\n";

  os << "\n## Functions of mixers\n"
     << "`x [*, E]`: an activation whose last size is E; `weight [E]` a weight; after `*` arguments go by name; `= "
        "none`: it may "
     << "be absent. Sizes other than M, H, G and D are whatever the arguments have.\n\n"
     << "| function | gives |\n|---|---|\n";
  std::vector<std::string> elementwise;
  for (const auto &[name, function] : language::getTensorFunctions())
    if (function.isElementwise)
      elementwise.push_back("`" + name + "`");
    else
      os << "| `" << escapeCell(function.signature) << "` | " << escapeCell(function.summary) << " |\n";
  std::vector<std::string> scalars;
  for (llvm::StringRef name : getScalarFunctionNames())
    scalars.push_back(("`" + name + (*getScalarFunctionArity(name) == 1 ? "(a)`" : "(a, b)`")).str());
  os << "\nOf each element of an activation or weight: " << llvm::join(elementwise, " ")
     << ". Of numbers: " << llvm::join(scalars, " ") << ".\n";
  return text;
}
