// SPDX-License-Identifier: Apache-2.0
// The largest sizes that models may have. They are far above any real model's, and so small that no product of sizes
// the compiler makes (elements of a weight, operations and bytes of a mixer) leaves 64 bits, and that no loop over
// layers or heads is long: passes multiply and loop without further checks because the verifiers enforce these.

#ifndef MORPH_RUNTIME_PLAN_SIZELIMITS_H
#define MORPH_RUNTIME_PLAN_SIZELIMITS_H

#include <cstdint>

namespace morph::limits {

/// Layers of a model.
inline constexpr int64_t kLayers = 4096;
/// Query or key-value heads of a token mixer, and elements of one head.
inline constexpr int64_t kHeads = 8192;
inline constexpr int64_t kHeadDim = 8192;
/// Any dimension of a tensor, a window, and the rows of a table: hidden size, vocabulary, positions.
inline constexpr int64_t kDimension = (int64_t(1) << 31) - 1;
/// Positions that a linear attention computes together.
inline constexpr int64_t kChunk = 1024;
/// Elements of a weight: a projection of that many heads from a hidden size of 2^17, which is the frontends' limit.
inline constexpr int64_t kWeightElements = int64_t(1) << 43;

/// Dimensions of a kernel's row space.
inline constexpr int64_t kRowDimensions = 4;

} // namespace morph::limits

#endif // MORPH_RUNTIME_PLAN_SIZELIMITS_H
