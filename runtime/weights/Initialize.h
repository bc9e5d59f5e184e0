// SPDX-License-Identifier: Apache-2.0
// First values of weights that no checkpoint holds.

#ifndef MORPH_RUNTIME_WEIGHTS_INITIALIZE_H
#define MORPH_RUNTIME_WEIGHTS_INITIALIZE_H

#include "runtime/plan/Plan.h"

#include <ATen/ATen.h>

namespace morph {

/// The fp32 value (fp64 where `dtype` says so) of `weight`, whose `init` must be set. `source` is the tensor that
/// `copy` and `repeat_heads` read, undefined for the others. `normal` depends on the run's `seed` and the weight's name
/// only, not on what was made before or on the number of threads. Errors: a source of another shape.
StatusOr<at::Tensor> initialValue(const plan::Weight &weight, const at::Tensor &source, uint64_t seed,
                                  at::ScalarType dtype = at::kFloat);

/// Independent normal draws of mean 0 and the given standard deviation: element i is a function of (seed, name, i).
at::Tensor seededNormal(at::IntArrayRef shape, double deviation, uint64_t seed, const std::string &name,
                        at::ScalarType dtype = at::kFloat);

} // namespace morph

#endif // MORPH_RUNTIME_WEIGHTS_INITIALIZE_H
