// SPDX-License-Identifier: Apache-2.0
// Learning-rate schedules.

#ifndef MORPH_RUNTIME_TRAIN_SCHEDULE_H
#define MORPH_RUNTIME_TRAIN_SCHEDULE_H

#include "runtime/spec/Spec.h"

namespace morph {

/// The learning rate of each step.
struct Schedule {
  /// Constant: `peak` after the warm-up. Cosine: from `peak` after the warm-up to `end` at the last step, half a
  /// cosine. Linear: the same in a straight line. WarmFlatCooldown: 20 % up from zero, 60 % at `peak`, 20 % down to
  /// `end`; `warmup` is not read.
  using Kind = OptimizerSpec::Schedule;
  Kind kind = Kind::Constant;
  double peak = 1e-3;
  double end = 0;
  int64_t warmup = 0; ///< Steps over which the rate rises linearly to `peak`.
  int64_t steps = 1;  ///< Length of the run.

  /// The rate of step `step`, counted from 0. Step i of a warm-up of w has peak * (i + 1) / w.
  double rate(int64_t step) const;
  /// Steps over which it rises at the beginning.
  int64_t rise() const;
};

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_SCHEDULE_H
