// SPDX-License-Identifier: Apache-2.0
// Weights and inputs of a plan that nobody trained and nobody wrote: functions of a seed, the same on every machine.

#ifndef MORPH_RUNTIME_BENCH_SEEDEDDATA_H
#define MORPH_RUNTIME_BENCH_SEEDEDDATA_H

#include "runtime/exec/Executor.h"

namespace morph {

/// The weights of a model that are functions of the seed and their names: `model` is any plan that reads all of them
/// (score). Matrices are normal with the deviation that keeps the size of what goes through them, vectors are about
/// one, as norms' weights are. Each has the type that the plan gives it.
std::map<std::string, at::Tensor> seededWeights(const plan::Plan &model, uint64_t seed);

/// How large a run is.
struct RunSizes {
  int64_t batch = 1;
  int64_t length = 1024;
  int64_t context = 0;   ///< Positions in the caches.
  int64_t positions = 0; ///< Rows of each sequence that a loss reads: those before the last token.

  /// As resolveShapes and estimateCost take them, for a plan and its rings.
  std::map<std::string, int64_t> bound(const plan::Plan &plan) const;
};

/// Every input of the plan: tokens and targets even over the vocabulary, the positions as RunSizes says with equal
/// weights, caches normal, no padding. Errors: more positions than tokens, an input of an unknown kind.
StatusOr<NamedTensors> seededInputs(const plan::Plan &plan, const RunSizes &sizes, uint64_t seed);

} // namespace morph

#endif // MORPH_RUNTIME_BENCH_SEEDEDDATA_H
