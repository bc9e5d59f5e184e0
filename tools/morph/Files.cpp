// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/Files.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

using namespace morph;

Status morph::writeText(const fs::path &path, const std::string &text) {
  const std::string partial = path.string() + ".partial";
  auto fail = [&](const char *what) {
    const int error = errno;
    ::unlink(partial.c_str());
    return Status::failed(std::string(what) + " " + path.string() + ": " + std::strerror(error),
                          error == ENOSPC ? "the disk is full: free some space and run the same command again" : "");
  };
  const int file = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0)
    return fail("cannot write");
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::write(file, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0) {
      const int error = errno;
      ::close(file);
      errno = error;
      return fail("cannot write");
    }
    done += count;
  }
  if (::fsync(file) < 0 || ::close(file) < 0)
    return fail("cannot write");
  if (::rename(partial.c_str(), path.c_str()) < 0)
    return fail("cannot rename a file to");
  return Status();
}

Status morph::writeJson(const fs::path &path, const Json &value) { return writeText(path, value.dump(2) + "\n"); }

Status morph::makeFolder(const fs::path &path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error)
    return Status::failed("cannot make the folder " + path.string() + ": " + error.message());
  return Status();
}

Status morph::removeAll(const fs::path &path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error)
    return Status::failed("cannot remove " + path.string() + ": " + error.message());
  return Status();
}

Status morph::rename(const fs::path &from, const fs::path &to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error)
    return Status::failed("cannot rename " + from.string() + " to " + to.string() + ": " + error.message());
  return Status();
}

Status morph::copyFile(const fs::path &from, const fs::path &to) {
  MORPH_ASSIGN_OR_RETURN(std::string text, readTextFile(from.string()));
  return writeText(to, text);
}

StatusOr<TemporaryFolder> TemporaryFolder::create() {
  std::error_code error;
  std::string name = (fs::temp_directory_path(error) / "morph-XXXXXX").string();
  if (error || !::mkdtemp(name.data()))
    return Status::failed("cannot make a temporary folder: " + (error ? error.message() : std::strerror(errno)),
                          "TMPDIR names where temporary files go");
  return TemporaryFolder(name);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code error;
  if (!path_.empty())
    fs::remove_all(path_, error);
}
