// SPDX-License-Identifier: Apache-2.0
// SHA-256 of files, remembered between calls: weights and programs are large, and rarely change.

#ifndef MORPH_TOOLS_MORPH_FILEHASHES_H
#define MORPH_TOOLS_MORPH_FILEHASHES_H

#include "tools/morph/Files.h"

namespace morph {

class FileHashes {
public:
  /// Starts with what an earlier call saved in `cache`; a cache that cannot be read is an empty one.
  explicit FileHashes(fs::path cache);

  /// The hash of a file's content: read anew where its size, inode, or time of change differs from what is remembered.
  StatusOr<std::string> of(const fs::path &file);
  /// Writes what was asked for in this call.
  Status save() const;

private:
  fs::path cache_;
  Json known_ = Json::object(); ///< path: {stamp, sha256}
  Json asked_ = Json::object();
};

} // namespace morph

#endif // MORPH_TOOLS_MORPH_FILEHASHES_H
