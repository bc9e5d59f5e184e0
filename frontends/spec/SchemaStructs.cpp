// SPDX-License-Identifier: Apache-2.0
// runtime/spec/Spec.h and Spec.cpp: the table as C++ structs, a struct a section, and the visits that read and write
// them. The text is laid out as clang-format leaves it.

#include "frontends/spec/Schema.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/raw_ostream.h"

#include <map>
#include <vector>

using namespace morph::spec;

namespace {

constexpr size_t kColumns = 120;

/// A member of a struct that is another section.
struct TableMember {
  llvm::StringRef section; ///< Its name in the schema, with brackets where it is a list.
  std::string jsonName;
  bool optional;
};

struct Struct {
  std::string name; ///< "AlignSpec"
  std::string base; ///< "TrainingSpec", empty where it has none.
  std::string text;
  llvm::SmallVector<llvm::StringRef> sections; ///< Of a group: the names of its sections.
  std::vector<const Key *> keys;
  std::vector<TableMember> tables;
};

/// An enumeration, nested in the first struct that has it.
struct Enumeration {
  std::string owner, name;
  llvm::SmallVector<llvm::StringRef> words;
};

/// "lr_end" -> "LrEnd"; dots and brackets count as underscores.
std::string toUpperCamel(llvm::StringRef name) {
  std::string camel;
  bool upper = true;
  for (char c : name) {
    if (!llvm::isAlnum(c)) {
      upper = true;
      continue;
    }
    camel += upper ? llvm::toUpper(c) : c;
    upper = false;
  }
  return camel;
}

/// "lr_end" -> "lrEnd"; what C++ keeps for itself gets an underscore.
std::string toMember(llvm::StringRef name) {
  std::string camel = toUpperCamel(name);
  camel[0] = llvm::toLower(camel[0]);
  return camel == "export" || camel == "default" || camel == "switch" ? camel + "_" : camel;
}

std::string getStructName(llvm::StringRef section) {
  return section.empty()           ? "ResolvedSpec"
         : section == "model_info" ? "ModelInfo"
         : section == "space"      ? "ChoiceSpace"
                                   : toUpperCamel(section) + "Spec";
}

/// `text` as lines of a documentation comment.
std::string printComment(llvm::StringRef text, llvm::StringRef indent) {
  std::string printed, line = (indent + "///").str();
  llvm::SmallVector<llvm::StringRef> words;
  text.split(words, ' ');
  for (llvm::StringRef word : words) {
    if (line.size() + 1 + word.size() > kColumns) {
      printed += line + "\n";
      line = (indent + "///").str();
    }
    line += " " + word.str();
  }
  return printed + line + "\n";
}

/// Absent from a resolved spec where the spec does not give it: nothing fills it in.
bool isOptional(const Key &key) { return key.fallback == "<none>"; }

bool isWordKey(const Key &key) { return key.type == ValueType::String && !getAllowedWords(key).empty(); }

/// Whether two keys can be one member.
bool areAlike(const Key &a, const Key &b) {
  llvm::SmallVector<llvm::StringRef> wordsOfA = getAllowedWords(a), wordsOfB = getAllowedWords(b);
  llvm::sort(wordsOfA);
  llvm::sort(wordsOfB);
  bool allowed = wordsOfA.empty() ? a.allowed == b.allowed : wordsOfA == wordsOfB;
  return getLeafName(a) == getLeafName(b) && a.type == b.type && a.unit == b.unit && allowed &&
         isOptional(a) == isOptional(b);
}

/// A key's documentation; the key of a group may have one of its own in each section.
std::string getText(const Key &key, llvm::ArrayRef<llvm::StringRef> sections) {
  std::vector<std::pair<llvm::StringRef, std::string>> texts; // and the sections that have it
  for (llvm::StringRef section : sections)
    for (const Key *other : getKeysOf(section)) {
      if (getLeafName(*other) != getLeafName(key))
        continue;
      auto same = llvm::find_if(texts, [&](const auto &entry) { return entry.first == other->text; });
      if (same != texts.end())
        same->second += ", " + section.str();
      else
        texts.emplace_back(other->text, section.str());
    }
  if (texts.size() < 2)
    return key.text.str();
  std::string joined;
  for (const auto &[text, names] : texts)
    joined += (joined.empty() ? "" : " ") + names + ": " + text.str();
  return joined;
}

class Generator {
public:
  Generator();
  std::string makeHeader() const;
  std::string makeSource() const;

private:
  void addSection(llvm::StringRef name, llvm::StringRef text);
  /// The key that stands for all of a group's sections; null where one of them has no such key.
  static const Key *findCommon(const Key &key, llvm::ArrayRef<llvm::StringRef> sections);
  const Enumeration *findEnumeration(const Key &key) const;
  /// The type of a key's member as it is written inside `owner`.
  std::string printType(const Key &key, llvm::StringRef owner) const;
  void printStruct(const Struct &entry, llvm::raw_ostream &os) const;
  void printVisit(const Struct &entry, llvm::raw_ostream &os) const;

  std::vector<Struct> structs_;
  std::vector<Enumeration> enumerations_;
  std::map<std::string, std::string> baseOf_; ///< Of a section: its narrowest group's struct.
  llvm::StringSet<> inherited_;               ///< Paths of keys that a base has.
};

Generator::Generator() {
  // The widest group first: a narrower one inside it is its heir.
  std::vector<const Group *> groups;
  for (const Group &group : getGroups())
    groups.push_back(&group);
  llvm::stable_sort(groups,
                    [](const Group *a, const Group *b) { return a->sections.count(',') > b->sections.count(','); });
  for (const Group *group : groups) {
    llvm::SmallVector<llvm::StringRef> sections;
    group->sections.split(sections, ',');
    for (llvm::StringRef &section : sections)
      section = section.trim();
    Struct entry{getStructName(group->name), baseOf_[sections.front().str()], group->text.str(), sections, {}, {}};
    for (const Key *key : getKeysOf(sections.front()))
      if (!inherited_.contains(key->path) && findCommon(*key, sections))
        entry.keys.push_back(key);
    for (llvm::StringRef section : sections) {
      baseOf_[section.str()] = entry.name;
      for (const Key *key : entry.keys)
        inherited_.insert((section + "." + getLeafName(*key)).str());
    }
    structs_.push_back(std::move(entry));
  }
  // A struct comes after those that it holds: the root last, a section after its subsections.
  llvm::StringRef rootText;
  std::vector<const Section *> sections;
  for (const Section &section : getSections())
    if (!section.becomesSpace)
      sections.push_back(&section);
  for (const Section *section : sections) {
    if (section->name.empty()) {
      rootText = section->text;
      continue;
    }
    if (section->name.contains('.'))
      continue;
    for (const Section *inner : sections)
      if (inner->name.starts_with((section->name + ".").str()))
        addSection(inner->name, inner->text);
    addSection(section->name, section->text);
  }
  structs_.push_back({"ModelInfo", "", "What resolving found of the spec's model.", {}, {}, {}});
  for (const Key &key : getModelInfoKeys())
    structs_.back().keys.push_back(&key);
  addSection("", rootText);
  structs_.back().tables.push_back({"space", "space", false});
  structs_.back().tables.push_back({"model_info", "model_info", false});

  for (const Struct &entry : structs_)
    for (const Key *key : entry.keys)
      if (isWordKey(*key) && !findEnumeration(*key))
        enumerations_.push_back({entry.name, toUpperCamel(getLeafName(*key)), getAllowedWords(*key)});
}

void Generator::addSection(llvm::StringRef name, llvm::StringRef text) {
  Struct entry{getStructName(name), "", text.str(), {}, {}, {}};
  if (auto base = baseOf_.find(name.str()); base != baseOf_.end())
    entry.base = base->second;
  for (const Key *key : getKeysOf(name))
    if (!inherited_.contains(key->path))
      entry.keys.push_back(key);
  for (llvm::StringRef subsection : getSubsectionsOf(name)) {
    std::string full = name.empty() ? subsection.str() : (name + "." + subsection).str();
    const Section *section = llvm::find_if(getSections(), [&](const Section &s) { return s.name == full; });
    if (section->becomesSpace)
      continue;
    bool isList = subsection.consume_back("[]");
    entry.tables.push_back({section->name, full == "task[]" ? "tasks" : subsection.str(), !isList && !section->always});
  }
  structs_.push_back(std::move(entry));
}

const Key *Generator::findCommon(const Key &key, llvm::ArrayRef<llvm::StringRef> sections) {
  bool all = llvm::all_of(sections, [&](llvm::StringRef section) {
    return llvm::any_of(getKeysOf(section), [&](const Key *other) { return areAlike(key, *other); });
  });
  return all ? &key : nullptr;
}

const Enumeration *Generator::findEnumeration(const Key &key) const {
  llvm::SmallVector<llvm::StringRef> words = getAllowedWords(key);
  llvm::sort(words);
  for (const Enumeration &enumeration : enumerations_) {
    llvm::SmallVector<llvm::StringRef> others = enumeration.words;
    llvm::sort(others);
    if (enumeration.name == toUpperCamel(getLeafName(key)) && others == words)
      return &enumeration;
  }
  return nullptr;
}

std::string Generator::printType(const Key &key, llvm::StringRef owner) const {
  auto list = [&](llvm::StringRef element) -> std::string {
    // A list that is empty by default has its length, or none.
    std::optional<size_t> count = getAllowedCount(key);
    if (count && key.fallback != "[]")
      return ("std::array<" + element + ", " + llvm::Twine(*count) + ">").str();
    return ("std::vector<" + element + ">").str();
  };
  std::string type;
  switch (key.type) {
  case ValueType::Boolean:
    type = "bool";
    break;
  case ValueType::Integer:
    type = "int64_t";
    break;
  case ValueType::Number:
    type = "double";
    break;
  case ValueType::String:
    type = "std::string";
    if (isWordKey(key)) {
      const Enumeration *enumeration = findEnumeration(key);
      type = enumeration->owner == owner ? enumeration->name : enumeration->owner + "::" + enumeration->name;
    }
    break;
  case ValueType::IntegerList:
    type = list("int64_t");
    break;
  case ValueType::NumberList:
    type = list("double");
    break;
  case ValueType::StringList:
    type = list("std::string");
    break;
  }
  return isOptional(key) ? "std::optional<" + type + ">" : type;
}

void Generator::printStruct(const Struct &entry, llvm::raw_ostream &os) const {
  os << printComment(entry.text, "") << "struct " << entry.name << (entry.base.empty() ? "" : " : " + entry.base)
     << " {\n";
  for (const Enumeration &enumeration : enumerations_) {
    if (enumeration.owner != entry.name)
      continue;
    os << "  enum class " << enumeration.name << " {\n";
    for (llvm::StringRef word : enumeration.words)
      os << "    " << toUpperCamel(word) << ",\n";
    os << "  };\n";
  }
  for (const Key *key : entry.keys) {
    std::string text = getText(*key, entry.sections);
    llvm::SmallVector<llvm::StringRef, 2> notes;
    if (!key->unit.empty())
      notes.push_back(key->unit);
    if (!isWordKey(*key) && !key->allowed.empty())
      notes.push_back(key->allowed);
    if (!notes.empty())
      text += " (" + llvm::join(notes, "; ") + ")";
    std::string type = printType(*key, entry.name);
    llvm::StringRef standard = type;
    bool startsEmpty = standard.consume_front("std::") && !standard.starts_with("array");
    os << printComment(text, "  ") << "  " << type << " " << toMember(getLeafName(*key)) << (startsEmpty ? "" : "{}")
       << ";\n";
  }
  for (const TableMember &table : entry.tables) {
    std::string type = getStructName(table.section);
    if (table.section.ends_with("[]"))
      type = "std::vector<" + type + ">";
    else if (table.optional)
      type = "std::optional<" + type + ">";
    os << "  " << type << " " << toMember(table.jsonName) << ";\n";
  }
  os << "};\n";
}

std::string Generator::makeHeader() const {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "// SPDX-License-Identifier: Apache-2.0\n"
        "// The resolved spec. Generated from frontends/spec/SchemaTable.cpp by `morph-translate --spec-structs "
        "runtime/spec`.\n"
        "//\n"
        "// Defaults are the table's alone: a member holds what the resolved spec says, and what was not read is "
        "zero.\n"
        "\n"
        "#ifndef MORPH_RUNTIME_SPEC_SPEC_H\n"
        "#define MORPH_RUNTIME_SPEC_SPEC_H\n"
        "\n"
        "#include \"runtime/base/Json.h\"\n"
        "#include \"runtime/choice/Space.h\"\n"
        "#include \"runtime/spec/Words.h\"\n"
        "\n"
        "#include <array>\n"
        "#include <map>\n"
        "\n"
        "namespace morph {\n\n";
  for (const Struct &entry : structs_) {
    printStruct(entry, os);
    os << "\n";
  }
  os << "/// The word of a value as specs write it: \"niah_single\" of TaskSpec::Kind::NiahSingle; empty for what is "
        "no "
        "value.\n";
  for (const Enumeration &enumeration : enumerations_)
    os << "const char *toWord(" << enumeration.owner << "::" << enumeration.name << " value);\n";
  os << "\n";
  os << printComment(
            "Reads a resolved spec; `where` (its file) goes in front of errors. Every key must be there, of its "
            "type and among its allowed values, and no other.",
            "")
     << "StatusOr<ResolvedSpec> readSpec(const Json &json, const std::string &where);\n\n"
        "/// Sections as they stand in a resolved spec: for files, and for keys of what depends on them.\n";
  for (const Struct &entry : structs_)
    os << "Json toJson(const " << entry.name << " &section);\n";
  os << "\n} // namespace morph\n\n#endif // MORPH_RUNTIME_SPEC_SPEC_H\n";
  return text;
}

void Generator::printVisit(const Struct &entry, llvm::raw_ostream &os) const {
  os << "template <> struct Visit<" << entry.name << "> {\n"
     << "  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {\n";
  if (!entry.base.empty())
    os << "    Visit<" << entry.base << ">::run(visitor, section);\n";
  for (const Key *key : entry.keys) {
    std::vector<std::string> bounds;
    for (llvm::StringRef condition : getAllowedConditions(*key)) {
      llvm::StringRef name = condition.consume_front(">=")   ? "atLeast"
                             : condition.consume_front("<=") ? "atMost"
                             : condition.consume_front(">")  ? "above"
                             : condition.consume_front("<")  ? "below"
                                                             : "";
      bounds.push_back((name + "(" + condition.trim() + ")").str());
    }
    std::optional<size_t> count = getAllowedCount(*key);
    if (count && key->fallback == "[]")
      bounds.push_back("count(" + std::to_string(*count) + ")");
    if (key->type == ValueType::StringList)
      for (llvm::StringRef word : getAllowedWords(*key))
        bounds.push_back("word(\"" + word.str() + "\")");
    os << "    visitor.key(\"" << getLeafName(*key) << "\", section." << toMember(getLeafName(*key))
       << (bounds.empty() ? "" : ", {" + llvm::join(bounds, ", ") + "}") << ");\n";
  }
  for (const TableMember &table : entry.tables)
    os << "    visitor.table(\"" << table.jsonName << "\", section." << toMember(table.jsonName) << ");\n";
  os << "  }\n};\n\n";
}

std::string Generator::makeSource() const {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "// SPDX-License-Identifier: Apache-2.0\n"
        "// Generated from frontends/spec/SchemaTable.cpp by `morph-translate --spec-structs runtime/spec`.\n"
        "\n"
        "#include \"runtime/spec/Spec.h\"\n"
        "\n"
        "#include \"runtime/spec/SpaceVisitors.h\"\n"
        "\n"
        "namespace morph {\n"
        "namespace detail {\n\n";
  for (const Struct &entry : structs_)
    printVisit(entry, os);
  os << "} // namespace detail\n\n";
  for (const Enumeration &enumeration : enumerations_) {
    std::string name = enumeration.owner + "::" + enumeration.name;
    os << "const char *toWord(" << name << " value) {\n  switch (value) {\n";
    for (llvm::StringRef word : enumeration.words)
      os << "  case " << name << "::" << toUpperCamel(word) << ":\n    return \"" << word << "\";\n";
    os << "  }\n  return \"\";\n}\n\n";
  }
  os << "StatusOr<ResolvedSpec> readSpec(const Json &json, const std::string &where) {\n"
        "  return detail::readSection<ResolvedSpec>(json, where);\n"
        "}\n\n";
  for (const Struct &entry : structs_)
    os << "Json toJson(const " << entry.name << " &section) { return detail::writeSection(section); }\n";
  os << "\n} // namespace morph\n";
  return text;
}

} // namespace

std::string morph::spec::makeStructsHeader() { return Generator().makeHeader(); }
std::string morph::spec::makeStructsSource() { return Generator().makeSource(); }
