// SPDX-License-Identifier: Apache-2.0
// Stages of a run directory: each is a folder that appears under its name when it is whole, with the key of its inputs.

#ifndef MORPH_TOOLS_MORPH_STAGECACHE_H
#define MORPH_TOOLS_MORPH_STAGECACHE_H

#include "tools/morph/Files.h"
#include "tools/morph/Sha256.h"

#include <optional>
#include <string>

namespace morph {

/// Builds a stage's key: the hash of everything that its result depends on, in the order added.
class StageKey {
public:
  explicit StageKey(const std::string &stage) { add("stage", stage); }
  StageKey &add(const std::string &name, const std::string &value);
  StageKey &add(const std::string &name, const Json &value) { return add(name, value.dump()); }
  /// A file's content.
  Status addFile(const std::string &name, const fs::path &path);
  std::string finish() { return hash_.finish(); }

private:
  Sha256 hash_;
};

/// One stage's folder. Layout: `stage.json` {key, stage, complete, seconds, ...} beside the stage's own files.
class StageFolder {
public:
  StageFolder(fs::path root, std::string name) : root_(std::move(root)), name_(std::move(name)) {}

  const std::string &name() const { return name_; }
  fs::path path() const { return root_ / name_; }
  fs::path partialPath() const { return root_ / (name_ + ".partial"); }

  /// The record of the whole stage, if its key is this one.
  std::optional<Json> finished(const std::string &key) const;
  /// Makes the partial folder, or keeps the one that a stopped run of the same key left. Returns the seconds that
  /// earlier attempts took.
  StatusOr<double> begin(const std::string &key) const;
  /// Notes the time spent so far, for a later attempt.
  Status pause(const std::string &key, double seconds) const;
  /// Writes the record and gives the folder its name, replacing an older one.
  Status commit(const std::string &key, Json record) const;

private:
  fs::path root_;
  std::string name_;
};

} // namespace morph

#endif // MORPH_TOOLS_MORPH_STAGECACHE_H
