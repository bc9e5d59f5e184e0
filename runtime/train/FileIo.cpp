// SPDX-License-Identifier: Apache-2.0

#include "runtime/train/FileIo.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace morph {

Status writeTextAtomic(const std::string &path, const std::string &text) {
  const std::string temporary = path + ".tmp";
  const int file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0)
    return Status::failed("cannot write '" + path + "': " + std::strerror(errno));
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::write(file, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0) {
      const std::string reason = std::strerror(errno);
      const std::string hint = errno == ENOSPC ? "free some space on that disk and run again" : "";
      ::close(file);
      ::unlink(temporary.c_str());
      return Status::failed("cannot write '" + path + "': " + reason, hint);
    }
    done += static_cast<size_t>(count);
  }
  if (::fsync(file) != 0 || ::close(file) != 0 || std::rename(temporary.c_str(), path.c_str()) != 0) {
    const std::string reason = std::strerror(errno);
    ::unlink(temporary.c_str());
    return Status::failed("cannot write '" + path + "': " + reason);
  }
  return Status();
}

} // namespace morph
