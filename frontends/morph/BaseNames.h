// SPDX-License-Identifier: Apache-2.0
// What every mixer knows of the model that is converted: sizes, facts and weights by name.

#ifndef MORPH_FRONTENDS_MORPH_BASENAMES_H
#define MORPH_FRONTENDS_MORPH_BASENAMES_H

#include "frontends/morph/Types.h"

namespace morph::language {

/// A size or fact: a name and what it is.
struct BaseName {
  llvm::StringRef name;
  ValueKind kind = ValueKind::Scalar;
  llvm::StringRef summary;
};

/// M, H, G and D.
llvm::ArrayRef<BaseName> getBaseSizes();
/// "base.layer", "base.qk_norm", ...
llvm::ArrayRef<BaseName> getBaseFacts();

/// A weight of the base, which first values are copied of.
struct BaseWeight {
  llvm::StringRef name;               ///< Without `base.`.
  std::vector<llvm::StringRef> sizes; ///< Products of M, H, G and D.
  llvm::StringRef condition;          ///< Under which the base has it.
};
llvm::ArrayRef<BaseWeight> getBaseWeights();

} // namespace morph::language

#endif // MORPH_FRONTENDS_MORPH_BASENAMES_H
