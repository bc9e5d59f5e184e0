// SPDX-License-Identifier: Apache-2.0
// A declared mixer at a place as a class of PyTorch, which computes what MixerExpander writes in primitive ops.

#ifndef MORPH_PASSES_PYTORCH_CLASS_H
#define MORPH_PASSES_PYTORCH_CLASS_H

#include "dialect/MixerExpander.h"

#include <string>
#include <vector>

namespace morph::pytorch {

struct Class {
  std::string body; ///< What follows `class NAME(MorphMixer):`; ends with a line break.
  /// The states of decoding: names, and in words what they hold.
  std::vector<std::pair<std::string, std::string>> states;
};

/// The class uses names of tools/python/export/modeling_morph.py. Fails for an op that has no form in PyTorch.
mlir::FailureOr<Class> printClass(LinearMixerOp mixer);

} // namespace morph::pytorch

#endif // MORPH_PASSES_PYTORCH_CLASS_H
