// SPDX-License-Identifier: Apache-2.0
// Which layers of a model keep full attention.

#include "passes/Selection.h"

#include "frontends/text/Json.h"
#include "frontends/text/TextFile.h"

#include "runtime/spec/SpaceJson.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

#include <cmath>

using llvm::ArrayRef;
using llvm::Expected;
using llvm::SmallVector;
using llvm::StringRef;
using llvm::Twine;

namespace morph {

static constexpr int64_t kSelectionVersion = 1;
static constexpr size_t kMaxNameBytes = 100;

Expected<SmallVector<int64_t>> checkLayers(ArrayRef<int64_t> list, int64_t layers, const Twine &what) {
  SmallVector<int64_t> sorted(list);
  llvm::sort(sorted);
  for (int64_t layer : sorted)
    if (layer < 0 || layer >= layers)
      return llvm::createStringError(what + " names layer " + Twine(layer) + ", but the model has layers 0 to " +
                                     Twine(layers - 1));
  if (auto twice = std::adjacent_find(sorted.begin(), sorted.end()); twice != sorted.end())
    return llvm::createStringError(what + " names layer " + Twine(*twice) + " twice");
  return sorted;
}

SmallVector<int64_t> uniformLayers(int64_t layers, int64_t budget) {
  SmallVector<int64_t> kept;
  for (int64_t i = 0; i < budget; ++i)
    kept.push_back(i * layers / budget);
  return kept;
}

namespace {

/// "file:line:column" of a place in a text.
std::string printPlace(StringRef path, StringRef text, size_t offset) {
  StringRef before = text.take_front(offset);
  size_t column = before.size() - (before.rfind('\n') + 1) + 1;
  return (path + ":" + Twine(before.count('\n') + 1) + ":" + Twine(column)).str();
}

/// Reads the keys of one file; every error starts with the key's place.
class Reader {
public:
  Reader(StringRef path, StringRef text, int64_t layers, const llvm::json::Object &object)
      : path(path), text(text), layers(layers), object(object) {}

  Expected<SelectionFile> read() {
    SelectionFile file;
    if (llvm::Error error = checkNumber("version", kSelectionVersion, "this tool reads version"))
      return error;
    if (llvm::Error error = checkNumber("layers", layers, "the model has"))
      return error;
    if (llvm::Error error = readBudget(file))
      return error;
    if (llvm::Error error = readKept(file))
      return error;
    if (llvm::Error error = readValues(file))
      return error;
    if (llvm::Error error = readChoice(file))
      return error;
    if (llvm::Error error = readSpace(file))
      return error;
    return file;
  }

private:
  llvm::Error fail(StringRef key, const Twine &message) {
    StringRef name = findJsonName(text, key);
    size_t offset = name.empty() ? 0 : name.data() - text.data();
    return llvm::createStringError("selection file " + printPlace(path, text, offset) + ": " + message);
  }

  /// Keys that may be absent, but must have the expected value if not.
  llvm::Error checkNumber(StringRef key, int64_t expected, StringRef why) {
    const llvm::json::Value *value = object.get(key);
    if (!value)
      return llvm::Error::success();
    std::optional<int64_t> number = value->getAsInteger();
    if (!number)
      return fail(key, "'" + key + "' is not a whole number");
    if (*number != expected)
      return fail(key, "'" + key + "' is " + Twine(*number) + ", but " + why + " " + Twine(expected));
    return llvm::Error::success();
  }

  Expected<const llvm::json::Array *> array(StringRef key, bool onePerLayer) {
    const llvm::json::Value *value = object.get(key);
    if (!value || value->getAsNull())
      return nullptr;
    const llvm::json::Array *list = value->getAsArray();
    if (!list)
      return fail(key, "'" + key + "' is not an array");
    if (onePerLayer && list->empty())
      return nullptr; // A method without scores writes an empty list.
    if (onePerLayer && static_cast<int64_t>(list->size()) != layers)
      return fail(key, "'" + key + "' has " + Twine(list->size()) + " entries, but the model has " + Twine(layers) +
                           " layers");
    return list;
  }

  llvm::Error readBudget(SelectionFile &file) {
    const llvm::json::Value *value = object.get("budget");
    if (!value || value->getAsNull())
      return llvm::Error::success();
    file.budget = value->getAsInteger();
    if (!file.budget || *file.budget < 0 || *file.budget > layers)
      return fail("budget", "'budget' is not a number of layers from 0 to " + Twine(layers));
    return llvm::Error::success();
  }

  llvm::Error readKept(SelectionFile &file) {
    Expected<const llvm::json::Array *> list = array("kept", /*onePerLayer=*/false);
    if (!list || !*list)
      return list.takeError();
    SmallVector<int64_t> kept;
    for (const llvm::json::Value &entry : **list) {
      std::optional<int64_t> layer = entry.getAsInteger();
      if (!layer)
        return fail("kept", "'kept' holds an entry that is not a whole number");
      kept.push_back(*layer);
    }
    Expected<SmallVector<int64_t>> checked = checkLayers(kept, layers, "'kept'");
    if (!checked)
      return fail("kept", llvm::toString(checked.takeError()));
    file.kept = *checked;
    return llvm::Error::success();
  }

  llvm::Error readValues(SelectionFile &file) {
    using Values = SelectionFile::Values;
    for (auto [key, kind] : {std::pair<StringRef, Values>("values", Values::Candidates),
                             std::pair<StringRef, Values>("gates", Values::Shares),
                             std::pair<StringRef, Values>("scores", Values::Scores)}) {
      Expected<const llvm::json::Array *> list = array(key, /*onePerLayer=*/true);
      if (!list)
        return list.takeError();
      if (!*list)
        continue;
      file.kind = kind;
      for (const llvm::json::Value &entry : **list) {
        std::vector<double> &row = file.values.emplace_back();
        const llvm::json::Array *numbers = kind == Values::Scores ? nullptr : entry.getAsArray();
        llvm::json::Array one;
        if (!numbers && kind != Values::Candidates) {
          one.push_back(entry);
          numbers = &one;
        }
        for (const llvm::json::Value &value : numbers ? *numbers : llvm::json::Array()) {
          std::optional<double> number = value.getAsNumber();
          row.push_back(number && std::isfinite(*number) ? *number : std::nan(""));
        }
        if (row.empty() || llvm::any_of(row, [](double number) { return std::isnan(number); }))
          return fail(
              key, "'" + key + "' entry " + Twine(file.values.size() - 1) +
                       (kind == Values::Candidates ? " is not a list of finite numbers" : " is not a finite number"));
      }
      break; // The first that is there says most.
    }
    return llvm::Error::success();
  }

  /// Whether a string may be printed as a candidate's name.
  static bool isName(StringRef name) {
    return name.size() <= kMaxNameBytes && llvm::all_of(name, [](char c) { return llvm::isAlnum(c) || c == '_'; });
  }

  llvm::Error readChoice(SelectionFile &file) {
    Expected<const llvm::json::Array *> list = array("choice", /*onePerLayer=*/true);
    if (!list || !*list)
      return list.takeError();
    SmallVector<int64_t> full;
    for (const llvm::json::Value &entry : **list) {
      std::optional<StringRef> name = entry.getAsString();
      if (!name || !isName(*name))
        return fail("choice", "'choice' entry " + Twine(file.choice.size()) + " is not the name of a candidate");
      if (*name == kFullAttention)
        full.push_back(file.choice.size());
      file.choice.push_back(name->str());
    }
    if (file.kept && *file.kept != full)
      return fail("kept", "'kept' does not name the layers that are \"full\" in 'choice'");
    return llvm::Error::success();
  }

  llvm::Error readSpace(SelectionFile &file) {
    const llvm::json::Value *value = object.get("space");
    if (!value || value->getAsNull())
      return llvm::Error::success();
    StatusOr<ChoiceSpace> space = parseSpace(llvm::formatv("{0}", *value).str(), "'space'");
    if (!space.ok())
      return fail("space", space.status().message());
    if (space->layerCount() != layers)
      return fail("space", "'space' has " + Twine(space->layerCount()) + " layers, but the model has " + Twine(layers));
    file.space = std::move(*space);
    return llvm::Error::success();
  }

  StringRef path;
  StringRef text;
  int64_t layers;
  const llvm::json::Object &object;
};

} // namespace

Expected<SelectionFile> readSelectionFile(StringRef path, int64_t layers) {
  Expected<std::unique_ptr<llvm::MemoryBuffer>> buffer = readTextFile(path, kMaxJsonBytes);
  if (!buffer)
    return llvm::createStringError("cannot read selection file '" + path + "': " + llvm::toString(buffer.takeError()));
  StringRef text = (*buffer)->getBuffer();
  JsonError error;
  std::optional<llvm::json::Value> value = parseJson(text, error);
  if (!value)
    return llvm::createStringError("selection file " + printPlace(path, text, error.offset) + ": " + error.message);
  const llvm::json::Object *object = value->getAsObject();
  if (!object)
    return llvm::createStringError("selection file '" + path + "' is not a JSON object");
  return Reader(path, text, layers, *object).read();
}

} // namespace morph
