// SPDX-License-Identifier: Apache-2.0

#include "frontends/spec/Spec.h"

#include "llvm/Support/raw_ostream.h"

using namespace morph;

const llvm::json::Value *Spec::find(llvm::StringRef path) const {
  const llvm::json::Object *object = &values;
  for (;;) {
    auto [name, rest] = path.split('.');
    const llvm::json::Value *value = nullptr;
    size_t bracket = name.find('[');
    if (bracket == llvm::StringRef::npos) {
      value = object->get(name);
    } else {
      llvm::StringRef list = name.take_front(bracket);
      const llvm::json::Array *array = object->getArray(list == "task" ? "tasks" : list);
      size_t index = 0;
      name.drop_front(bracket + 1).drop_back().getAsInteger(10, index);
      if (array && index < array->size())
        value = &(*array)[index];
    }
    if (!value || rest.empty())
      return value;
    object = value->getAsObject();
    if (!object)
      return nullptr;
    path = rest;
  }
}

llvm::json::Object *Spec::getTable(llvm::StringRef path) {
  const llvm::json::Value *value = find(path);
  return value ? const_cast<llvm::json::Object *>(value->getAsObject()) : nullptr;
}

SourceRange Spec::getPlace(llvm::StringRef path) const {
  if (auto found = valuePlaces.find(path); found != valuePlaces.end())
    return found->second;
  while (!path.empty()) {
    size_t cut = path.find_last_of(".[");
    bool isElement = cut != llvm::StringRef::npos && path[cut] == '[';
    path = path.take_front(cut == llvm::StringRef::npos ? 0 : cut);
    // One value may stand for a list of one.
    if (auto found = valuePlaces.find(path); isElement && found != valuePlaces.end())
      return found->second;
    if (auto found = keyPlaces.find(path); found != keyPlaces.end())
      return found->second;
  }
  return begin;
}

int64_t Spec::getInteger(llvm::StringRef path) const {
  const llvm::json::Value *value = find(path);
  return value ? value->getAsInteger().value_or(0) : 0;
}

double Spec::getNumber(llvm::StringRef path) const {
  const llvm::json::Value *value = find(path);
  return value ? value->getAsNumber().value_or(0) : 0;
}

std::string Spec::getString(llvm::StringRef path) const {
  const llvm::json::Value *value = find(path);
  return value ? value->getAsString().value_or("").str() : "";
}

std::vector<std::string> Spec::getStrings(llvm::StringRef path) const {
  std::vector<std::string> strings;
  if (const llvm::json::Value *value = find(path))
    if (const llvm::json::Array *array = value->getAsArray())
      for (const llvm::json::Value &element : *array)
        strings.push_back(element.getAsString().value_or("").str());
  return strings;
}

std::vector<int64_t> Spec::getIntegers(llvm::StringRef path) const {
  std::vector<int64_t> integers;
  if (const llvm::json::Value *value = find(path))
    if (const llvm::json::Array *array = value->getAsArray())
      for (const llvm::json::Value &element : *array)
        integers.push_back(element.getAsInteger().value_or(0));
  return integers;
}

std::string morph::printSpec(const Spec &spec) {
  std::string text;
  llvm::raw_string_ostream os(text);
  // llvm::json prints the members of objects in sorted order.
  llvm::json::Object copy = spec.values;
  os << llvm::formatv("{0:2}\n", llvm::json::Value(std::move(copy)));
  return text;
}
