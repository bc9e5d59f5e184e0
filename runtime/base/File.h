// SPDX-License-Identifier: Apache-2.0
// Files that come from outside: only regular files are read, whole or through a map.

#ifndef MORPH_RUNTIME_BASE_FILE_H
#define MORPH_RUNTIME_BASE_FILE_H

#include "runtime/base/Status.h"

#include <cstdint>
#include <memory>
#include <string>

namespace morph {

/// A file descriptor that is closed when the scope is left.
class Descriptor {
public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() { close(); }
  Descriptor(Descriptor &&other) noexcept : value_(std::exchange(other.value_, -1)) {}
  Descriptor &operator=(Descriptor &&) = delete;
  int get() const { return value_; }
  /// False where the system reports that earlier writes failed.
  bool close();

private:
  int value_;
};

/// A regular file that is open for reading, and its size in bytes.
struct OpenFile {
  Descriptor descriptor;
  uint64_t size = 0;
};

/// Opens a regular file. A folder, pipe, socket or device in its place is an error and never waited for.
StatusOr<OpenFile> openRegularFile(const std::string &path);

/// The most bytes that readTextFile takes.
inline constexpr uint64_t kMaximumTextBytes = uint64_t(1) << 30;

/// The whole content of a regular file of at most `limit` bytes, or an error that names it and the reason.
StatusOr<std::string> readTextFile(const std::string &path, uint64_t limit = kMaximumTextBytes);

/// A regular file, mapped read-only. Where another program cuts the file while this one reads it, the process ends with
/// exit code 1 and a message that names the file, not with SIGBUS. (A file that is replaced by renaming another one to
/// its name stays what it was.)
class MappedFile {
public:
  static StatusOr<std::shared_ptr<const MappedFile>> open(const std::string &path);
  ~MappedFile();
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;

  const std::string &path() const { return path_; }
  /// The bytes; null where the file is empty.
  const char *data() const { return data_; }
  uint64_t size() const { return size_; }

private:
  MappedFile() = default;
  std::string path_;
  const char *data_ = nullptr;
  uint64_t size_ = 0;
  size_t slot_ = 0; ///< Where the signal handler finds this map.
};

} // namespace morph

#endif // MORPH_RUNTIME_BASE_FILE_H
