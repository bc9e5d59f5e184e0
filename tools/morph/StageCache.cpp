// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/StageCache.h"

#include "runtime/base/Sha256.h"

#include <cassert>

using namespace morph;

namespace {

constexpr const char *kRecord = "stage.json";

bool isCheckpoint(const fs::path &file) { return file.filename().string().rfind("checkpoint.", 0) == 0; }

bool isThere(const fs::path &path) {
  std::error_code error;
  return fs::exists(path, error);
}

/// The record in a folder, or null.
Json readRecord(const fs::path &folder) {
  if (!isThere(folder / kRecord))
    return Json();
  auto record = readJson((folder / kRecord).string());
  return record.ok() && record->is_object() ? *record : Json();
}

/// The sizes in bytes of the files that make up the stage in a folder, by their path in it: without checkpoints and
/// what is in folders of them, which go.
Json listFiles(const fs::path &folder) {
  Json sizes = Json::object();
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (const fs::path name = entry->path().lexically_relative(folder);
        entry->is_regular_file(error) && name != kRecord && !isCheckpoint(*name.begin()))
      sizes[name.string()] = entry->file_size(error);
  return sizes;
}

/// Files of a record that its folder lacks or has only a part of. A later step may add to one: the verdict on a hybrid
/// is in the hybrid's manifest.
std::vector<std::string> findDamage(const fs::path &folder, const Json &record) {
  std::vector<std::string> names;
  const Json then = record.value("files", Json::object()), now = listFiles(folder);
  for (const auto &[name, size] : then.items())
    if (!size.is_number_unsigned() || !now.contains(name) || now[name] < size)
      names.push_back(name);
  return names;
}

bool isOf(const Json &record, const StageKey &key, bool complete) {
  return record.is_object() && record.value("key", Json()) == key.value() &&
         record.value("complete", Json()) == complete;
}

/// The record in a folder that is a whole stage of that key, or null.
Json readWhole(const fs::path &folder, const StageKey &key) {
  Json record = readRecord(folder);
  return isOf(record, key, /*complete=*/true) && findDamage(folder, record).empty() ? record : Json();
}

} // namespace

StageKey &StageKey::add(const std::string &name, const std::string &value) {
  assert(!inputs_.contains(name) && "an input is added once");
  inputs_[name] = sha256(value);
  return *this;
}

std::string StageKey::value() const { return sha256(inputs_.dump()); }

StatusOr<std::optional<Json>> StageFolder::finished(const StageKey &key) const {
  // Cut off between the two renames.
  if (!isThere(path()) && isThere(oldPath()))
    MORPH_RETURN_IF_ERROR(renamePath(oldPath().string(), path().string()));
  if (Json record = readWhole(path(), key); record.is_object()) {
    MORPH_RETURN_IF_ERROR(clean());
    return std::optional<Json>(std::move(record));
  }
  if (Json record = readWhole(partialPath(), key); record.is_object()) {
    MORPH_RETURN_IF_ERROR(place());
    return std::optional<Json>(std::move(record));
  }
  return std::optional<Json>();
}

std::vector<std::string> StageFolder::changedInputs(const StageKey &key) const {
  Json record = readRecord(partialPath());
  if (!record.is_object())
    record = readRecord(path());
  std::vector<std::string> changed;
  const Json before = record.is_object() ? record.value("inputs", Json()) : Json();
  if (!before.is_object())
    return changed;
  for (const auto &[name, hash] : key.inputs().items())
    if (before.value(name, Json()) != hash)
      changed.push_back(name);
  for (const auto &[name, hash] : before.items())
    if (!key.inputs().contains(name))
      changed.push_back(name);
  return changed;
}

bool StageFolder::isComplete() const {
  const Json record = readRecord(path());
  return record.is_object() && record.value("complete", Json()) == true && findDamage(path(), record).empty();
}

std::vector<std::string> StageFolder::damagedFiles() const {
  const Json record = readRecord(path());
  return record.is_object() ? findDamage(path(), record) : std::vector<std::string>();
}

Status StageFolder::copyTo(const fs::path &folder) const {
  std::error_code error, ignored;
  for (const fs::directory_entry &file : fs::directory_iterator(path(), error))
    if (file.path().filename() != kRecord && file.is_regular_file(ignored))
      MORPH_RETURN_IF_ERROR(copyFile(file.path(), folder / file.path().filename()));
  return error ? Status::failed("cannot read " + path().string() + ": " + error.message()) : Status();
}

StatusOr<double> StageFolder::begin(const StageKey &key) const {
  if (const Json record = readRecord(partialPath()); isOf(record, key, /*complete=*/false))
    return record.value("seconds", 0.0);
  // The record first: half a folder must not pass for a whole one.
  MORPH_RETURN_IF_ERROR(removeAll(partialPath() / kRecord));
  MORPH_RETURN_IF_ERROR(removeAll(partialPath()));
  MORPH_RETURN_IF_ERROR(makeFolder(partialPath()));
  MORPH_RETURN_IF_ERROR(pause(key, 0));
  return 0.0;
}

Status StageFolder::writeRecord(const StageKey &key, Json record) const {
  record["key"] = key.value();
  record["inputs"] = key.inputs();
  record["stage"] = name_;
  return writeJson(partialPath() / kRecord, record);
}

Status StageFolder::pause(const StageKey &key, double seconds) const {
  return writeRecord(key, {{"complete", false}, {"seconds", seconds}});
}

Status StageFolder::commit(const StageKey &key, Json record) const {
  // What the stage's programs wrote is on the disk before the record says that it is.
  MORPH_RETURN_IF_ERROR(syncTree(partialPath().string()));
  record["complete"] = true;
  record["files"] = listFiles(partialPath());
  MORPH_RETURN_IF_ERROR(writeRecord(key, std::move(record)));
  return place();
}

Status StageFolder::place() const {
  if (isThere(path())) {
    MORPH_RETURN_IF_ERROR(removeAll(oldPath()));
    MORPH_RETURN_IF_ERROR(renamePath(path().string(), oldPath().string()));
  }
  MORPH_RETURN_IF_ERROR(renamePath(partialPath().string(), path().string()));
  return clean();
}

Status StageFolder::clean() const {
  // A whole stage needs no checkpoint, and it may be three times as large as the result.
  std::error_code error;
  for (const fs::directory_entry &entry : fs::directory_iterator(path(), error))
    if (isCheckpoint(entry.path()))
      MORPH_RETURN_IF_ERROR(removeAll(entry.path()));
  return removeAll(oldPath());
}
