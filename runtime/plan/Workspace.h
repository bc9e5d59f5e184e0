// SPDX-License-Identifier: Apache-2.0
// The scratch memory that kernels work in, as functions of sizes alone: what a planner lays out and a kernel is given.
// Bytes; every piece starts at a multiple of 64.

#ifndef MORPH_RUNTIME_PLAN_WORKSPACE_H
#define MORPH_RUNTIME_PLAN_WORKSPACE_H

#include <algorithm>
#include <cstdint>

namespace morph::plan {

/// What `bytes` take where each piece starts at a multiple of 64.
inline constexpr int64_t alignedBytes(int64_t bytes) { return (bytes + 63) / 64 * 64; }

/// Rows of a product that go through the workspace at once.
inline constexpr int64_t kGemmWorkspaceRows = 256;

/// Of a product [m,n] (runtime/kernels/Gemm.h) that has an epilogue or a bf16 result: sums before they are stored, of
/// `sumBytes` each (4; 8 for fp64). Other products need none.
inline constexpr int64_t gemmWorkspace(int64_t m, int64_t n, int64_t sumBytes = 4) {
  return alignedBytes(std::min(m, kGemmWorkspaceRows) * n * sumBytes);
}

} // namespace morph::plan

#endif // MORPH_RUNTIME_PLAN_WORKSPACE_H
