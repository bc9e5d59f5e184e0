// SPDX-License-Identifier: Apache-2.0
// What a stage runs its program on.

#ifndef MORPH_RUNTIME_TRAIN_LOOPBATCH_H
#define MORPH_RUNTIME_TRAIN_LOOPBATCH_H

#include "runtime/exec/Executor.h"

#include <functional>
#include <string>

namespace morph {

/// One call of the executor: the inputs that the program takes, and how many tokens that is.
struct LoopBatch {
  NamedTensors inputs;
  int64_t tokens = 0;
  double flops = 0;   ///< Operations of a run, where the stage counts them.
  NamedTensors given; ///< Outputs that are known (Executor::run).
  /// Called with the run's outputs, of which it may take some out. Empty: nothing is wanted of them.
  std::function<Status(NamedTensors &outputs)> keep;
  /// Which sequences of the batch these are, in words for a file's name; empty: all.
  std::string part;
  double share = 1; ///< Of the batch's loss that is this part's; 0: there is nothing to run.
};

/// Runs a batch; the outputs are those that its `keep` leaves.
StatusOr<NamedTensors> runBatch(Executor &executor, const LoopBatch &batch);

/// Makes batch `index`: a pure function of it, so that a resumed run sees what it would have seen.
using BatchSource = std::function<StatusOr<LoopBatch>(int64_t index)>;

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_LOOPBATCH_H
