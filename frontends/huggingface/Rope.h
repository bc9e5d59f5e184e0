// SPDX-License-Identifier: Apache-2.0
// Rotary frequencies as Hugging Face configurations describe them.

#ifndef MORPH_FRONTENDS_HUGGINGFACE_ROPE_H
#define MORPH_FRONTENDS_HUGGINGFACE_ROPE_H

#include "frontends/ModelConfig.h"
#include "frontends/huggingface/Families.h"
#include "frontends/huggingface/JsonFile.h"

namespace morph {

/// Frequencies theta^(-2i/dimensions) without scaling, for that many elements of a head.
RopeConfig makeRope(double theta, int64_t dimensions);

/// Reads a family's `rope_parameters` (transformers 5), or `rope_theta` with `rope_scaling` (before), of the types
/// default, linear, llama3, yarn, and longrope and dynamic as `fixContext` leaves them; formulas as in transformers'
/// modeling_rope_utils. `ofWindows`: those of layers with windows, where the family has two. Other types are refused by
/// name. Prints errors.
std::optional<RopeConfig> readRope(const JsonFile &config, const Family &family, bool ofWindows, int64_t headDim);

/// The context that a spec asks for, and where it does.
struct ContextRequest {
  int64_t positions = 0;
  SourceRange place;
};

/// The configuration with RoPE parameters for the positions that are asked for, with which transformers computes one
/// table of frequencies whatever a sequence's length; `max_position_embeddings` is as many. Where none are asked for,
/// those that the base is made for, of longrope's and dynamic's those up to which transformers' table is the first one.
///
/// - default becomes yarn, with the factor that the context grows by;
/// - linear's and llama3's factor grows with the context, yarn's is the context over the original one;
/// - dynamic becomes default, with the theta that transformers would compute at that length;
/// - longrope takes its long factors for more than the original context, and never more than the base's own context.
///
/// Prints an error, at the request or in the configuration, and returns nothing after one.
std::optional<JsonFile> fixContext(const JsonFile &config, const Family &family, int64_t headDim,
                                   const std::optional<ContextRequest> &request, Diagnostics &diagnostics);

} // namespace morph

#endif // MORPH_FRONTENDS_HUGGINGFACE_ROPE_H
