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

/// Divides `sums` [B,T,H,W], of linear_attention, into its first result.
void launchNormaliser(DeviceFormCall &call, const RecurrenceShape &shape, const plan::LaunchArgument &sums);
/// The gradients of `sums` [B,T,H,W], f32, from those of what they are divided into, operand 0.
void launchNormaliserGradient(DeviceFormCall &call, const RecurrenceShape &shape, const plan::LaunchArgument &sums,
                              const plan::LaunchArgument &to);

} // namespace morph

#endif // MORPH_PASSES_LOWER_CUDA_LINEARATTENTIONFORM_H
