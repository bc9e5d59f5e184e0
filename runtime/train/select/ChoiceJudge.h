// SPDX-License-Identifier: Apache-2.0
// What a relaxed model loses, sample by sample, with one candidate in each layer.

#ifndef MORPH_RUNTIME_TRAIN_SELECT_CHOICEJUDGE_H
#define MORPH_RUNTIME_TRAIN_SELECT_CHOICEJUDGE_H

#include "runtime/train/select/GateSpace.h"
#include "runtime/train/select/MeasuredChoices.h"

namespace morph {

/// A batch that many choices are measured on.
struct JudgedBatch {
  Batch batch;
  NamedTensors input; ///< What `score` reads, the teacher's logits too.
  Choice choice;
  NamedTensors streams; ///< What went into each layer under `choice`, by output of `score`; empty: not known.

  /// Of these what goes into the layers up to the first one in which `next` differs.
  NamedTensors streamsBelow(const Choice &next) const;
  /// Takes the streams of a run of `next`, copies of those that changed, where they are at most `mostBytes` in all.
  void keepStreams(const Choice &next, const NamedTensors &outputs, int64_t mostBytes);
};

/// Measures choices on the first sequences of a stream, the same for all: the objective of the gates, forward only. Its
/// executors share their weights with the one it is made beside.
class ChoiceJudge {
public:
  /// With `kl`, the plans `score` (relaxed, with kl) and `logits` (base): the teacher runs once, here, and a choice
  /// goes on from the first layer in which it differs from the one before. Otherwise the plan `gates-forward`, which
  /// runs everything each time.
  static StatusOr<std::unique_ptr<ChoiceJudge>> create(const StageContext &context, const Executor &sharing,
                                                       const GateSpace &space, bool kl, const BatchStream &stream,
                                                       int64_t batches);

  /// The objective of each sample, nats with `kl`: the mean over the rows that the sample's answers have. Without `kl`
  /// a sample is a batch. The gates of the shared executors are left at the choice.
  StatusOr<std::vector<double>> measure(const Choice &choice, MeasureCost &cost);

  /// What the teacher's run took.
  const MeasureCost &teacherCost() const { return teacherCost_; }

private:
  ChoiceJudge(const StageContext &context, const GateSpace &space, const BatchStream &stream, int64_t batches)
      : processes_(*context.processes), space_(space), stream_(stream), count_(batches) {}
  Status runTeacher(const StageContext &context, const Executor &sharing);

  Processes &processes_;
  const GateSpace &space_;
  const BatchStream &stream_;
  int64_t count_; ///< Of batches.
  std::unique_ptr<Executor> executor_;
  bool kl_ = false;
  std::vector<JudgedBatch> batches_; ///< With kl: those that are this process'.
  MeasureCost teacherCost_;
};

/// The mean of `rows` [N] over each sample of the batch, weighted by the batch's weights.
std::vector<double> sampleMeans(const Batch &batch, const at::Tensor &rows);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_SELECT_CHOICEJUDGE_H
