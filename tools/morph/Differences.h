// SPDX-License-Identifier: Apache-2.0
// The selected hybrid against the baselines, on the same samples; the models of two runs against each other.

#ifndef MORPH_TOOLS_MORPH_DIFFERENCES_H
#define MORPH_TOOLS_MORPH_DIFFERENCES_H

#include "runtime/base/Json.h"

namespace morph {

/// From the evaluation's rows (runtime/train/Stages.h): for each row of the model "selected", each baseline's row of
/// the same stage, task, length and depth, and each measure that both have, an object with after, task, length, depth,
/// baseline, measure (generated, teacher_forced, cross_entropy), difference (selected less baseline) and interval (95
/// %, paired by sample: runtime/base/Intervals.h; null where there is none). Recomputed from `by_sample` alone.
Json pairedDifferences(const Json &rows);

/// Two runs' rows that measure the same of models with the same names, where they are not the same: objects with model,
/// after, task, length, depth, measure, first and second (value, interval; null where a run has no such row), and,
/// where both draw the `sameSamples`, difference (second less first) and interval, paired by sample.
Json differencesBetween(const Json &first, const Json &second, bool sameSamples);

} // namespace morph

#endif // MORPH_TOOLS_MORPH_DIFFERENCES_H
