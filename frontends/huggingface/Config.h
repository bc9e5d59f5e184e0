// SPDX-License-Identifier: Apache-2.0
// config.json of a Hugging Face folder as a ModelConfig.

#ifndef MORPH_FRONTENDS_HUGGINGFACE_CONFIG_H
#define MORPH_FRONTENDS_HUGGINGFACE_CONFIG_H

#include "frontends/ModelConfig.h"
#include "frontends/huggingface/JsonFile.h"
#include "frontends/huggingface/Rope.h"

namespace morph {

/// Reads the configuration of a model of one of the families, or of a hybrid that Morph exported. `context` is what a
/// spec asks for; a base alone can have one. What would change the mathematics and is not supported is refused by name.
/// Prints errors, and returns nothing after one.
std::optional<ModelConfig> readModelConfig(const JsonFile &config, Diagnostics &diagnostics,
                                           const std::optional<ContextRequest> &context = std::nullopt);

} // namespace morph

#endif // MORPH_FRONTENDS_HUGGINGFACE_CONFIG_H
