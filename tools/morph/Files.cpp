// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/Files.h"

#include "runtime/base/File.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <unistd.h>
#include <vector>

using namespace morph;

Status morph::writeJson(const fs::path &path, const Json &value) {
  return writeFile(path.string(), value.dump(2) + "\n");
}

Status morph::makeFolder(const fs::path &path) {
  std::error_code error;
  if (fs::is_directory(path, error))
    return Status();
  const fs::path parent = fs::absolute(path).parent_path();
  if (!fs::exists(parent, error))
    MORPH_RETURN_IF_ERROR(makeFolder(parent));
  fs::create_directory(path, error);
  if (error)
    return Status::failed("cannot make the folder " + path.string() + ": " + error.message());
  return syncFolder(parent.string());
}

Status morph::removeAll(const fs::path &path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error)
    return Status::failed("cannot remove " + path.string() + ": " + error.message());
  return Status();
}

Status morph::copyFile(const fs::path &from, const fs::path &to) {
  MORPH_ASSIGN_OR_RETURN(const OpenFile file, openRegularFile(from.string()));
  MORPH_ASSIGN_OR_RETURN(AtomicFile copy, AtomicFile::create(to.string()));
  std::vector<char> part(size_t(1) << 20); // Weights may be larger than memory.
  for (;;) {
    const ssize_t count = ::read(file.descriptor.get(), part.data(), part.size());
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return Status::failed("cannot read '" + from.string() + "': " + std::strerror(errno));
    if (count == 0)
      return copy.commit();
    MORPH_RETURN_IF_ERROR(copy.write(part.data(), static_cast<size_t>(count)));
  }
}

Status morph::checkNewFolder(const fs::path &target) {
  std::error_code error;
  if (!fs::exists(target, error) || (fs::is_directory(target, error) && fs::is_empty(target, error)))
    return Status();
  return Status::invalid(target.string() + " exists already",
                         "--to names a folder that is to be made, or an empty one");
}

StatusOr<TemporaryFolder> TemporaryFolder::create() {
  std::error_code error;
  const fs::path folder = fs::temp_directory_path(error);
  if (error)
    return Status::failed("cannot make a temporary folder: " + error.message(),
                          "TMPDIR names where temporary files go");
  return make((folder / "morph-XXXXXX").string(), "TMPDIR names where temporary files go");
}

StatusOr<TemporaryFolder> TemporaryFolder::createFor(const fs::path &target) {
  // Without a '/' at the end, which would put it inside.
  const fs::path name = (target.has_filename() ? target : target.parent_path()).lexically_normal();
  if (name.has_parent_path())
    MORPH_RETURN_IF_ERROR(makeFolder(name.parent_path()));
  return make(name.string() + ".XXXXXX", "");
}

StatusOr<TemporaryFolder> TemporaryFolder::make(std::string pattern, const std::string &hint) {
  if (!::mkdtemp(pattern.data()))
    return Status::failed("cannot make the folder " + pattern + ": " + std::strerror(errno), hint);
  return TemporaryFolder(pattern);
}

Status TemporaryFolder::keepAs(const fs::path &target) {
  std::error_code error;
  fs::permissions(path_,
                  fs::perms::group_read | fs::perms::group_exec | fs::perms::others_read | fs::perms::others_exec,
                  fs::perm_options::add, error);
  fs::rename(path_, target.has_filename() ? target : target.parent_path(), error);
  if (error)
    return Status::failed("cannot make " + target.string() + ": " + error.message());
  path_.clear();
  return Status();
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code error;
  if (!path_.empty())
    fs::remove_all(path_, error);
}
