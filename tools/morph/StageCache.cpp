// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/StageCache.h"

using namespace morph;

namespace {

constexpr const char *kRecord = "stage.json";

/// The record in a folder, if there is a readable one of this key.
std::optional<Json> readRecord(const fs::path &folder, const std::string &key) {
  std::error_code error;
  if (!fs::exists(folder / kRecord, error))
    return std::nullopt;
  auto record = readJson((folder / kRecord).string());
  if (!record.ok() || !record->is_object() || record->value("key", "") != key)
    return std::nullopt;
  return *record;
}

} // namespace

StageKey &StageKey::add(const std::string &name, const std::string &value) {
  // Lengths go in, so that no two lists of parts give the same bytes.
  const std::string head = std::to_string(name.size()) + ":" + name + std::to_string(value.size()) + ":";
  hash_.add(head.data(), head.size());
  hash_.add(value.data(), value.size());
  return *this;
}

Status StageKey::addFile(const std::string &name, const fs::path &path) {
  MORPH_ASSIGN_OR_RETURN(const std::string digest, sha256File(path.string()));
  add(name, digest);
  return Status();
}

std::optional<Json> StageFolder::finished(const std::string &key) const {
  std::optional<Json> record = readRecord(path(), key);
  if (record && !record->value("complete", false))
    return std::nullopt;
  return record;
}

StatusOr<double> StageFolder::begin(const std::string &key) const {
  if (std::optional<Json> record = readRecord(partialPath(), key))
    return record->value("seconds", 0.0);
  MORPH_RETURN_IF_ERROR(removeAll(partialPath()));
  MORPH_RETURN_IF_ERROR(makeFolder(partialPath()));
  MORPH_RETURN_IF_ERROR(pause(key, 0));
  return 0.0;
}

Status StageFolder::pause(const std::string &key, double seconds) const {
  return writeJson(partialPath() / kRecord,
                   {{"key", key}, {"stage", name_}, {"complete", false}, {"seconds", seconds}});
}

Status StageFolder::commit(const std::string &key, Json record) const {
  record["key"] = key;
  record["stage"] = name_;
  record["complete"] = true;
  // A whole stage needs no checkpoint, and it may be three times as large as the result.
  for (const char *name : {"checkpoint.safetensors", "checkpoint.json"})
    MORPH_RETURN_IF_ERROR(removeAll(partialPath() / name));
  MORPH_RETURN_IF_ERROR(writeJson(partialPath() / kRecord, record));
  const fs::path old = path().string() + ".old";
  std::error_code error;
  MORPH_RETURN_IF_ERROR(removeAll(old));
  if (fs::exists(path(), error))
    MORPH_RETURN_IF_ERROR(morph::rename(path(), old));
  MORPH_RETURN_IF_ERROR(morph::rename(partialPath(), path()));
  return removeAll(old);
}
