// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/File.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace morph {

bool Descriptor::close() {
  int old = std::exchange(value_, -1);
  return old < 0 || ::close(old) == 0;
}

StatusOr<OpenFile> openRegularFile(const std::string &path) {
  // Without O_NONBLOCK opening a pipe would wait for its writer.
  Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info;
  if (descriptor.get() < 0 || ::fstat(descriptor.get(), &info) != 0)
    return Status::invalid("cannot open '" + path + "': " + std::strerror(errno));
  if (!S_ISREG(info.st_mode))
    return Status::invalid("cannot open '" + path + "': not a regular file");
  return OpenFile{std::move(descriptor), static_cast<uint64_t>(info.st_size)};
}

StatusOr<std::string> readTextFile(const std::string &path, uint64_t limit) {
  MORPH_ASSIGN_OR_RETURN(OpenFile file, openRegularFile(path));
  auto tooLong = [&](uint64_t size) {
    return Status::invalid("cannot read '" + path + "': it has " + std::to_string(size) + " bytes, at most " +
                           std::to_string(limit) + " are read");
  };
  if (file.size > limit)
    return tooLong(file.size);
  // Read to the end, not to the size: files of /proc have none, and a file may grow.
  std::string text;
  for (;;) {
    size_t done = text.size();
    text.resize(done + std::max<uint64_t>(1 << 16, done < file.size ? file.size - done + 1 : 0));
    ssize_t count = ::read(file.descriptor.get(), text.data() + done, text.size() - done);
    text.resize(done + static_cast<size_t>(std::max<ssize_t>(count, 0)));
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return Status::failed("cannot read '" + path + "': " + std::strerror(errno));
    if (text.size() > limit)
      return tooLong(text.size());
    if (count == 0)
      return text;
  }
}

} // namespace morph
