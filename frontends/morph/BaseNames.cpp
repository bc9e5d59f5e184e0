// SPDX-License-Identifier: Apache-2.0

#include "frontends/morph/BaseNames.h"

using namespace morph::language;

llvm::ArrayRef<BaseName> morph::language::getBaseSizes() {
  static constexpr BaseName sizes[] = {
      {"M", ValueKind::Scalar, "the model's hidden size"},
      {"H", ValueKind::Scalar, "query heads"},
      {"G", ValueKind::Scalar, "key-value heads of the base"},
      {"D", ValueKind::Scalar, "elements of a head"},
  };
  return sizes;
}

llvm::ArrayRef<BaseName> morph::language::getBaseFacts() {
  static constexpr BaseName facts[] = {
      {"base.qkv_bias", ValueKind::Condition, "the base's query, key and value projections have biases"},
      {"base.o_bias", ValueKind::Condition, "the base's output projection has a bias"},
      {"base.qk_norm", ValueKind::Condition, "the base normalises queries and keys"},
      {"base.qk_norm_wide", ValueKind::Condition, "those norms are of all heads together, not of each"},
      {"base.norm_eps", ValueKind::Scalar, "epsilon of the base's RMS norms"},
      {"base.qk_norm_eps", ValueKind::Scalar, "epsilon of the norms of queries and keys"},
      {"base.qk_norm_offset", ValueKind::Scalar, "what is added to the weights of these norms"},
      {"base.scale", ValueKind::Scalar, "factor of the layer's attention scores"},
      {"base.softcap", ValueKind::Scalar, "bound of the layer's attention scores; 0 where there is none"},
      {"base.layer", ValueKind::Scalar, "index of the layer that the mixer stands in, from 0"},
      {"base.layers", ValueKind::Scalar, "number of the model's layers"},
      {"base.window", ValueKind::Scalar,
       "positions that the layer's full attention sees; the largest size where it sees all"},
  };
  return facts;
}

llvm::ArrayRef<BaseWeight> morph::language::getBaseWeights() {
  static const BaseWeight weights[] = {
      {"q_proj.weight", {"HD", "M"}, ""},       {"k_proj.weight", {"GD", "M"}, ""},
      {"v_proj.weight", {"GD", "M"}, ""},       {"o_proj.weight", {"M", "HD"}, ""},
      {"q_proj.bias", {"HD"}, "base.qkv_bias"}, {"k_proj.bias", {"GD"}, "base.qkv_bias"},
      {"v_proj.bias", {"GD"}, "base.qkv_bias"}, {"o_proj.bias", {"M"}, "base.o_bias"},
      {"q_norm.weight", {"D"}, "base.qk_norm"}, {"k_norm.weight", {"D"}, "base.qk_norm"},
  };
  return weights;
}
