// SPDX-License-Identifier: Apache-2.0
// Low-rank adapters at the end of the stage that trained them.

#ifndef MORPH_RUNTIME_TRAIN_ADAPTERS_H
#define MORPH_RUNTIME_TRAIN_ADAPTERS_H

#include "runtime/train/StageContext.h"

namespace morph {

/// The trained weights of an executor as tensors of the CPU, to write: its masters, but in the place of each adapter
/// (plan::kAdapterDown and kAdapterUp of a module) the module's weight W + up down, in the masters' type. `context` has
/// the weights that the executor was made on. Errors: a weight that cannot be read.
StatusOr<std::map<std::string, at::Tensor>> mergedWeights(const StageContext &context, Executor &executor);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_ADAPTERS_H
