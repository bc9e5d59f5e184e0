// SPDX-License-Identifier: Apache-2.0

#include "frontends/huggingface/JsonFile.h"

#include "frontends/huggingface/JsonScanner.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"

using namespace morph;

std::optional<JsonFile> JsonFile::read(llvm::StringRef path, Diagnostics &diagnostics) {
  std::optional<llvm::StringRef> text = diagnostics.addFile(path);
  if (!text)
    return std::nullopt;
  JsonFile file(diagnostics);
  file.path_ = path.str();
  file.begin_ = makeRange(text->take_front(1));
  llvm::Expected<llvm::json::Value> value = llvm::json::parse(*text);
  if (!value) {
    // llvm::json says "[line:column, byte=offset]: what".
    std::string message = llvm::toString(value.takeError());
    size_t offset = 0;
    llvm::StringRef rest = message;
    size_t byte = rest.find("byte=");
    if (byte != llvm::StringRef::npos) {
      rest.drop_front(byte + 5).take_while(llvm::isDigit).getAsInteger(10, offset);
      rest = rest.drop_front(rest.find("]: ") + 3);
    }
    offset = std::min(offset, text->size());
    diagnostics.error(makeRange(text->substr(offset, 1)), "malformed JSON: " + rest);
    return std::nullopt;
  }
  llvm::json::Object *object = value->getAsObject();
  if (!object) {
    diagnostics.error(file.begin_, "expected a JSON object");
    return std::nullopt;
  }
  file.root_ = std::move(*object);
  bool once = scanJsonNames(*text, [&](llvm::StringRef name, llvm::StringRef literal) {
    if (file.places_.try_emplace(name, makeRange(literal)).second)
      return true;
    diagnostics.error(makeRange(literal), "the name " + literal + " is given twice");
    return false;
  });
  if (!once)
    return std::nullopt;
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

SourceRange JsonFile::getPlace(llvm::StringRef path) const {
  auto found = places_.find(path);
  return found == places_.end() ? begin_ : found->second;
}

void JsonFile::error(llvm::StringRef path, const llvm::Twine &message, const llvm::Twine &hint) const {
  diagnostics_->error(getPlace(path), message, hint);
}

std::optional<int64_t> JsonFile::getInteger(llvm::StringRef path, std::optional<int64_t> fallback,
                                            int64_t minimum) const {
  const llvm::json::Value *value = find(path);
  if (!value) {
    if (!fallback)
      error(path, "'" + path + "' is missing");
    return fallback;
  }
  std::optional<int64_t> integer = value->getAsInteger();
  if (!integer) {
    error(path, "'" + path + "' is not an integer");
  } else if (*integer < minimum) {
    error(path, "'" + path + "' is " + llvm::Twine(*integer) + ", expected at least " + llvm::Twine(minimum));
    return std::nullopt;
  } else if (*integer > (int64_t(1) << 31)) {
    // Keeps every product of two dimensions within 64 bits.
    error(path, "'" + path + "' is " + llvm::Twine(*integer) + ", expected at most 2^31");
    return std::nullopt;
  }
  return integer;
}

std::optional<double> JsonFile::getNumber(llvm::StringRef path, std::optional<double> fallback) const {
  const llvm::json::Value *value = find(path);
  if (!value) {
    if (!fallback)
      error(path, "'" + path + "' is missing");
    return fallback;
  }
  std::optional<double> number = value->getAsNumber();
  if (!number)
    error(path, "'" + path + "' is not a number");
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
