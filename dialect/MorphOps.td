// SPDX-License-Identifier: Apache-2.0
// All ops of the `morph` dialect, one file a group.

#ifndef MORPH_OPS_TD
#define MORPH_OPS_TD

include "dialect/MorphModelOps.td"
include "dialect/MorphMixerOps.td"
include "dialect/MorphProgramOps.td"
include "dialect/MorphComputeOps.td"
include "dialect/MorphLossOps.td"
include "dialect/MorphGradientOps.td"
include "dialect/MorphUpdateOps.td"
include "dialect/MorphKernelOps.td"

#endif // MORPH_OPS_TD
