// SPDX-License-Identifier: Apache-2.0
// What is asked of the table: members, allowed values, the nearest name.

#include "frontends/spec/Schema.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"

using namespace morph::spec;

llvm::StringRef morph::spec::getTypeName(ValueType type) {
  switch (type) {
  case ValueType::Boolean:
    return "boolean";
  case ValueType::Integer:
    return "integer";
  case ValueType::Number:
    return "number";
  case ValueType::String:
    return "string";
  case ValueType::IntegerList:
    return "list of integers";
  case ValueType::NumberList:
    return "list of numbers";
  case ValueType::StringList:
    return "list of strings";
  }
  return "";
}

llvm::StringRef morph::spec::getLeafName(const Key &key) {
  size_t dot = key.path.rfind('.');
  return dot == llvm::StringRef::npos ? key.path : key.path.substr(dot + 1);
}

llvm::StringRef morph::spec::getSectionName(const Key &key) {
  size_t dot = key.path.rfind('.');
  return dot == llvm::StringRef::npos ? "" : key.path.substr(0, dot);
}

llvm::SmallVector<const Key *> morph::spec::getKeysOf(llvm::StringRef section) {
  llvm::SmallVector<const Key *> keys;
  for (const Key &key : getKeys())
    if (getSectionName(key) == section)
      keys.push_back(&key);
  return keys;
}

llvm::SmallVector<llvm::StringRef> morph::spec::getSubsectionsOf(llvm::StringRef section) {
  llvm::SmallVector<llvm::StringRef> names;
  for (const Section &candidate : getSections()) {
    llvm::StringRef name = candidate.name;
    if (name.empty())
      continue;
    if (!section.empty() && !(name.consume_front(section) && name.consume_front(".")))
      continue;
    if (!name.contains('.'))
      names.push_back(name);
  }
  return names;
}

llvm::SmallVector<llvm::StringRef> morph::spec::getAllowedWords(const Key &key) {
  llvm::SmallVector<llvm::StringRef> words;
  if (key.allowed.contains('|')) {
    key.allowed.split(words, '|');
    for (llvm::StringRef &word : words)
      word = word.trim();
  }
  return words;
}

llvm::SmallVector<llvm::StringRef> morph::spec::getAllowedConditions(const Key &key) {
  llvm::SmallVector<llvm::StringRef> conditions;
  if (key.allowed.contains('|'))
    return conditions;
  key.allowed.split(conditions, ',', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
  for (llvm::StringRef &condition : conditions)
    condition = condition.trim();
  llvm::erase_if(conditions, [](llvm::StringRef condition) { return condition.starts_with("count"); });
  return conditions;
}

bool morph::spec::isAllowedNumber(const Key &key, double value) {
  for (llvm::StringRef condition : getAllowedConditions(key)) {
    bool orEqual = condition.substr(1, 1) == "=";
    double bound = 0;
    condition.drop_front(orEqual ? 2 : 1).trim().getAsDouble(bound);
    bool above = condition.front() == '>';
    // Written so that a NaN meets no condition.
    if (!(above ? value > bound : value < bound) && !(orEqual && value == bound))
      return false;
  }
  return true;
}

std::optional<size_t> morph::spec::getAllowedCount(const Key &key) {
  size_t at = key.allowed.find("count ");
  if (at == llvm::StringRef::npos)
    return std::nullopt;
  size_t count = 0;
  if (key.allowed.substr(at + 6).take_while(llvm::isDigit).getAsInteger(10, count))
    return std::nullopt;
  return count;
}

bool morph::spec::mayRepeat(const Key &key) { return key.allowed.contains("count "); }
