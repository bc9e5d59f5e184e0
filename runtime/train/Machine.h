// SPDX-License-Identifier: Apache-2.0
// What of the machine decides the bits of a result: sums of products are split by threads and by vector lengths.

#ifndef MORPH_RUNTIME_TRAIN_MACHINE_H
#define MORPH_RUNTIME_TRAIN_MACHINE_H

#include "runtime/base/Json.h"

#include <ATen/core/Tensor.h>

namespace morph {

/// Members: `device`, "cpu" or what a GPU runs by, its `target` and `device_bytes`, its memory; `threads`, the number
/// that LibTorch uses now; `instruction_set`, all that LibTorch, the libraries in it and our kernels look at when they
/// choose code: vendor and extensions of the CPU, and the environment variables that overrule them; `libtorch`, its
/// version, build settings and libraries; `products`, the libraries that matrix products choose among. Errors: a GPU
/// that is too old, or has no cuBLASLt.
StatusOr<Json> describeMachine(at::Device device);

} // namespace morph

#endif // MORPH_RUNTIME_TRAIN_MACHINE_H
