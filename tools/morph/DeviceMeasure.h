// SPDX-License-Identifier: Apache-2.0
// What this machine's GPU reaches, by a short run.

#ifndef MORPH_TOOLS_MORPH_DEVICEMEASURE_H
#define MORPH_TOOLS_MORPH_DEVICEMEASURE_H

#include "runtime/plan/DeviceModel.h"

namespace morph {

/// Copies memory and multiplies matrices on the first CUDA device for about a second, and takes what it reaches:
/// kernels of rows at their share of a copy (DeviceShares). Errors: "no CUDA device: REASON".
StatusOr<plan::DeviceModel> measureDevice();

} // namespace morph

#endif // MORPH_TOOLS_MORPH_DEVICEMEASURE_H
