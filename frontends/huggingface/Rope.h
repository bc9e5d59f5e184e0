// SPDX-License-Identifier: Apache-2.0
// Rotary frequencies as Hugging Face configurations describe them.

#ifndef MORPH_FRONTENDS_HUGGINGFACE_ROPE_H
#define MORPH_FRONTENDS_HUGGINGFACE_ROPE_H

#include "frontends/ModelConfig.h"
#include "frontends/huggingface/JsonFile.h"

namespace morph {

/// Frequencies theta^(-2i/headDim) without scaling.
RopeConfig makeRope(double theta, int64_t headDim);

/// Reads `rope_parameters` (transformers 5), or `rope_theta` with `rope_scaling` (before), of the types default,
/// linear, llama3 and yarn; formulas as in transformers' modeling_rope_utils. Other types are refused by name. Prints
/// errors.
std::optional<RopeConfig> readRope(const JsonFile &config, int64_t headDim, int64_t maxPositions);

} // namespace morph

#endif // MORPH_FRONTENDS_HUGGINGFACE_ROPE_H
