// SPDX-License-Identifier: Apache-2.0
// The scratch memory of kernels, by sizes alone: it is planned like values, and kernels take what these say.

#ifndef MORPH_RUNTIME_PLAN_SCRATCH_H
#define MORPH_RUNTIME_PLAN_SCRATCH_H

#include "runtime/plan/Buffers.h"

namespace morph::plan {

/// Bytes of scratch that the kernel of an instruction takes while it runs; 0 for most. A launch takes the
/// rowSumWorkspace of its sums over rows, in order.
int64_t scratchBytes(const Plan &plan, const Instruction &instruction, const std::vector<std::vector<int64_t>> &shapes,
                     const RunMode &mode);

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_SCRATCH_H
