// SPDX-License-Identifier: Apache-2.0
// How long the compiler takes from a model's config to all plans of a run, and each of its passes.

#ifndef MORPH_TOOLS_MORPH_COMPILEBENCH_H
#define MORPH_TOOLS_MORPH_COMPILEBENCH_H

#include "tools/morph/BenchModel.h"

namespace morph {

/// Compiles everything `repeat` times, each in a fresh folder: median_seconds and spread ((largest - least) / median)
/// of all together, `programs`: seconds of each plan with the phases that no earlier one needed, `passes`: seconds of
/// each pass on the way to the largest program, gates. Medians; programs start, read and write files within them.
StatusOr<nlohmann::ordered_json> benchCompiler(const Toolchain &tools, const BenchModel &model, int64_t repeat);

} // namespace morph

#endif // MORPH_TOOLS_MORPH_COMPILEBENCH_H
