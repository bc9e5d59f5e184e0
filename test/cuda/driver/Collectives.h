// SPDX-License-Identifier: Apache-2.0
// What the lanes of a warp do together, on their operands and results: shuffles, votes, products of matrices.

#ifndef MORPH_TEST_CUDA_DRIVER_COLLECTIVES_H
#define MORPH_TEST_CUDA_DRIVER_COLLECTIVES_H

#include "test/cuda/driver/Prelude.h"

namespace morph::standin {

/// Runs a collective of `mask` (lanes that exist) on the 32 threads from `lanes` on. Not the barrier and not the loads
/// of matrices. Products are summed in double and rounded toward zero, for tensor cores truncate: what they give lies
/// within 2^-22 of the sum of all magnitudes, on the side of zero.
void runCollective(uint32_t kind, MorphThread *lanes, uint32_t mask);

} // namespace morph::standin

#endif // MORPH_TEST_CUDA_DRIVER_COLLECTIVES_H
