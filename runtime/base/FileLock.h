// SPDX-License-Identifier: Apache-2.0
// What the files of measured choices share: a lock between processes, and names of machines as parts of file names.

#ifndef MORPH_RUNTIME_BASE_FILELOCK_H
#define MORPH_RUNTIME_BASE_FILELOCK_H

#include "runtime/base/File.h"

#include <cctype>
#include <fcntl.h>
#include <string>
#include <sys/file.h>

namespace morph {

/// A lock that other processes respect, for a scope. Without a file to lock it is none.
class FileLock {
public:
  explicit FileLock(const std::string &path) : file_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
    held_ = file_.get() >= 0 && ::flock(file_.get(), LOCK_EX) == 0;
  }
  bool held() const { return held_; }

private:
  Descriptor file_;
  bool held_ = false;
};

/// Letters and digits, other characters between them as one '-': "AMD EPYC (family 25)" is "amd-epyc-family-25-".
inline std::string slugOf(const std::string &name) {
  std::string slug;
  for (const char letter : name)
    if (std::isalnum(static_cast<unsigned char>(letter)))
      slug += static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    else if (!slug.empty() && slug.back() != '-')
      slug += '-';
  return slug;
}

} // namespace morph

#endif // MORPH_RUNTIME_BASE_FILELOCK_H
