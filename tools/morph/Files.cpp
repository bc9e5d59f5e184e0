// SPDX-License-Identifier: Apache-2.0

#include "tools/morph/Files.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

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
  MORPH_ASSIGN_OR_RETURN(std::string text, readTextFile(from.string()));
  return writeFile(to.string(), text);
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
