// SPDX-License-Identifier: Apache-2.0
// How the batches of a step are divided among processes, so that their losses and gradients add up to those of one
// process.

#ifndef MORPH_RUNTIME_TRAIN_DIVISION_H
#define MORPH_RUNTIME_TRAIN_DIVISION_H

#include "runtime/kernels/SumOverProcesses.h"
#include "runtime/processes/Processes.h"
#include "runtime/train/LoopBatch.h"

namespace morph {

/// Where the batches of a step can be dealt out evenly, each is one process' own. Else every process takes some
/// sequences of each batch, if the program's loss is a mean over sequences, rows or weights of rows, of which the
/// parts' shares are known, or a relative squared error, whose denominators are added up between the processes.
/// Whatever else there is: whole batches, and processes that have none wait.
class Division {
public:
  /// One process: everything.
  Division() : processes_(std::make_shared<Processes>()) {}
  /// Of steps of `accumulate` batches of `batch` sequences for the program of `executor`.
  Division(std::shared_ptr<Processes> processes, const Executor &executor, int64_t accumulate, int64_t batch);

  Processes &processes() const { return *processes_; }
  /// Processes that have nothing to do in a step.
  int64_t idle() const { return idle_; }

  /// Whether this process runs batch `index`, or a part of it.
  bool owns(int64_t index) const { return sums_ != Sums::None || processes_->owns(index); }
  /// Batches with this process' sequences alone, `share` and `part` set. They refer to this object.
  BatchSource attachTo(BatchSource source) const;

  /// Runs `function`, which runs the program on a batch of `attachTo`, such that denominators are the whole batch's.
  template <typename Function> auto run(const LoopBatch &batch, Function &&function) const -> decltype(function()) {
    if (sums_ != Sums::Relative || batch.part.empty())
      return function();
    const SumOverProcesses scope([this](double value) {
      const StatusOr<std::vector<double>> sum = processes_->sum({value});
      TORCH_CHECK(sum.ok(), sum.status().message());
      return (*sum)[0];
    });
    return function();
  }

private:
  /// What a loss is a mean over.
  enum class Sums {
    None,      ///< Sequences are not divided.
    Sequences, ///< Of all tokens, as many of every sequence.
    Rows,      ///< Of the rows that `positions` picks.
    Weights,   ///< Of those rows by `weights`.
    Relative,  ///< It is a ratio of sums.
  };
  /// Of the losses of a plan; None where they differ.
  static Sums sumsOf(const plan::Plan &plan);
  LoopBatch part(LoopBatch batch, int64_t index) const;

  std::shared_ptr<Processes> processes_;
  Sums sums_ = Sums::None;
  int64_t idle_ = 0;
};

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_DIVISION_H
