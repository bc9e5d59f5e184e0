// SPDX-License-Identifier: Apache-2.0
// From the document's tree to values by the schema: every key by itself.

#include "frontends/spec/Schema.h"
#include "frontends/spec/Spec.h"
#include "frontends/spec/SpecTree.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

using namespace morph;
using namespace morph::spec;

namespace {

constexpr size_t kMaxListElements = 4096;
constexpr size_t kMaxStringBytes = 4096;

class Reader {
public:
  Reader(Spec &spec, Diagnostics &diagnostics) : spec_(spec), diagnostics_(diagnostics) {}

  /// Reads one table by its section of the schema; `path` is empty at the root. `table` is null for an absent section,
  /// which is filled with its defaults.
  llvm::json::Object readTable(const Node *table, llvm::StringRef section, const std::string &path);

private:
  std::optional<llvm::json::Value> readValue(const Node &node, const Key &key, const std::string &path);
  std::optional<llvm::json::Value> readScalar(const Node &node, const Key &key, ValueType type,
                                              const std::string &path);
  void readSubsection(const Node *table, llvm::StringRef section, llvm::StringRef subsection, const std::string &path,
                      llvm::json::Object &result);
  /// An error where a list has more elements than any needs.
  bool checkCount(const Node &list, llvm::StringRef path);
  void reportUnknown(llvm::StringRef name, const Node &node, llvm::StringRef section);
  void addDefaults(llvm::StringRef section, bool given, const std::string &path, SourceRange place,
                   llvm::json::Object &result);

  Spec &spec_;
  Diagnostics &diagnostics_;
};

std::string joinPath(llvm::StringRef path, llvm::StringRef name) {
  return path.empty() ? name.str() : (path + "." + name).str();
}

llvm::StringRef getArticle(llvm::StringRef word) {
  return !word.empty() && llvm::StringRef("aeiou").contains(word.front()) ? "an " : "a ";
}

/// " [label]" for the end of an error.
std::string printLabel(const Key &key) { return key.label.empty() ? "" : " [" + key.label.str() + "]"; }

ValueType getElementType(ValueType type) {
  switch (type) {
  case ValueType::IntegerList:
    return ValueType::Integer;
  case ValueType::NumberList:
    return ValueType::Number;
  case ValueType::StringList:
    return ValueType::String;
  default:
    return type;
  }
}

llvm::json::Object Reader::readTable(const Node *table, llvm::StringRef section, const std::string &path) {
  llvm::json::Object result;
  llvm::SmallVector<llvm::StringRef> subsections = getSubsectionsOf(section);
  SourceRange place = spec_.begin;
  if (table) {
    if (!path.empty())
      place = spec_.keyPlaces[path] = table->getPlace();
    for (const auto &member : table->members) {
      const auto &name = member.first; // Not structured bindings, which C++17 does not let lambdas capture.
      const auto &node = member.second;
      auto isSubsection = [&](llvm::StringRef subsection) {
        subsection.consume_back("[]");
        return subsection == name;
      };
      if (llvm::any_of(subsections, isSubsection))
        continue;
      std::string keyPath = joinPath(path, name);
      llvm::SmallVector<const Key *> keys = getKeysOf(section);
      const auto *key = llvm::find_if(keys, [&](const Key *key) { return getLeafName(*key) == name; });
      if (key != keys.end()) {
        spec_.keyPlaces[keyPath] = node.keyRange;
        spec_.valuePlaces[keyPath] = node.range;
        if (std::optional<llvm::json::Value> value = readValue(node, **key, keyPath))
          result[name] = std::move(*value);
      } else {
        reportUnknown(name, node, section);
      }
    }
  }
  addDefaults(section, table != nullptr, path, place, result);
  for (llvm::StringRef subsection : subsections)
    readSubsection(table, section, subsection, path, result);
  return result;
}

void Reader::readSubsection(const Node *table, llvm::StringRef section, llvm::StringRef subsection,
                            const std::string &path, llvm::json::Object &result) {
  std::string schemaName = joinPath(section, subsection);
  bool isList = subsection.consume_back("[]");
  const Node *node = table ? table->find(subsection) : nullptr;
  std::string nodePath = joinPath(path, subsection);
  if (!isList) {
    bool always = llvm::any_of(getSections(), [&](const Section &s) { return s.name == schemaName && s.always; });
    if (node && node->kind != Node::Kind::Table) {
      diagnostics_.error(node->getPlace(),
                         "'" + nodePath + "' is " + getArticle(getKindName(node->kind)) + getKindName(node->kind) +
                             ", expected a table",
                         "write [" + nodePath + "] and its keys on lines of their own");
      return;
    }
    if (node || always)
      result[subsection] = readTable(node, schemaName, nodePath);
    return;
  }
  llvm::json::Array elements;
  if (node && (node->kind != Node::Kind::List ||
               llvm::any_of(node->elements, [](const Node &element) { return element.kind != Node::Kind::Table; }))) {
    diagnostics_.error(node->getPlace(), "'" + nodePath + "' is not a list of tables",
                       "write [[" + nodePath + "]] before each one's keys");
  } else if (node && checkCount(*node, nodePath)) {
    spec_.keyPlaces[nodePath] = node->getPlace();
    for (const auto &[index, element] : llvm::enumerate(node->elements))
      elements.push_back(readTable(&element, schemaName, nodePath + "[" + std::to_string(index) + "]"));
  }
  // A section that is absent has no lists either, but readers find the spec's tasks always.
  if (table)
    result[schemaName == "task[]" ? "tasks" : subsection] = std::move(elements);
}

bool Reader::checkCount(const Node &list, llvm::StringRef path) {
  if (list.elements.size() <= kMaxListElements)
    return true;
  diagnostics_.error(list.getPlace(), "'" + path + "' has " + llvm::Twine(list.elements.size()) +
                                          " elements, expected at most " + llvm::Twine(kMaxListElements));
  return false;
}

std::optional<llvm::json::Value> Reader::readValue(const Node &node, const Key &key, const std::string &path) {
  ValueType element = getElementType(key.type);
  if (element == key.type)
    return readScalar(node, key, key.type, path);
  // One value may stand for a list of one.
  if (node.kind != Node::Kind::List) {
    std::optional<size_t> count = getAllowedCount(key);
    if (node.kind == Node::Kind::Table || (count && *count != 1)) {
      diagnostics_.error(node.range, "'" + path + "' is " + getArticle(getKindName(node.kind)) +
                                         getKindName(node.kind) + ", expected a " + getTypeName(key.type) +
                                         printLabel(key));
      return std::nullopt;
    }
    std::optional<llvm::json::Value> value = readScalar(node, key, element, path);
    if (!value)
      return std::nullopt;
    return llvm::json::Array{std::move(*value)};
  }
  if (std::optional<size_t> count = getAllowedCount(key); count && node.elements.size() != *count) {
    diagnostics_.error(node.range, "'" + path + "' has " + llvm::Twine(node.elements.size()) + " elements, expected " +
                                       llvm::Twine(*count) + printLabel(key));
    return std::nullopt;
  }
  if (!checkCount(node, path))
    return std::nullopt;
  llvm::json::Array array;
  bool ok = true;
  for (const auto &[index, elementNode] : llvm::enumerate(node.elements)) {
    std::string elementPath = path + "[" + std::to_string(index) + "]";
    spec_.valuePlaces[elementPath] = elementNode.range;
    std::optional<llvm::json::Value> value = readScalar(elementNode, key, element, elementPath);
    // What has places, such as a first and a last, may have one value in two.
    if (value && !mayRepeat(key) && llvm::is_contained(array, *value)) {
      diagnostics_.error(elementNode.range, llvm::formatv("{0} stands twice in '{1}'", *value, path) + printLabel(key));
      value.reset();
    }
    ok &= value.has_value();
    if (value)
      array.push_back(std::move(*value));
  }
  if (!ok)
    return std::nullopt;
  return array;
}

std::optional<llvm::json::Value> Reader::readScalar(const Node &node, const Key &key, ValueType type,
                                                    const std::string &path) {
  bool number = node.kind == Node::Kind::Integer || node.kind == Node::Kind::Float;
  bool fits = (type == ValueType::Boolean && node.kind == Node::Kind::Boolean) ||
              (type == ValueType::Integer && node.kind == Node::Kind::Integer) ||
              (type == ValueType::Number && number) || (type == ValueType::String && node.kind == Node::Kind::String);
  if (!fits) {
    llvm::StringRef found = getKindName(node.kind), expected = getTypeName(type);
    std::string hint;
    if (type == ValueType::Integer && node.kind == Node::Kind::Float)
      hint = "write it without a point or exponent";
    bool quoted = node.range.isValid() && llvm::StringRef("\"'").contains(*node.range.Start.getPointer());
    if (node.kind == Node::Kind::String && type != ValueType::String && quoted)
      hint = "write it without quotes";
    diagnostics_.error(node.range,
                       "'" + path + "' is " + getArticle(found) + found + ", expected " + getArticle(expected) +
                           expected + printLabel(key),
                       hint);
    return std::nullopt;
  }
  switch (type) {
  case ValueType::Boolean:
    return node.boolean;
  case ValueType::String: {
    // Strings become paths, names and arguments of programs, which end at a zero byte.
    if (node.string.size() > kMaxStringBytes || node.string.find('\0') != std::string::npos) {
      diagnostics_.error(node.range, "'" + path + "' has " +
                                         (node.string.size() > kMaxStringBytes
                                              ? llvm::Twine(node.string.size()) + " bytes, expected at most " +
                                                    llvm::Twine(kMaxStringBytes)
                                              : llvm::Twine("a zero byte")) +
                                         printLabel(key));
      return std::nullopt;
    }
    llvm::SmallVector<llvm::StringRef> words = getAllowedWords(key);
    if (!words.empty() && !llvm::is_contained(words, node.string)) {
      llvm::StringRef nearest = findNearest(node.string, words);
      diagnostics_.error(
          node.range, "'" + path + "' is '" + node.string + "', expected " + llvm::join(words, ", ") + printLabel(key),
          nearest.empty() ? std::string() : "did you mean '" + nearest.str() + "'?");
      return std::nullopt;
    }
    return node.string;
  }
  default: {
    double value = node.kind == Node::Kind::Integer ? double(node.integer) : node.number;
    if (!isAllowedNumber(key, value) || !std::isfinite(value)) {
      std::string allowed = key.allowed.str();
      // The length of a list is no condition on its elements.
      if (size_t comma = allowed.find("count"); comma != std::string::npos)
        allowed = key.allowed.drop_front(std::min(key.allowed.find(',') + 1, key.allowed.size())).trim().str();
      diagnostics_.error(node.range, "'" + path + "' is " + printNumber(value) + ", expected " +
                                         (allowed.empty() ? "a finite number" : allowed) + printLabel(key));
      return std::nullopt;
    }
    if (type == ValueType::Integer)
      return node.integer;
    return value;
  }
  }
}

void Reader::reportUnknown(llvm::StringRef name, const Node &node, llvm::StringRef section) {
  llvm::SmallVector<llvm::StringRef> names;
  for (const Key *key : getKeysOf(section))
    names.push_back(getLeafName(*key));
  for (llvm::StringRef subsection : getSubsectionsOf(section)) {
    subsection.consume_back("[]");
    names.push_back(subsection);
  }
  std::string hint;
  llvm::StringRef nearest = findNearest(name, names);
  if (!nearest.empty()) {
    hint = "did you mean '" + nearest.str() + "'?";
  } else {
    // Right key, wrong section.
    for (const Key &key : getKeys())
      if (getLeafName(key) == name && hint.empty())
        hint = getSectionName(key).empty() ? "'" + name.str() + "' belongs at the top, before the first section"
                                           : "'" + name.str() + "' is a key of [" + getSectionName(key).str() + "]";
    if (hint.empty())
      hint = "specs/reference.md lists all keys";
  }
  std::string where = section.empty() ? "at the top of a spec" : "in [" + section.str() + "]";
  llvm::StringRef kind = node.kind == Node::Kind::Table ? "section" : "key";
  diagnostics_.error(node.getPlace(), "unknown " + kind + " '" + name + "' " + where, hint);
}

void Reader::addDefaults(llvm::StringRef section, bool given, const std::string &path, SourceRange place,
                         llvm::json::Object &result) {
  for (const Key *key : getKeysOf(section)) {
    llvm::StringRef name = getLeafName(*key);
    std::string keyPath = joinPath(path, name);
    // A key that is wrong has its error already.
    if (result.get(name) || spec_.valuePlaces.contains(keyPath))
      continue;
    if (key->fallback == "required") {
      if (given)
        diagnostics_.error(place, "'" + keyPath + "' is missing" + printLabel(*key),
                           key->text + " (" + getTypeName(key->type) + ")");
      else
        result[name] = 0;
      continue;
    }
    if (key->fallback.starts_with("<"))
      continue;
    // What a default looks like in TOML is JSON too.
    result[name] = llvm::cantFail(llvm::json::parse(key->fallback));
  }
}

} // namespace

std::optional<Spec> morph::spec::readDocument(const Node &root, llvm::StringRef path, SourceRange begin,
                                              Diagnostics &diagnostics) {
  Spec result;
  result.path = path.str();
  result.begin = begin;
  unsigned before = diagnostics.getErrorCount();
  result.values = Reader(result, diagnostics).readTable(&root, "", "");
  if (diagnostics.getErrorCount() != before)
    return std::nullopt;
  return result;
}
