// SPDX-License-Identifier: Apache-2.0
// Learning-rate schedules.

#ifndef MORPH_RUNTIME_TRAIN_SCHEDULE_H
#define MORPH_RUNTIME_TRAIN_SCHEDULE_H

#include "runtime/base/Status.h"

#include <cstdint>
#include <string>

namespace morph {

/// The learning rate of each step.
struct Schedule {
  enum class Kind {
    Constant,         ///< `peak` after the warm-up.
    Cosine,           ///< From `peak` after the warm-up to `end` at the last step, half a cosine.
    Linear,           ///< The same in a straight line.
    WarmFlatCooldown, ///< 20 % up from zero, 60 % at `peak`, 20 % down to `end`; `warmup` is not read.
  };
  Kind kind = Kind::Constant;
  double peak = 1e-3;
  double end = 0;
  int64_t warmup = 0; ///< Steps over which the rate rises linearly to `peak`.
  int64_t steps = 1;  ///< Length of the run.

  /// The rate of step `step`, counted from 0. Step i of a warm-up of w has peak * (i + 1) / w.
  double rate(int64_t step) const;
};

/// "constant", "cosine", "linear" or "warm_flat_cooldown".
StatusOr<Schedule::Kind> parseScheduleKind(const std::string &name);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_SCHEDULE_H
