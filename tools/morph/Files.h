// SPDX-License-Identifier: Apache-2.0
// Small file helpers beside those of runtime/base/Json.h: files written so that a reader never sees half of one.

#ifndef MORPH_TOOLS_MORPH_FILES_H
#define MORPH_TOOLS_MORPH_FILES_H

#include "runtime/base/Json.h"

#include <filesystem>
#include <string>

namespace morph {

namespace fs = std::filesystem;

/// Writes under a temporary name, syncs and renames. An error leaves what was there before.
Status writeText(const fs::path &path, const std::string &text);
Status writeJson(const fs::path &path, const Json &value);

Status makeFolder(const fs::path &path);
Status removeAll(const fs::path &path);
Status rename(const fs::path &from, const fs::path &to);
Status copyFile(const fs::path &from, const fs::path &to);

/// A fresh folder for temporary files, removed with everything in it on destruction.
class TemporaryFolder {
public:
  static StatusOr<TemporaryFolder> create();
  TemporaryFolder(TemporaryFolder &&other) noexcept : path_(std::move(other.path_)) { other.path_.clear(); }
  TemporaryFolder(const TemporaryFolder &) = delete;
  ~TemporaryFolder();
  const fs::path &path() const { return path_; }

private:
  explicit TemporaryFolder(fs::path path) : path_(std::move(path)) {}
  fs::path path_;
};

} // namespace morph

#endif // MORPH_TOOLS_MORPH_FILES_H
