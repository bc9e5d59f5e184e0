// SPDX-License-Identifier: Apache-2.0

#include "runtime/base/AtomicFile.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>

using namespace morph;
namespace fs = std::filesystem;

Status morph::systemError(const std::string &what, int error) {
  return Status::failed(
      what + ": " + std::strerror(error),
      error == ENOSPC || error == EDQUOT ? "the disk is full: free some space and run the same command again" : "");
}

namespace {

Status sync(const std::string &path, bool folder) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | (folder ? O_DIRECTORY : 0));
  bool synced = file >= 0 && ::fsync(file) == 0;
  // Its user may be allowed to write into a folder and not to read it, and not every file system can sync one.
  synced = synced || (folder && (errno == EACCES || errno == EINVAL || errno == ENOTSUP));
  const int error = errno;
  if (file >= 0)
    ::close(file);
  return synced ? Status() : systemError("cannot sync '" + path + "'", error);
}

Status syncFolderOf(const std::string &path) {
  const fs::path folder = fs::path(path).parent_path();
  return syncFolder(folder.empty() ? "." : folder.string());
}

} // namespace

StatusOr<AtomicFile> AtomicFile::create(const std::string &path) {
  const int file = ::open((path + ".partial").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0)
    return systemError("cannot write '" + path + "'", errno);
  return AtomicFile(path, file);
}

AtomicFile::AtomicFile(AtomicFile &&other) noexcept : path_(std::move(other.path_)), file_(other.file_) {
  other.file_ = -1;
}

AtomicFile::~AtomicFile() {
  if (file_ < 0)
    return;
  ::close(file_);
  ::unlink((path_ + ".partial").c_str());
}

Status AtomicFile::fail(const char *what) { return systemError(std::string(what) + " '" + path_ + "'", errno); }

Status AtomicFile::write(const void *data, size_t size) {
  const char *bytes = static_cast<const char *>(data);
  while (size > 0) {
    // Linux writes at most 2 GB at once.
    const ssize_t count = ::write(file_, bytes, std::min<size_t>(size, size_t(1) << 30));
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return fail("cannot write");
    bytes += count;
    size -= static_cast<size_t>(count);
  }
  return Status();
}

Status AtomicFile::commit() {
  if (::fsync(file_) != 0)
    return fail("cannot write");
  if (std::rename((path_ + ".partial").c_str(), path_.c_str()) != 0)
    return fail("cannot rename a file to");
  const int file = file_;
  file_ = -1;
  if (::close(file) != 0)
    return fail("cannot write");
  return syncFolderOf(path_);
}

Status morph::writeFile(const std::string &path, const std::string &text) {
  MORPH_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  MORPH_RETURN_IF_ERROR(file.write(text.data(), text.size()));
  return file.commit();
}

Status morph::renamePath(const std::string &from, const std::string &to) {
  if (std::rename(from.c_str(), to.c_str()) != 0)
    return systemError("cannot rename '" + from + "' to '" + to + "'", errno);
  return syncFolderOf(to);
}

Status morph::syncFolder(const std::string &folder) { return sync(folder, /*folder=*/true); }

Status morph::syncTree(const std::string &folder) {
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (entry->is_directory() || entry->is_regular_file())
      MORPH_RETURN_IF_ERROR(sync(entry->path().string(), entry->is_directory()));
  if (error)
    return Status::failed("cannot read the folder '" + folder + "': " + error.message());
  return syncFolder(folder);
}
