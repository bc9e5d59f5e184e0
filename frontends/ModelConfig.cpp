// SPDX-License-Identifier: Apache-2.0

#include "frontends/ModelConfig.h"

using namespace morph;

llvm::StringRef morph::getWeightTypeName(WeightType type) {
  switch (type) {
  case WeightType::F32:
    return "F32";
  case WeightType::F16:
    return "F16";
  case WeightType::BF16:
    return "BF16";
  }
  return "";
}

bool ModelConfig::isHybrid() const {
  for (const LayerConfig &layer : layers)
    if (!layer.isSoftmax())
      return true;
  return false;
}
