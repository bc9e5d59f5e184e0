// SPDX-License-Identifier: Apache-2.0
// The one training loop: data, steps of an optimizer, metrics, progress, checkpoints, signals.

#ifndef MORPH_RUNTIME_TRAIN_TRAINLOOP_H
#define MORPH_RUNTIME_TRAIN_TRAINLOOP_H

#include "runtime/base/Json.h"
#include "runtime/train/Checkpoint.h"
#include "runtime/train/Division.h"
#include "runtime/train/LoopBatch.h"
#include "runtime/train/Optimizer.h"
#include "runtime/train/Schedule.h"

#include <functional>

namespace morph {

struct LoopOptions {
  std::string stage;   ///< "align", ...: metrics, messages.
  std::string variant; ///< "selected", "wave 2 of 4"; may be empty.
  int64_t steps = 0;
  int64_t accumulate = 1; ///< Batches a step; their gradients and losses are averaged.
  Schedule schedule;
  int64_t logEvery = 10;
  int64_t checkpointEvery = 50;
  std::string metricsPath;    ///< Empty: no metrics.
  std::string checkpointPath; ///< Empty: no checkpoints.
  std::string fingerprint;
  bool quiet = false; ///< No progress on stderr.
  /// The division that the source is attached to. All processes run the loop; what hooks do must be the same in all of
  /// them, and only the leader writes.
  Division division;
};

/// What a stage may do inside the loop. Any may be empty.
struct LoopHooks {
  /// The learning rate of a step, instead of the schedule's.
  std::function<double(int64_t step)> rate;
  /// Before the first step; not of a loop that goes on from a checkpoint.
  std::function<Status()> begin;
  /// After the (averaged, unclipped) gradients of step `step` are there; may change their elements.
  std::function<Status(int64_t step, NamedTensors &gradients)> onGradients;
  /// After the update, before the masters are used again; may change them.
  std::function<Status(int64_t step, NamedTensors &masters)> onUpdate;
  /// Whether a metrics line is written after so many steps, beside those of `log_every`.
  std::function<bool(int64_t steps)> logs;
  /// When a metrics line is written: add keys.
  std::function<Status(int64_t step, nlohmann::ordered_json &line)> onLog;
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
  double flops = 0; ///< Of the batches that tell theirs.
  double seconds = 0;
  double firstLoss = 0, lastLoss = 0; ///< Of the first step and of the last.
};

/// Trains the program of `optimizer` (its output `loss`) to `options.steps`, from the checkpoint if there is one.
/// On a GPU losses and norms are read when they are written or saved, at least every 100 steps, and before
/// `onGradients` and `onUpdate`, which cost the overlap of host and GPU. Errors: a loss or gradient that is not finite
/// (stage, step and loss are named; the last checkpoint stays).
StatusOr<LoopResult> runTrainLoop(Optimizer &optimizer, const BatchSource &source, const LoopOptions &options,
                                  const LoopHooks &hooks = {});

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_TRAINLOOP_H
