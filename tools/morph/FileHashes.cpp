// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/FileHashes.h"

#include "runtime/base/Sha256.h"

#include <sys/stat.h>

using namespace morph;

FileHashes::FileHashes(fs::path cache) : cache_(std::move(cache)) {
  std::error_code error;
  if (fs::exists(cache_, error))
    if (auto read = readJson(cache_.string()); read.ok() && read->is_object())
      known_ = *read;
}

StatusOr<std::string> FileHashes::of(const fs::path &file) {
  const std::string name = fs::absolute(file).string();
  if (asked_.contains(name))
    return asked_[name]["sha256"].get<std::string>();
  struct stat status{};
  if (::stat(name.c_str(), &status) != 0)
    return Status::invalid("cannot read '" + name + "': " + std::strerror(errno));
  // The time of change cannot be set by hand, unlike that of modification.
  const Json stamp = {status.st_size, status.st_ino, status.st_ctim.tv_sec, status.st_ctim.tv_nsec};
  Json entry = known_.value(name, Json::object());
  if (!entry.is_object() || entry.value("stamp", Json()) != stamp || !entry.value("sha256", Json()).is_string()) {
    MORPH_ASSIGN_OR_RETURN(const std::string digest, sha256File(name));
    entry = {{"stamp", stamp}, {"sha256", digest}};
  }
  asked_[name] = entry;
  return entry["sha256"].get<std::string>();
}

Status FileHashes::save() const { return asked_ == known_ ? Status() : writeJson(cache_, asked_); }
