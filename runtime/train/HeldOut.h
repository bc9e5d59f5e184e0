// SPDX-License-Identifier: Apache-2.0
// The loss of a training program on data that no stage trains on.

#ifndef MORPH_RUNTIME_TRAIN_HELDOUT_H
#define MORPH_RUNTIME_TRAIN_HELDOUT_H

#include "runtime/train/StageContext.h"

namespace morph {

/// Mean of a program's `loss`, and of each element of `layer_loss` where it has one, over batches.
struct HeldOutLoss {
  double loss = 0;
  double standardError = 0; ///< Over batches.
  std::vector<double> layerLoss, layerStandardErrors;
  int64_t tokens = 0;
  double flops = 0;
};

/// Operations of one run of the program on these inputs (plan::estimateCost).
StatusOr<double> batchFlops(const plan::Plan &plan, const NamedTensors &inputs);

/// Runs `executor` on the first `batches` batches of the stream. Gradients that the program computes are dropped.
StatusOr<HeldOutLoss> heldOutLoss(Executor &executor, const BatchStream &stream, int64_t batches);

/// Mean and standard error (standard deviation over the root of the count; 0 for one value).
struct MeanAndError {
  double mean = 0, standardError = 0;
};
MeanAndError meanAndError(const std::vector<double> &values);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_HELDOUT_H
