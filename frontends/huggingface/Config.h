// SPDX-License-Identifier: Apache-2.0
// config.json of a Hugging Face folder as a ModelConfig.

#ifndef MORPH_FRONTENDS_HUGGINGFACE_CONFIG_H
#define MORPH_FRONTENDS_HUGGINGFACE_CONFIG_H

#include "frontends/ModelConfig.h"
#include "frontends/huggingface/JsonFile.h"

namespace morph {

/// Reads the configuration of a llama, mistral, qwen2 or qwen3 model, or of a hybrid that Morph exported. What would
/// change the mathematics and is not supported is refused by name. Prints errors, and returns nothing after one.
std::optional<ModelConfig> readModelConfig(const JsonFile &config);

} // namespace morph

#endif // MORPH_FRONTENDS_HUGGINGFACE_CONFIG_H
