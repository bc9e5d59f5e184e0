// SPDX-License-Identifier: Apache-2.0
// The one training loop: data, executor, gradients, clipping, AdamW, metrics, progress, checkpoints, signals.

#ifndef MORPH_RUNTIME_TRAIN_TRAINLOOP_H
#define MORPH_RUNTIME_TRAIN_TRAINLOOP_H

#include "runtime/base/Json.h"
#include "runtime/exec/Executor.h"
#include "runtime/train/Checkpoint.h"
#include "runtime/train/Optimizer.h"
#include "runtime/train/Schedule.h"

#include <functional>

namespace morph {

struct LoopOptions {
  std::string stage;   ///< "align", ...: metrics, messages.
  std::string variant; ///< "selected", "wave 2 of 4"; may be empty.
  int64_t steps = 0;
  int64_t accumulate = 1; ///< Batches a step; their gradients and losses are averaged.
  double clip = 1;        ///< Global norm; 0: none.
  /// The group of a weight by its name: gradients of a group are clipped together. Empty: all are one group.
  std::function<std::string(const std::string &weight)> clipGroup;
  AdamWOptions optimizer;
  Schedule schedule;
  int64_t logEvery = 10;
  int64_t checkpointEvery = 50;
  std::string metricsPath;    ///< Empty: no metrics.
  std::string checkpointPath; ///< Empty: no checkpoints.
  std::string fingerprint;
  bool quiet = false; ///< No progress on stderr.
};

/// One call of the executor: the inputs that the program takes, and how many tokens that is.
struct LoopBatch {
  NamedTensors inputs;
  int64_t tokens = 0;
  NamedTensors given; ///< Outputs that are known (Executor::run).
  /// Called with the run's outputs, of which it may take some out. Empty: nothing is wanted of them.
  std::function<Status(NamedTensors &outputs)> keep;
};

/// Runs a batch; the outputs are those that its `keep` leaves.
StatusOr<NamedTensors> runBatch(Executor &executor, const LoopBatch &batch);

/// Makes batch `index`: a pure function of it, so that a resumed run sees what it would have seen.
using BatchSource = std::function<StatusOr<LoopBatch>(int64_t index)>;

/// What a stage may do inside the loop. Any may be empty.
struct LoopHooks {
  /// The learning rate of a step, instead of the schedule's.
  std::function<double(int64_t step)> rate;
  /// After the (averaged, unclipped) gradients of step `step` are there; may change them.
  std::function<Status(int64_t step, NamedTensors &gradients, double loss)> onGradients;
  /// After the update, before the masters are used again; may change them.
  std::function<Status(int64_t step, NamedTensors &masters)> onUpdate;
  /// When a metrics line is written: add keys. `outputs` are those of the step's last batch.
  std::function<void(int64_t step, const NamedTensors &outputs, nlohmann::ordered_json &line)> onLog;
  /// After each step: whether to stop before `steps` (a curriculum that is through).
  std::function<StatusOr<bool>(int64_t step, NamedTensors &masters)> finished;
  /// State of the stage in checkpoints.
  std::function<void(Json &state, NamedTensors &tensors)> save;
  std::function<Status(const Json &state, const NamedTensors &tensors)> restore;
};

struct LoopResult {
  bool interrupted = false; ///< A signal came: a checkpoint is written, the stage is not done.
  int64_t steps = 0;
  int64_t tokens = 0;
  double seconds = 0;
  double firstLoss = 0, lastLoss = 0; ///< Of the first step and of the last.
};

/// Runs the program of `executor` (outputs `loss` and `grad.<weight>`) to `options.steps`, from the checkpoint if there
/// is one. Errors: a loss or gradient that is not finite (stage, step and loss are named; the last checkpoint stays).
StatusOr<LoopResult> runTrainLoop(Executor &executor, const BatchSource &source, const LoopOptions &options,
                                  const LoopHooks &hooks = {});

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_TRAINLOOP_H
