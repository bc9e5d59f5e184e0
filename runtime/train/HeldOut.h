// SPDX-License-Identifier: Apache-2.0
// The loss of a training program on data that no stage trains on.

#ifndef MORPH_RUNTIME_TRAIN_HELDOUT_H
#define MORPH_RUNTIME_TRAIN_HELDOUT_H

#include "runtime/train/StageContext.h"

namespace morph {

/// A program's `loss`, and each element of its `layer_loss` where it has one, over batches.
struct HeldOutLoss {
  std::vector<double> losses; ///< One a batch.
  double loss = 0;            ///< Their mean.
  double standardError = 0;   ///< Over batches; 0 for one batch.
  std::vector<double> layerLoss, layerStandardErrors;
  int64_t tokens = 0;
  double flops = 0;
  double seconds = 0;
  bool interrupted = false; ///< A signal came: what was measured is in the checkpoint; nothing else is valid.
};

/// Where a measurement keeps the batches that are done, so that a stopped one goes on.
struct HeldOutCheckpoint {
  std::string path;
  std::string fingerprint; ///< Of what the numbers depend on.
  std::string label;       ///< Of the progress line.
};

/// Operations of one run of the program on these inputs (plan::estimateCost).
StatusOr<double> batchFlops(const plan::Plan &plan, const NamedTensors &inputs,
                            const std::vector<plan::Step> &steps = {});

/// The batches of a source that tell their operations; those of batches of one size are counted once. It refers to the
/// plan.
BatchSource countingFlops(BatchSource source, const plan::Plan &plan);

/// Runs `executor`, of a training program without its gradients, on the first `batches` batches. With a checkpoint,
/// batches that it holds are not run again, each new one is added to it, and signals stop between batches. Batches are
/// dealt out to `processes`, which may be null: one; all of them get all losses. Errors: a plan without `loss`, a loss
/// that is not finite.
StatusOr<HeldOutLoss> heldOutLoss(Executor &executor, const BatchSource &source, int64_t batches,
                                  const HeldOutCheckpoint *checkpoint = nullptr, Processes *processes = nullptr);
/// The same on the batches of a stream as they are.
StatusOr<HeldOutLoss> heldOutLoss(Executor &executor, const BatchStream &stream, int64_t batches,
                                  const HeldOutCheckpoint *checkpoint = nullptr, Processes *processes = nullptr);

/// Mean and standard error (standard deviation over the root of the count; 0 for one value).
struct MeanAndError {
  double mean = 0, standardError = 0;
};
/// Of values that are samples of one quantity.
MeanAndError meanAndError(const std::vector<double> &values);

/// The 97.5 % point of Student's distribution, for the mean of `count` values: within so many standard errors of it the
/// truth lies with 95 %. Infinite for fewer than two.
double studentFactor(size_t count);

/// Mean and standard error of values[i] - reference[i]: both of the same samples, in the same order.
MeanAndError pairedDifference(const std::vector<double> &values, const std::vector<double> &reference);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_HELDOUT_H
