// SPDX-License-Identifier: Apache-2.0
// The directory of one run: which spec and which kind of machine it belongs to, and who works in it.

#ifndef MORPH_TOOLS_MORPH_RUNDIRECTORY_H
#define MORPH_TOOLS_MORPH_RUNDIRECTORY_H

#include "runtime/spec/Spec.h"
#include "tools/morph/Files.h"
#include "tools/morph/Machine.h"

#include <string>
#include <vector>

namespace morph {

/// Dotted paths of the keys in which two resolved specs differ, sorted. Left out are keys that change no number (how
/// often to log or to save) and `model.threads`, whose effect stands in Machine.
std::vector<std::string> differingKeys(const Json &first, const Json &second);

class RunDirectory {
public:
  /// Makes or reopens `path` for a spec on a machine. Errors: the folder belongs to another spec or to a machine that
  /// gives other bits and holds a whole stage or a checkpoint (exit code 2, what differs named) unless `update`; it
  /// holds something else; it cannot be written; another run works in it. In a folder that was no run's before an error
  /// leaves nothing.
  static StatusOr<RunDirectory> open(const fs::path &path, const ResolvedSpec &resolved, const Machine &machine,
                                     const fs::path &specFile, bool update);
  /// Reopens an existing run as it is, for commands that work on its results.
  static StatusOr<RunDirectory> reopen(const fs::path &path);

  RunDirectory(RunDirectory &&other) noexcept;
  RunDirectory(const RunDirectory &) = delete;
  ~RunDirectory();

  /// Removes the folder if `open` made it: for a run that ends before its first stage, so that nothing is left behind.
  void removeIfNew() const;

  const fs::path &root() const { return root_; }
  fs::path file(const std::string &name) const { return root_ / name; }
  const ResolvedSpec &resolved() const { return resolved_; }
  /// The machine whose numbers the folder holds.
  const Machine &machine() const { return machine_; }

private:
  RunDirectory(fs::path root, int lock) : root_(std::move(root)), lock_(lock) {}
  static StatusOr<RunDirectory> lockFolder(const fs::path &path);
  /// Writes what `open` leaves in the folder; `known`: it has the spec and the machine already.
  Status begin(const fs::path &specFile, bool known) const;

  fs::path root_;
  int lock_ = -1;
  bool isNew_ = false;
  ResolvedSpec resolved_;
  Machine machine_;
};

} // namespace morph

#endif // MORPH_TOOLS_MORPH_RUNDIRECTORY_H
