// SPDX-License-Identifier: Apache-2.0
// Files and folders that are whole or absent after any end of the process or the machine: written under another name,
// synced, renamed, and the folder synced.

#ifndef MORPH_RUNTIME_BASE_ATOMICFILE_H
#define MORPH_RUNTIME_BASE_ATOMICFILE_H

#include "runtime/base/Status.h"

#include <cstddef>
#include <string>

namespace morph {

/// A file being written as `path`.partial; `commit` gives it its name. Without it nothing is left, and what `path` held
/// before stays. Errors name the path and the system's reason.
class AtomicFile {
public:
  static StatusOr<AtomicFile> create(const std::string &path);
  AtomicFile(AtomicFile &&other) noexcept;
  AtomicFile(const AtomicFile &) = delete;
  ~AtomicFile();

  Status write(const void *data, size_t size);
  /// When it returns without an error, the file survives a loss of power under its name.
  Status commit();

private:
  AtomicFile(std::string path, int file) : path_(std::move(path)), file_(file) {}
  Status fail(const char *what);

  std::string path_;
  int file_ = -1;
};

/// What failed, with the system's reason `error` (an errno), and a hint where the disk is full.
Status systemError(const std::string &what, int error);

/// A whole file at once.
Status writeFile(const std::string &path, const std::string &text);

/// Renames a file or folder, replacing a file, and syncs the folder that holds the new name.
Status renamePath(const std::string &from, const std::string &to);

/// Syncs a folder's list of names. A file system that cannot do that is no error.
Status syncFolder(const std::string &folder);

/// Syncs a folder and everything below it, whoever wrote it.
Status syncTree(const std::string &folder);

} // namespace morph

#endif // MORPH_RUNTIME_BASE_ATOMICFILE_H
