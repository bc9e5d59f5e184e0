// SPDX-License-Identifier: Apache-2.0
// First values of weights that the teacher's activations give (`calibrate` of the mixer language).

#ifndef MORPH_RUNTIME_TRAIN_CALIBRATE_H
#define MORPH_RUNTIME_TRAIN_CALIBRATE_H

#include "runtime/train/StageContext.h"

namespace morph {

struct Calibration {
  NamedTensors values; ///< Of weights, by name; empty where no mixer asks, or where `align.calibration` is 0.
  int64_t batches = 0, tokens = 0;
  double flops = 0, seconds = 0;
  bool interrupted = false; ///< A signal came: nothing else is valid.
};

/// Runs the plan `calibrate` on the first batches of stage align, if the stage has it: each output is the first value
/// of the weight of its name, averaged over the batches. Leaves a checkpoint, of which a later call takes them; says so
/// in a line on stderr and in metrics.jsonl. Errors: a value that is not finite, with the weight's name.
StatusOr<Calibration> calibrate(const StageContext &context, const BatchStream &stream);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_CALIBRATE_H
