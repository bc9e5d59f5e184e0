// SPDX-License-Identifier: Apache-2.0
#ifndef MORPH_PASSES_LOWER_CUDA_LINEARATTENTIONFORM_H
#define MORPH_PASSES_LOWER_CUDA_LINEARATTENTIONFORM_H

#include "passes/lower/cuda/RecurrenceSteps.h"

namespace morph {

/// Where the results of the recurrence go; those that are absent are not computed.
struct RecurrenceOutputs {
  std::optional<plan::LaunchArgument> out; ///< [B,T,H,W], not yet divided by the sums of a normaliser.
  std::optional<plan::LaunchArgument> finalState, states, written;
};

/// Launches the recurrence from its first position to its last.
void launchRecurrence(DeviceFormCall &call, const RecurrenceShape &shape, const RecurrenceOutputs &outputs);

} // namespace morph

#endif // MORPH_PASSES_LOWER_CUDA_LINEARATTENTIONFORM_H
