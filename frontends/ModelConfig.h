// SPDX-License-Identifier: Apache-2.0
// What a model is, whatever file it was read from: the input of ModelBuilder.

#ifndef MORPH_FRONTENDS_MODELCONFIG_H
#define MORPH_FRONTENDS_MODELCONFIG_H

#include "runtime/plan/SizeLimits.h"

#include "llvm/Support/JSON.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace morph {

/// Numbers that are allowed, both ends included.
struct IntegerRange {
  int64_t minimum;
  int64_t maximum;
};
struct NumberRange {
  double minimum;
  double maximum;
};

/// Limits of models, within those of the dialect and many times the sizes of the largest that are known, so that what
/// passes here passes the verifiers. The rows of [pretrain.base] in SchemaTable.cpp say the same.
inline constexpr IntegerRange kLayerRange{1, limits::kLayers};
inline constexpr IntegerRange kHiddenRange{1, 1 << 17};
inline constexpr IntegerRange kFfnRange{1, 1 << 20};
inline constexpr IntegerRange kVocabRange{1, 1 << 24};
inline constexpr IntegerRange kExpertRange{1, 1 << 14};
inline constexpr IntegerRange kHeadRange{1, limits::kHeads};
inline constexpr IntegerRange kHeadDimRange{2, limits::kHeadDim};
inline constexpr IntegerRange kPositionRange{1, int64_t(1) << 31};
/// Windows of attention; 0 stands for none where that is said.
inline constexpr IntegerRange kWindowRange{1, limits::kDimension};
inline constexpr IntegerRange kOptionalWindowRange{0, limits::kDimension};
/// Epsilons that are not lost in fp32.
inline constexpr NumberRange kNormEpsRange{1e-20, 1};
/// A base of rotary frequencies at or below 1 would make them rise.
inline constexpr NumberRange kRopeThetaRange{1.0001, 1e15};

/// Element types of weights that are read; as in safetensors headers.
enum class WeightType { F32, F16, BF16 };

/// "F32", "F16", "BF16".
llvm::StringRef getWeightTypeName(WeightType type);

/// What the feed-forward networks' gate goes through.
enum class Activation { Silu, GeluTanh, QuickGelu };

/// What of queries and keys is normalised: nothing, each head, or all heads together.
enum class QkNorm { None, Heads, Width };

/// Where a layer's norms stand: before its sublayers, after them (before what they give is added to the residual
/// stream), or both.
enum class NormPlacement { Before, After, Both };

/// Rotary position embedding: inverse frequencies with all scaling applied, for the first elements of a head, two each,
/// and the factor that multiplies sine and cosine.
struct RopeConfig {
  std::string name = "rope"; ///< Of the table in the IR.
  std::vector<double> inverseFrequencies;
  double attentionFactor = 1;
};

/// The token mixer of one layer.
struct LayerConfig {
  /// 'full', or the name of a declared mixer.
  std::string kind = "full";
  /// Positions that full attention sees, the own one included; 0: all.
  int64_t window = 0;
  /// The place of its rope table in ModelConfig::ropes; nothing where no positions are rotated.
  std::optional<size_t> rope = 0;
  /// Declared mixers: the last part of their weights' prefix, and their options as far as they are given.
  std::string weights;
  llvm::json::Object options;

  bool isSoftmax() const { return kind == "full"; }
};

/// Weights of a layer that a checkpoint has as one tensor, the rows of one after those of the other. Names without the
/// layer's prefix.
struct FusedWeights {
  std::string tensor;
  std::vector<std::string> weights;
};

/// Mixtures of experts in the places of some layers' feed-forward networks (Qwen3-MoE, arXiv 2505.09388): `active` of
/// `count` gated networks of `inner` channels a token, by the softmax of a router.
struct ExpertsConfig {
  int64_t count = 0, active = 0, inner = 0;
  bool normalised = false;  ///< The shares of the active ones add up to one.
  std::vector<bool> layers; ///< Which layers have them.
  bool areSeparate = false; ///< The checkpoint has each expert's matrices as tensors of their own.
};

/// How new weights start, for a base that is made and not read.
struct InitConfig {
  double embeddingStd = 0;
  double outputScale = 0;
};

/// A decoder-only Transformer with a gated feed-forward network and RMS norms, or a hybrid made from one.
struct ModelConfig {
  std::string architecture; ///< A `model_type` of transformers: huggingface/Families.cpp.
  int64_t vocab = 0;
  int64_t hidden = 0;
  int64_t ffn = 0;
  int64_t heads = 0;
  int64_t kvHeads = 0;
  int64_t headDim = 0;
  int64_t maxPositions = 0;
  double normEps = 0;
  Activation activation = Activation::Silu;
  bool qkvBias = false;
  bool outputBias = false;
  QkNorm qkNorm = QkNorm::None;
  NormPlacement norms = NormPlacement::Before;
  double normOffset = 0;       ///< Norms multiply by their weight plus this.
  double embeddingScale = 1;   ///< Of the embedding's rows, not of the head that is tied to it.
  double attentionScale = 0;   ///< Of scores; 0: head_dim ^ -0.5.
  double attentionSoftcap = 0; ///< Scores s become c tanh(s / c); 0: none.
  double logitSoftcap = 0;     ///< The same of logits.
  bool tied = false;
  std::vector<RopeConfig> ropes;
  std::vector<FusedWeights> fused;
  std::optional<ExpertsConfig> experts;
  double ropeTheta = 0; ///< Of a base that is made.
  std::vector<LayerConfig> layers;
  /// Element type of the weights where no checkpoint says it.
  WeightType weightType = WeightType::BF16;
  /// config.json, its RoPE parameters for `maxPositions`.
  llvm::json::Object source;
  /// Present for a base that is made: every weight has an initial value.
  std::optional<InitConfig> init;
  /// Hybrids: the epsilon of the linear mixers' output norm.
  double mixerNormEps = 0;

  int64_t getLayerCount() const { return static_cast<int64_t>(layers.size()); }
  /// Whether some layer has linear attention.
  bool isHybrid() const;
};

} // namespace morph

#endif // MORPH_FRONTENDS_MODELCONFIG_H
