// SPDX-License-Identifier: Apache-2.0
// What a relaxed model loses, sample by sample, with full attention in given layers only.

#ifndef MORPH_RUNTIME_TRAIN_SELECT_SUBSETJUDGE_H
#define MORPH_RUNTIME_TRAIN_SELECT_SUBSETJUDGE_H

#include "runtime/train/select/GateSpace.h"
#include "runtime/train/select/MeasuredSubsets.h"

namespace morph {

/// A batch that many subsets are measured on.
struct JudgedBatch {
  Batch batch;
  NamedTensors input; ///< What `score` reads, the teacher's logits too.
  std::vector<int64_t> kept;
  NamedTensors streams; ///< What went into each layer under `kept`, by output of `score`; empty: not known.

  /// Of these what goes into the layers up to the first one in which `next` differs.
  NamedTensors streamsBelow(const std::vector<int64_t> &next) const;
  /// Takes the streams of a run of `next`, copies of those that changed, where they are at most `mostBytes` in all.
  void keepStreams(const std::vector<int64_t> &next, const NamedTensors &outputs, int64_t mostBytes);
};

/// Measures subsets on the first sequences of a stream, the same for all: the objective of the gates, forward only. Its
/// executors share their weights with the one it is made beside.
class SubsetJudge {
public:
  /// With `kl`, the plans `score` (relaxed, with kl) and `logits` (base): the teacher runs once, here, and a subset
  /// goes on from the first layer in which it differs from the one before. Otherwise the plan `gates-forward`, which
  /// runs everything each time. `chosen` as in GateSpace::setSubset.
  static StatusOr<std::unique_ptr<SubsetJudge>> create(const StageContext &context, const Executor &sharing,
                                                       const GateSpace &space, std::vector<int64_t> chosen, bool kl,
                                                       const BatchStream &stream, int64_t batches);

  /// The objective of each sample, nats with `kl`: the mean over the rows that the sample's answers have. Without `kl`
  /// a sample is a batch. The gates of the shared executors are left at the subset.
  StatusOr<std::vector<double>> measure(const std::vector<int64_t> &kept, MeasureCost &cost);

  /// What the teacher's run took.
  const MeasureCost &teacherCost() const { return teacherCost_; }

private:
  SubsetJudge(const GateSpace &space, std::vector<int64_t> chosen, const BatchStream &stream, int64_t batches)
      : space_(space), chosen_(std::move(chosen)), stream_(stream), count_(batches) {}
  Status runTeacher(const StageContext &context, const Executor &sharing);

  const GateSpace &space_;
  std::vector<int64_t> chosen_;
  const BatchStream &stream_;
  int64_t count_; ///< Of batches.
  std::unique_ptr<Executor> executor_;
  std::vector<JudgedBatch> batches_; ///< With kl.
  MeasureCost teacherCost_;
};

/// The mean of `rows` [N] over each sample of the batch, weighted by the batch's weights.
std::vector<double> sampleMeans(const Batch &batch, const at::Tensor &rows);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_SELECT_SUBSETJUDGE_H
