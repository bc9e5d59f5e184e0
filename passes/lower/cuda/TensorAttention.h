// SPDX-License-Identifier: Apache-2.0
// Softmax attention of bf16 on tensor cores, forward and backward. Legend: see AttentionTiles.h.

#ifndef MORPH_PASSES_LOWER_CUDA_TENSORATTENTION_H
#define MORPH_PASSES_LOWER_CUDA_TENSORATTENTION_H

#include "passes/lower/cuda/AttentionTiles.h"

namespace morph {

/// The launches of morph.attention, where `shape.isForTensorCores()`.
void launchTensorAttention(DeviceFormCall &call, const AttentionShape &shape);
/// Those of morph.attention_grad.
void launchTensorAttentionGrad(DeviceFormCall &call, const AttentionShape &shape);

} // namespace morph

#endif // MORPH_PASSES_LOWER_CUDA_TENSORATTENTION_H
