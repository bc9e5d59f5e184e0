// SPDX-License-Identifier: Apache-2.0
// The folders of what can be made again: models, environments, compiled kernels, measured choices.

#ifndef MORPH_RUNTIME_BASE_CACHEFOLDER_H
#define MORPH_RUNTIME_BASE_CACHEFOLDER_H

#include <cstdlib>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

namespace morph {

/// ${MORPH_CACHE:-~/.cache/morph}, as tools/setup has it; empty where the environment has neither MORPH_CACHE nor HOME.
inline std::string cacheFolder() {
  if (const char *cache = std::getenv("MORPH_CACHE"); cache && *cache)
    return cache;
  const char *home = std::getenv("HOME");
  return home && *home ? std::string(home) + "/.cache/morph" : "";
}

/// This user's own folder under ${TMPDIR:-/tmp}, for where there is no cache or it cannot be written. It need not
/// exist; empty where something is in its place that others than the user can write.
inline std::string temporaryFolder() {
  const char *parent = std::getenv("TMPDIR");
  const std::string folder = std::string(parent && *parent ? parent : "/tmp") + "/morph-" + std::to_string(::geteuid());
  struct stat status = {};
  if (::lstat(folder.c_str(), &status) != 0)
    return folder;
  const bool isOwn = S_ISDIR(status.st_mode) && status.st_uid == ::geteuid() && (status.st_mode & 022) == 0;
  return isOwn ? folder : "";
}

} // namespace morph

#endif // MORPH_RUNTIME_BASE_CACHEFOLDER_H
