// SPDX-License-Identifier: Apache-2.0
// Which layers of a model keep full attention.

#include "passes/Selection.h"

#include "frontends/text/Json.h"
#include "frontends/text/TextFile.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

#include <cmath>
#include <numeric>

using llvm::ArrayRef;
using llvm::Expected;
using llvm::SmallVector;
using llvm::StringRef;
using llvm::Twine;

namespace morph {

static constexpr int64_t kSelectionVersion = 1;
static constexpr size_t kMaxKindBytes = 100;

static llvm::Error makeError(const Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), message);
}

Expected<SmallVector<int64_t>> checkLayers(ArrayRef<int64_t> list, int64_t layers, const Twine &what) {
  SmallVector<int64_t> sorted(list);
  llvm::sort(sorted);
  for (int64_t layer : sorted)
    if (layer < 0 || layer >= layers)
      return makeError(what + " names layer " + Twine(layer) + ", but the model has layers 0 to " + Twine(layers - 1));
  if (auto twice = std::adjacent_find(sorted.begin(), sorted.end()); twice != sorted.end())
    return makeError(what + " names layer " + Twine(*twice) + " twice");
  return sorted;
}

SmallVector<int64_t> uniformLayers(int64_t layers, int64_t budget) {
  SmallVector<int64_t> kept;
  for (int64_t i = 0; i < budget; ++i)
    kept.push_back(i * layers / budget);
  return kept;
}

Expected<SmallVector<int64_t>> largestScores(ArrayRef<double> scores, int64_t budget, ArrayRef<int64_t> keep,
                                             ArrayRef<int64_t> linear) {
  int64_t layers = scores.size();
  if (budget < static_cast<int64_t>(keep.size()))
    return makeError("the budget is " + Twine(budget) + " layers, but " + Twine(keep.size()) +
                     " are pinned to full attention");
  if (budget > layers - static_cast<int64_t>(linear.size()))
    return makeError("the budget is " + Twine(budget) + " layers, but only " + Twine(layers - linear.size()) +
                     " are not pinned to a candidate");
  SmallVector<int64_t> order(layers);
  std::iota(order.begin(), order.end(), 0);
  // Pinned layers first, then by score; a stable sort leaves ties at the lower layer.
  llvm::stable_sort(order, [&](int64_t a, int64_t b) {
    bool pinnedA = llvm::is_contained(keep, a), pinnedB = llvm::is_contained(keep, b);
    return pinnedA != pinnedB ? pinnedA : scores[a] > scores[b];
  });
  llvm::erase_if(order, [&](int64_t layer) { return llvm::is_contained(linear, layer); });
  order.resize(budget);
  llvm::sort(order);
  return order;
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
    if (llvm::Error error = readScores(file))
      return error;
    if (llvm::Error error = readChosen(file))
      return error;
    return file;
  }

private:
  llvm::Error fail(StringRef key, const Twine &message) {
    StringRef name = findJsonName(text, key);
    size_t offset = name.empty() ? 0 : name.data() - text.data();
    return makeError("selection file " + printPlace(path, text, offset) + ": " + message);
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

  llvm::Error readScores(SelectionFile &file) {
    StringRef key = object.get("scores") ? "scores" : "gates";
    Expected<const llvm::json::Array *> list = array(key, /*onePerLayer=*/true);
    if (!list || !*list)
      return list.takeError();
    SmallVector<double> scores;
    for (const llvm::json::Value &entry : **list) {
      std::optional<double> score = entry.getAsNumber();
      if (const llvm::json::Array *shares = entry.getAsArray(); shares && !shares->empty())
        score = shares->front().getAsNumber();
      if (!score || !std::isfinite(*score))
        return fail(key, "'" + key + "' entry " + Twine(scores.size()) + " is not a finite number");
      scores.push_back(*score);
    }
    file.scores = scores;
    return llvm::Error::success();
  }

  /// Whether a string may be printed as a kind of mixer.
  static bool isKind(StringRef kind) {
    return kind.size() <= kMaxKindBytes && llvm::all_of(kind, [](char c) { return llvm::isAlnum(c) || c == '_'; });
  }

  llvm::Error readChosen(SelectionFile &file) {
    Expected<const llvm::json::Array *> list = array("chosen", /*onePerLayer=*/true);
    if (!list || !*list)
      return list.takeError();
    for (const llvm::json::Value &entry : **list) {
      std::optional<StringRef> kind = entry.getAsString();
      if (!kind || !isKind(*kind))
        return fail("chosen", "'chosen' entry " + Twine(file.chosen.size()) + " is not the name of a mixer");
      file.chosen.push_back(kind->str());
    }
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
    return makeError("cannot read selection file '" + path + "': " + llvm::toString(buffer.takeError()));
  StringRef text = (*buffer)->getBuffer();
  JsonError error;
  std::optional<llvm::json::Value> value = parseJson(text, error);
  if (!value)
    return makeError("selection file " + printPlace(path, text, error.offset) + ": " + error.message);
  const llvm::json::Object *object = value->getAsObject();
  if (!object)
    return makeError("selection file '" + path + "' is not a JSON object");
  return Reader(path, text, layers, *object).read();
}

} // namespace morph
