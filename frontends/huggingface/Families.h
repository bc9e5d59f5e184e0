// SPDX-License-Identifier: Apache-2.0
// What architectures of Hugging Face's transformers differ in, as data. A new one is an entry of Families.cpp.

#ifndef MORPH_FRONTENDS_HUGGINGFACE_FAMILIES_H
#define MORPH_FRONTENDS_HUGGINGFACE_FAMILIES_H

#include "frontends/ModelConfig.h"
#include "frontends/huggingface/JsonFile.h"

namespace morph {

/// How config.json says which layers have a sliding window.
enum class WindowRule {
  None,       ///< None has one: `sliding_window` is refused.
  Everywhere, ///< All have the one that is given, if any.
  IfUsed,     ///< Where `use_sliding_window`: by `layer_types`, else the layers from `max_window_layers` on.
  LayerTypes, ///< By `layer_types`, else by the family's pattern.
};

/// An architecture: how its config.json is read, beside what all have in common. The defaults are those of llama, and
/// of the configuration class in transformers where config.json does not say.
struct Family {
  std::string name; ///< `model_type`.

  double normEps = 1e-6;
  double ropeTheta = 1e4;
  std::optional<int64_t> headDim; ///< Nothing: hidden_size / num_attention_heads.
  bool tied = false;
  std::string activationKey = "hidden_act", activation = "silu";

  bool qkvBias = false;       ///< Always, of q, k and v.
  bool attentionBias = false; ///< `attention_bias` sets the biases of all four projections.
  QkNorm qkNorm = QkNorm::None;
  NormPlacement norms = NormPlacement::Before;
  double normOffset = 0;        ///< What norms add to their weights.
  bool scalesEmbedding = false; ///< By sqrt(hidden_size).

  WindowRule windows = WindowRule::None;
  int64_t window = 0; ///< Where config.json has no `sliding_window`.
  /// WindowRule::LayerTypes: whether a layer has the window where there are no `layer_types`. Nothing after an error.
  std::optional<bool> (*hasWindow)(const JsonFile &config, int64_t layer) = nullptr;

  bool rotatesPartly = false; ///< `partial_rotary_factor` is the share of a head that is rotated.
  /// Layers with windows have a rope table of their own: `rope_parameters` has an object for each layer type.
  bool ropeByLayerType = false;
  std::string windowThetaKey; ///< Where, before transformers 5, the theta of those layers stood.
  double windowTheta = 0;

  /// Tensors of the checkpoint that are several weights of a layer.
  std::vector<FusedWeights> fused;

  /// Members that other families refuse.
  std::vector<std::string> members;
  /// Reads what is the family's alone, once all else is read. False after an error.
  bool (*readMore)(const JsonFile &config, ModelConfig &model) = nullptr;
};

/// All families, in the order in which messages name them.
const std::vector<Family> &getFamilies();

} // namespace morph

#endif // MORPH_FRONTENDS_HUGGINGFACE_FAMILIES_H
