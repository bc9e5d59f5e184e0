// SPDX-License-Identifier: Apache-2.0
// Softmax attention of bf16 on tensor cores, forward and backward. Legend: see AttentionTiles.h.

#ifndef MORPH_PASSES_LOWER_CUDA_TENSORATTENTION_H
#define MORPH_PASSES_LOWER_CUDA_TENSORATTENTION_H

#include "passes/lower/cuda/AttentionTiles.h"

namespace morph {

/// The launches of morph.attention, where `shape.isForTensorCores()`.
void launchTensorAttention(DeviceFormCall &call, const AttentionShape &shape, const AttentionOutputs &outputs);
/// Those of morph.attention_grad, which has found or been given what the forward leaves.
void launchTensorAttentionGrad(DeviceFormCall &call, const AttentionShape &shape, const AttentionOutputs &forward);

} // namespace morph

#endif // MORPH_PASSES_LOWER_CUDA_TENSORATTENTION_H
