// SPDX-License-Identifier: Apache-2.0

#include "frontends/huggingface/JsonFile.h"

#include "frontends/text/Json.h"

#include "llvm/ADT/SmallVector.h"

using namespace morph;

std::optional<JsonFile> JsonFile::read(llvm::StringRef path, Diagnostics &diagnostics) {
  std::optional<llvm::StringRef> text = diagnostics.addFile(path, kMaxJsonBytes);
  if (!text)
    return std::nullopt;
  JsonError error;
  std::optional<llvm::json::Value> value = parseJson(*text, error);
  if (!value) {
    diagnostics.error(makeRange(text->substr(error.offset, error.length)), error.message);
    return std::nullopt;
  }
  llvm::json::Object *object = value->getAsObject();
  if (!object) {
    diagnostics.error(makeRange(text->take_front(1)), "expected a JSON object");
    return std::nullopt;
  }
  JsonFile file(diagnostics);
  file.path_ = path.str();
  file.text_ = *text;
  file.root_ = std::move(*object);
  return file;
}

const llvm::json::Value *JsonFile::find(llvm::StringRef path) const {
  const llvm::json::Object *object = &root_;
  for (;;) {
    auto [name, rest] = path.split('.');
    const llvm::json::Value *value = object->get(name);
    if (!value || value->kind() == llvm::json::Value::Null)
      return nullptr;
    if (rest.empty())
      return value;
    object = value->getAsObject();
    if (!object)
      return nullptr;
    path = rest;
  }
}

bool JsonFile::isNull(llvm::StringRef name) const {
  const llvm::json::Value *value = root_.get(name);
  return value && value->kind() == llvm::json::Value::Null;
}

JsonFile JsonFile::with(llvm::json::Object root) const {
  JsonFile file = *this;
  file.root_ = std::move(root);
  return file;
}

SourceRange JsonFile::getPlace(llvm::StringRef path) const {
  llvm::SmallVector<llvm::StringRef> parts;
  path.split(parts, '.');
  llvm::StringRef name = findJsonName(text_, parts);
  return makeRange(name.empty() ? text_.take_front(1) : name);
}

void JsonFile::error(llvm::StringRef path, const llvm::Twine &message, const llvm::Twine &hint) const {
  diagnostics_->error(getPlace(path), message, hint);
}

std::optional<int64_t> JsonFile::getInteger(llvm::StringRef path, IntegerRange range,
                                            std::optional<int64_t> fallback) const {
  const llvm::json::Value *value = find(path);
  if (!value) {
    if (!fallback)
      error(path, "'" + path + "' is missing");
    return fallback;
  }
  std::optional<int64_t> integer = value->getAsInteger();
  if (!integer) {
    error(path, "'" + path + "' is not an integer");
  } else if (*integer < range.minimum || *integer > range.maximum) {
    error(path, "'" + path + "' is " + llvm::Twine(*integer) + ", expected " + llvm::Twine(range.minimum) + " to " +
                    llvm::Twine(range.maximum));
    return std::nullopt;
  }
  return integer;
}

std::optional<double> JsonFile::getNumber(llvm::StringRef path, NumberRange range,
                                          std::optional<double> fallback) const {
  const llvm::json::Value *value = find(path);
  if (!value) {
    if (!fallback)
      error(path, "'" + path + "' is missing");
    return fallback;
  }
  std::optional<double> number = value->getAsNumber();
  if (!number) {
    error(path, "'" + path + "' is not a number");
  } else if (!(*number >= range.minimum && *number <= range.maximum)) {
    error(path, "'" + path + "' is " + printNumber(*number) + ", expected " + printNumber(range.minimum) + " to " +
                    printNumber(range.maximum));
    return std::nullopt;
  }
  return number;
}

std::optional<bool> JsonFile::getBoolean(llvm::StringRef path, bool fallback) const {
  const llvm::json::Value *value = find(path);
  if (!value)
    return fallback;
  std::optional<bool> boolean = value->getAsBoolean();
  if (!boolean)
    error(path, "'" + path + "' is not true or false");
  return boolean;
}

std::optional<std::string> JsonFile::getString(llvm::StringRef path, std::optional<std::string> fallback) const {
  const llvm::json::Value *value = find(path);
  if (!value) {
    if (!fallback)
      error(path, "'" + path + "' is missing");
    return fallback;
  }
  std::optional<llvm::StringRef> text = value->getAsString();
  if (!text) {
    error(path, "'" + path + "' is not a string");
    return std::nullopt;
  }
  return text->str();
}
