// SPDX-License-Identifier: Apache-2.0
// Small file helpers beside those of runtime/base/AtomicFile.h and Json.h.

#ifndef MORPH_TOOLS_MORPH_FILES_H
#define MORPH_TOOLS_MORPH_FILES_H

#include "runtime/base/AtomicFile.h"
#include "runtime/base/Json.h"

#include <filesystem>
#include <string>

namespace morph {

namespace fs = std::filesystem;

/// As writeFile.
Status writeJson(const fs::path &path, const Json &value);

/// Makes a folder and those above it, where they are not there yet.
Status makeFolder(const fs::path &path);
Status removeAll(const fs::path &path);
/// Of a regular file of any size; as writeFile.
Status copyFile(const fs::path &from, const fs::path &to);

/// Whether a command may make its `--to`: nothing is there, or an empty folder.
Status checkNewFolder(const fs::path &target);

/// A fresh folder for temporary files, removed with everything in it on destruction.
class TemporaryFolder {
public:
  static StatusOr<TemporaryFolder> create();
  /// One beside `target`, which it may become.
  static StatusOr<TemporaryFolder> createFor(const fs::path &target);
  TemporaryFolder(TemporaryFolder &&other) noexcept : path_(std::move(other.path_)) { other.path_.clear(); }
  TemporaryFolder(const TemporaryFolder &) = delete;
  ~TemporaryFolder();
  const fs::path &path() const { return path_; }
  /// The folder stays, as `target`: what it was created for, which is not there or an empty folder.
  Status keepAs(const fs::path &target);

private:
  static StatusOr<TemporaryFolder> make(std::string pattern, const std::string &hint);
  explicit TemporaryFolder(fs::path path) : path_(std::move(path)) {}
  fs::path path_;
};

} // namespace morph

#endif // MORPH_TOOLS_MORPH_FILES_H
