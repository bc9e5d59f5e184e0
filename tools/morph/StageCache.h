// SPDX-License-Identifier: Apache-2.0
// Stages of a run directory: each is a folder that appears under its name when it is whole, with the key of its inputs.

#ifndef MORPH_TOOLS_MORPH_STAGECACHE_H
#define MORPH_TOOLS_MORPH_STAGECACHE_H

#include "tools/morph/Files.h"

#include <optional>
#include <string>
#include <vector>

namespace morph {

/// A stage's key: the hash of everything that its result depends on, each input under a name.
class StageKey {
public:
  /// Adds an input, once a name. Only its hash is kept.
  StageKey &add(const std::string &name, const std::string &value);
  StageKey &add(const std::string &name, const Json &value) { return add(name, value.dump()); }

  /// The hash of each input by its name.
  const Json &inputs() const { return inputs_; }
  std::string value() const;

private:
  Json inputs_ = Json::object();
};

/// One stage's folder. `stage.json` in it holds key, inputs, complete, seconds, ... beside the stage's own files, of
/// which it lists names and sizes: a stage that lacks one, or a part of one, is not whole. Files whose names begin with
/// "checkpoint." are the stage's own between two attempts.
///
/// `commit` is a sequence of steps, each durable before the next begins, and a kill between any two loses nothing: the
/// record says in NAME.partial that the stage is whole; an older NAME becomes NAME.old; NAME.partial becomes NAME; what
/// is needed no longer goes. `finished` completes a sequence that was cut off.
class StageFolder {
public:
  StageFolder(fs::path root, std::string name) : root_(std::move(root)), name_(std::move(name)) {}

  const std::string &name() const { return name_; }
  fs::path path() const { return root_ / name_; }
  fs::path partialPath() const { return root_ / (name_ + ".partial"); }

  /// The record of the whole stage, if its key is this one.
  StatusOr<std::optional<Json>> finished(const StageKey &key) const;
  /// Names of the inputs in which what lies here, whole or partial, differs from `key`; empty where nothing lies here.
  std::vector<std::string> changedInputs(const StageKey &key) const;
  /// Whether a whole stage lies here, of whichever key.
  bool isComplete() const;
  /// Files of the whole stage that are missing or shorter than they were.
  std::vector<std::string> damagedFiles() const;
  /// Copies the files that lie in the stage's folder into another one, without the record, which is the run's own.
  Status copyTo(const fs::path &folder) const;
  /// Makes the partial folder, or keeps the one that a stopped run of the same key left. Returns the seconds that
  /// earlier attempts took.
  StatusOr<double> begin(const StageKey &key) const;
  /// Notes the time spent so far, for a later attempt.
  Status pause(const StageKey &key, double seconds) const;
  /// Writes the record and gives the folder its name, replacing an older one.
  Status commit(const StageKey &key, Json record) const;

private:
  fs::path oldPath() const { return root_ / (name_ + ".old"); }
  Status writeRecord(const StageKey &key, Json record) const;
  /// The steps of `commit` after the record.
  Status place() const;
  Status clean() const;

  fs::path root_;
  std::string name_;
};

} // namespace morph

#endif // MORPH_TOOLS_MORPH_STAGECACHE_H
