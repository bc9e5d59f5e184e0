// SPDX-License-Identifier: Apache-2.0

#include "frontends/huggingface/Checkpoint.h"

#include "frontends/huggingface/JsonFile.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <map>

using namespace morph;

static std::string join(llvm::StringRef folder, llvm::StringRef name) {
  llvm::SmallString<256> path(folder);
  llvm::sys::path::append(path, name);
  return std::string(path);
}

static constexpr llvm::StringLiteral kSingleName = "model.safetensors";
static constexpr llvm::StringLiteral kIndexName = "model.safetensors.index.json";

bool Checkpoint::exists(llvm::StringRef folder) {
  return llvm::sys::fs::exists(join(folder, kSingleName)) || llvm::sys::fs::exists(join(folder, kIndexName));
}

const Checkpoint::Tensor *Checkpoint::find(llvm::StringRef name) const {
  auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

std::vector<llvm::StringRef> Checkpoint::getNames() const {
  std::vector<llvm::StringRef> names;
  for (const auto &tensor : tensors_)
    names.push_back(tensor.first());
  llvm::sort(names);
  return names;
}

/// The shards that an index names, in sorted order, and the file it gives for each tensor. False after an error.
static bool readIndex(llvm::StringRef path, Diagnostics &diagnostics, std::vector<std::string> &files,
                      llvm::StringMap<std::string> &fileOf) {
  std::optional<JsonFile> index = JsonFile::read(path, diagnostics);
  if (!index)
    return false;
  const llvm::json::Object *map = index->getRoot().getObject("weight_map");
  if (!map || map->empty()) {
    index->error("weight_map", "the index has no 'weight_map'");
    return false;
  }
  llvm::StringSet<> seen;
  for (const auto &member : *map) {
    std::optional<llvm::StringRef> file = member.second.getAsString();
    // A name with a folder in it could point anywhere, and one with a zero byte is another one to the system.
    if (!file || !file->ends_with(".safetensors") || llvm::sys::path::filename(*file) != *file ||
        file->contains('\0')) {
      index->error("weight_map",
                   "the index gives no file of its own folder for the tensor '" + llvm::StringRef(member.first) + "'");
      return false;
    }
    fileOf[member.first] = file->str();
    if (seen.insert(*file).second)
      files.push_back(file->str());
  }
  llvm::sort(files);
  return true;
}

std::optional<Checkpoint> Checkpoint::read(llvm::StringRef folder, Diagnostics &diagnostics) {
  Checkpoint checkpoint;
  checkpoint.folder_ = folder.str();
  std::vector<std::string> files;
  llvm::StringMap<std::string> fileOf;
  if (llvm::sys::fs::exists(join(folder, kSingleName))) {
    files.push_back(kSingleName.str());
  } else if (llvm::sys::fs::exists(join(folder, kIndexName))) {
    if (!readIndex(join(folder, kIndexName), diagnostics, files, fileOf))
      return std::nullopt;
  } else {
    bool pickled = llvm::sys::fs::exists(join(folder, "pytorch_model.bin"));
    diagnostics.error("'" + folder + "' holds no weights: there is neither '" + kSingleName + "' nor '" + kIndexName +
                          "'",
                      pickled ? "pickled weights ('pytorch_model.bin') are not read: convert them to safetensors"
                              : "a folder with config.json alone can be planned ('morph plan SPEC'), not run");
    return std::nullopt;
  }

  for (const std::string &file : files) {
    std::string path = join(folder, file);
    std::optional<std::vector<TensorEntry>> entries = readSafetensorsHeader(path, diagnostics);
    if (!entries)
      return std::nullopt;
    for (TensorEntry &entry : *entries) {
      if (!fileOf.empty() && fileOf.lookup(entry.name) != file) {
        diagnostics.error("'" + path + "' holds the tensor '" + entry.name + "', which the index gives to " +
                          (fileOf.count(entry.name) ? "'" + fileOf[entry.name] + "'" : std::string("no file")));
        return std::nullopt;
      }
      Tensor tensor;
      std::optional<WeightType> type = llvm::StringSwitch<std::optional<WeightType>>(entry.type)
                                           .Case("F32", WeightType::F32)
                                           .Case("F16", WeightType::F16)
                                           .Case("BF16", WeightType::BF16)
                                           .Default(std::nullopt);
      tensor.supportedType = type.has_value();
      tensor.type = type.value_or(WeightType::F32);
      tensor.file = path;
      std::string name = entry.name;
      tensor.entry = std::move(entry);
      checkpoint.tensors_[name] = std::move(tensor);
    }
  }
  for (const auto &member : fileOf)
    if (!checkpoint.find(member.first())) {
      diagnostics.error("'" + join(folder, member.second) + "' lacks the tensor '" + member.first() +
                        "', which the index promises");
      return std::nullopt;
    }
  return checkpoint;
}

static std::string printShape(llvm::ArrayRef<int64_t> shape) {
  std::string text = "[";
  llvm::raw_string_ostream os(text);
  llvm::interleaveComma(shape, os);
  os << "]";
  return text;
}

/// "'a', 'b' and 7 more".
static std::string printNames(llvm::ArrayRef<std::string> names) {
  std::string text;
  size_t shown = std::min<size_t>(names.size(), 4);
  for (size_t i = 0; i < shown; ++i)
    text += (i ? ", '" : "'") + names[i] + "'";
  if (shown < names.size())
    text += " and " + std::to_string(names.size() - shown) + " more";
  return text;
}

/// The rows of tensors that weights are made of, by tensor: (begin, end), the end -1 for all.
using UsedRows = std::map<std::string, std::vector<std::pair<int64_t, int64_t>>>;

static std::string describeType(const Checkpoint::Tensor &tensor) {
  return "'" + tensor.file + "': the tensor '" + tensor.entry.name + "' has type " + tensor.entry.type +
         ", expected F32, F16 or BF16";
}

/// The pieces of one weight, which must be there, of one supported type, and fit.
static void checkPieces(const Checkpoint &checkpoint, const ExpectedWeight &weight, std::vector<std::string> &missing,
                        UsedRows &rows, Diagnostics &diagnostics) {
  std::vector<std::vector<int64_t>> shapes;
  const Checkpoint::Tensor *first = nullptr;
  bool complete = true;
  for (const plan::Piece &piece : weight.pieces) {
    auto [used, isNew] = rows.try_emplace(piece.tensor);
    used->second.push_back({piece.begin, piece.end ? piece.end : -1});
    const Checkpoint::Tensor *tensor = checkpoint.find(piece.tensor);
    if (!tensor) {
      if (isNew)
        missing.push_back(piece.tensor);
      complete = false;
      continue;
    }
    if (!tensor->supportedType && isNew)
      diagnostics.error(describeType(*tensor));
    if (first && first->type != tensor->type)
      diagnostics.error("'" + tensor->file + "': the tensor '" + piece.tensor + "' has type " + tensor->entry.type +
                        ", but '" + first->entry.name + "', with which it is the weight '" + weight.name + "', " +
                        first->entry.type);
    first = first ? first : tensor;
    shapes.push_back({tensor->entry.shape.begin(), tensor->entry.shape.end()});
  }
  if (!complete)
    return;
  if (Status status = plan::checkPieceShapes({weight.shape.begin(), weight.shape.end()}, weight.pieces, shapes);
      !status.ok())
    diagnostics.error("'" + first->file + "': the weight '" + weight.name +
                      "' of config.json does not fit: " + status.message());
}

/// That no rows of a tensor that weights are made of go nowhere, or are several weights'.
static void checkRows(const Checkpoint &checkpoint, UsedRows &rows, Diagnostics &diagnostics) {
  for (auto &[name, ranges] : rows) {
    const Checkpoint::Tensor *tensor = checkpoint.find(name);
    if (!tensor || tensor->entry.shape.empty())
      continue;
    llvm::sort(ranges);
    int64_t next = 0;
    bool fits = true;
    for (auto [begin, end] : ranges) {
      fits &= begin == next;
      next = end < 0 ? tensor->entry.shape.front() : end;
    }
    if (!fits || next != tensor->entry.shape.front())
      diagnostics.error("'" + tensor->file + "': the tensor '" + name + "' has " +
                        llvm::Twine(tensor->entry.shape.front()) + " rows, but config.json needs " + llvm::Twine(next));
  }
}

bool morph::checkWeights(const Checkpoint &checkpoint, llvm::ArrayRef<ExpectedWeight> expected, bool tied,
                         Diagnostics &diagnostics) {
  unsigned before = diagnostics.getErrorCount();
  llvm::StringSet<> used;
  std::vector<std::string> missing;
  UsedRows rows;
  for (const ExpectedWeight &weight : expected) {
    if (!weight.pieces.empty()) {
      checkPieces(checkpoint, weight, missing, rows, diagnostics);
      continue;
    }
    used.insert(weight.name);
    const Checkpoint::Tensor *tensor = checkpoint.find(weight.name);
    if (!tensor) {
      missing.push_back(weight.name);
      continue;
    }
    if (llvm::ArrayRef<int64_t>(tensor->entry.shape) != llvm::ArrayRef<int64_t>(weight.shape))
      diagnostics.error("'" + tensor->file + "': the tensor '" + weight.name + "' has shape " +
                        printShape(tensor->entry.shape) + ", but config.json needs " + printShape(weight.shape));
    if (!tensor->supportedType)
      diagnostics.error(describeType(*tensor));
  }
  if (diagnostics.getErrorCount() == before)
    checkRows(checkpoint, rows, diagnostics);
  for (const auto &tensor : rows)
    used.insert(tensor.first);

  std::vector<std::string> unused;
  for (llvm::StringRef name : checkpoint.getNames()) {
    bool harmless = name.ends_with("rotary_emb.inv_freq") || (tied && name == "lm_head.weight");
    if (!harmless && !used.contains(name))
      unused.push_back(name.str());
  }
  if (!missing.empty())
    diagnostics.error("'" + checkpoint.getFolder() + "' lacks " + llvm::Twine(missing.size()) +
                          (missing.size() == 1 ? " tensor" : " tensors") +
                          " that the model of config.json reads: " + printNames(missing),
                      !tied && missing.size() == 1 && missing.front() == "lm_head.weight"
                          ? "a checkpoint whose head is the embedding says \"tie_word_embeddings\": true"
                          : "");
  if (!unused.empty()) {
    std::string hint;
    if (missing.size() == 1 && unused.size() == 1)
      hint = "is '" + unused.front() + "' meant to be '" + missing.front() + "'?";
    diagnostics.error("'" + checkpoint.getFolder() + "' holds " + llvm::Twine(unused.size()) +
                          (unused.size() == 1 ? " tensor" : " tensors") +
                          " that the model of config.json does not use: " + printNames(unused),
                      hint);
  }
  return diagnostics.getErrorCount() == before;
}
