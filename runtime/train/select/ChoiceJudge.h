// SPDX-License-Identifier: Apache-2.0
// What a relaxed model loses, sample by sample, with one candidate in each layer.

#ifndef MORPH_RUNTIME_TRAIN_SELECT_CHOICEJUDGE_H
#define MORPH_RUNTIME_TRAIN_SELECT_CHOICEJUDGE_H

#include "runtime/train/select/GateSpace.h"
#include "runtime/train/select/MeasuredChoices.h"

namespace morph {

/// A batch that many choices are measured on.
struct JudgedBatch {
  int64_t index = 0;
  Batch batch;
  NamedTensors input; ///< What `score` reads, the teacher's logits too.
  Choice choice;
  NamedTensors streams; ///< What went into each layer under `choice`, by output of `score`; empty: not known.

  /// Of these what goes into the layers up to the first one in which `next` differs.
  NamedTensors streamsBelow(const Choice &next) const;
  /// Takes the streams of a run of `next`, copies of those that changed, where they are at most `mostBytes` in all.
  void keepStreams(const Choice &next, const NamedTensors &outputs, int64_t mostBytes);
};

/// Measures choices on the first batches of a stream, the same for all, forward only. The plans are `score` (relaxed,
/// with kl) and `logits` (base): the teacher runs once, here, and a choice goes on from the first layer in which it
/// differs from the one before.
class ChoiceJudge {
public:
  /// `sharing` holds weights that are read there; null: none.
  static StatusOr<std::unique_ptr<ChoiceJudge>> create(const StageContext &context, const Executor *sharing,
                                                       const ChoiceSpace &space, const BatchStream &stream,
                                                       int64_t batches);

  /// The scores of each sample of the batches from `begin` to `end`: means over the rows that its answers have. The
  /// gates of the executor are left at the choice. An empty choice is the teacher itself, which has run: its KL is 0,
  /// it costs nothing more, and the gates stay.
  StatusOr<ChoiceScores> measure(const Choice &choice, int64_t begin, int64_t end, MeasureCost &cost);

  /// What the teacher's run took.
  const MeasureCost &teacherCost() const { return teacherCost_; }
  const Executor &executor() const { return *executor_; }

private:
  ChoiceJudge(const StageContext &context, const BatchStream &stream, int64_t batches)
      : processes_(*context.processes), stream_(stream), count_(batches) {}
  Status runTeacher(const StageContext &context);
  StatusOr<ChoiceScores> teacherScores(int64_t begin, int64_t end);

  Processes &processes_;
  const BatchStream &stream_;
  int64_t count_; ///< Of batches.
  std::unique_ptr<Executor> executor_;
  GateSpace space_;
  std::vector<JudgedBatch> batches_; ///< Those that are this process'.
  MeasureCost teacherCost_;
};

/// The mean of `rows` [N] over each sample of the batch, weighted by the batch's weights.
std::vector<double> sampleMeans(const Batch &batch, const at::Tensor &rows);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_SELECT_CHOICEJUDGE_H
