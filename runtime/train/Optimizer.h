// SPDX-License-Identifier: Apache-2.0
// What a stage trains: the one owner of gradients and moments, and the steps that the plan's update does with them.

#ifndef MORPH_RUNTIME_TRAIN_OPTIMIZER_H
#define MORPH_RUNTIME_TRAIN_OPTIMIZER_H

#include "runtime/exec/Executor.h"
#include "runtime/processes/Processes.h"

namespace morph {

/// With several processes each owns a part of the weights: it alone has their moments, and what its update makes of
/// them it gives to the others (ZeRO's first stage, arXiv 1910.02054). Gradients and masters are whole in all of them.
class Optimizer {
public:
  /// For the program of `executor`, which must outlive it and whose masters it changes. Gradients and moments are zero.
  /// All of `processes` have the same masters. Errors: a plan without an update.
  static StatusOr<Optimizer> create(Executor &executor,
                                    std::shared_ptr<Processes> processes = std::make_shared<Processes>());

  Executor &executor() { return *executor_; }

  /// Runs the program on a batch that is the part `share` of a step, adding to the gradients. `given` as in
  /// Executor::run.
  StatusOr<NamedTensors> addBatch(NamedTensors inputs, double share, const NamedTensors &given = {});

  /// The sums of gradients since the last step, by weight: what `step` takes.
  NamedTensors &gradients() { return gradients_; }

  /// Adds the gradients of all processes up: from then on each has the sums.
  Status sumGradients();

  /// Does a step at the learning rate `rate` and clears the gradients, which are the same in all processes; returns the
  /// norm of all gradients before clipping, a scalar on the executor's device that lasts until the next step. If that
  /// is not finite, nor are the masters any more.
  StatusOr<at::Tensor> step(double rate);

  /// The moments as `exp_avg.<name>` and `exp_avg_sq.<name>`, and `step`, the steps so far as a one-element I64 tensor:
  /// what a checkpoint holds. All processes call it; the leader gets the moments of all weights, the others their own.
  StatusOr<NamedTensors> state() const;
  /// Restores what `state` gave to the leader, of however many processes. Errors: something is missing or has another
  /// shape.
  Status restore(const NamedTensors &state);

private:
  bool owns(const std::string &weight) const { return owners_.at(weight) == processes_->rank(); }

  Executor *executor_ = nullptr;
  std::shared_ptr<Processes> processes_;
  std::map<std::string, int64_t> owners_; ///< Of each weight the process that has its moments.
  std::unique_ptr<Executor> update_;
  at::Tensor allGradients_;
  NamedTensors gradients_; ///< Parts of `allGradients_`.
  NamedTensors inputs_;    ///< Of the update: all gradients, moments, rate, step.
  at::Tensor share_;
  int64_t steps_ = 0;
};

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_OPTIMIZER_H
