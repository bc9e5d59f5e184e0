// SPDX-License-Identifier: Apache-2.0
// The processes that do the stages of a run: children of this driver, or of drivers beside it that a launcher
// (torchrun, Slurm, MPI) has started on one machine or many.

#ifndef MORPH_TOOLS_MORPH_WORKERS_H
#define MORPH_TOOLS_MORPH_WORKERS_H

#include "runtime/processes/Place.h"
#include "tools/morph/Connection.h"
#include "tools/morph/Process.h"
#include "tools/morph/Toolchain.h"

#include <memory>
#include <vector>

namespace morph {

class Workers {
public:
  /// `local` processes of this driver's own (1: as ever), or, where a launcher has started several drivers, one each:
  /// then waits for the others at the leader's port. Errors: the port is taken, not all come in five minutes.
  static StatusOr<std::unique_ptr<Workers>> gather(const Place &place, int64_t local);
  /// Tells the other drivers that the run has ended.
  ~Workers();

  int64_t count() const { return place_.count; }
  /// Whether all are on this machine, and this driver's.
  bool areChildren() const { return followers_.empty(); }

  /// Runs a stage's program in all processes to their end. The leader's output and errors are this driver's. One that
  /// fails ends the others; what it said is passed on, and the result is its own. A process that is gone is a result
  /// with a signal or with `errors` that say so.
  StatusOr<ProcessResult> run(const Command &command);

  /// The exit code that the other drivers are to end with.
  void setExitCode(int code) { exitCode_ = code; }

private:
  struct Process;
  Place place_;
  std::vector<std::unique_ptr<Connection>> followers_; ///< By rank, the leader's own is null; empty: all are children.
  int exitCode_ = 1;
};

/// What a driver does that is not the leader: the stages that the leader tells it to, until that is through. Prints
/// nothing; the status has the leader's kind of exit code. Errors: the leader cannot be reached, or is gone.
Status followLeader(const Toolchain &tools, const Place &place);

} // namespace morph

#endif // MORPH_TOOLS_MORPH_WORKERS_H
