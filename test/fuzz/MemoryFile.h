// SPDX-License-Identifier: Apache-2.0
// Files for entry points that take a path, without a disk: an input is written where a descriptor of this process
// points.

#ifndef MORPH_TEST_FUZZ_MEMORYFILE_H
#define MORPH_TEST_FUZZ_MEMORYFILE_H

#include <cstddef>
#include <cstdlib>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace morph::fuzz {

/// A regular file in memory with a path that this process can open.
class MemoryFile {
public:
  MemoryFile() : descriptor_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    if (descriptor_ < 0)
      std::abort();
    path_ = "/proc/self/fd/" + std::to_string(descriptor_);
  }
  ~MemoryFile() { ::close(descriptor_); }
  MemoryFile(const MemoryFile &) = delete;
  MemoryFile &operator=(const MemoryFile &) = delete;

  /// Replaces the content.
  void set(const void *data, size_t size) {
    if (::ftruncate(descriptor_, static_cast<off_t>(size)) != 0 ||
        ::pwrite(descriptor_, data, size, 0) != static_cast<ssize_t>(size))
      std::abort();
  }
  void set(const std::string &text) { set(text.data(), text.size()); }
  const std::string &path() const { return path_; }

private:
  int descriptor_;
  std::string path_;
};

/// A folder under the system's temporary one whose members are files in memory. Removed at the end of its life.
class MemoryFolder {
public:
  MemoryFolder() {
    char name[] = "/tmp/morph-fuzz-XXXXXX";
    if (!::mkdtemp(name))
      std::abort();
    path_ = name;
  }
  ~MemoryFolder() {
    for (const std::string &member : members_)
      ::unlink(member.c_str());
    ::rmdir(path_.c_str());
  }
  MemoryFolder(const MemoryFolder &) = delete;
  MemoryFolder &operator=(const MemoryFolder &) = delete;

  /// Makes `name` in this folder stand for `file`.
  void add(const std::string &name, const MemoryFile &file) {
    members_.push_back(path_ + "/" + name);
    if (::symlink(file.path().c_str(), members_.back().c_str()) != 0)
      std::abort();
  }
  const std::string &path() const { return path_; }

private:
  std::string path_;
  std::vector<std::string> members_;
};

} // namespace morph::fuzz

#endif // MORPH_TEST_FUZZ_MEMORYFILE_H
