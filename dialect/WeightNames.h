// SPDX-License-Identifier: Apache-2.0
// Names that weights of mixers can have: a checkpoint's names are paths of attributes of PyTorch's modules.

#ifndef MORPH_DIALECT_WEIGHTNAMES_H
#define MORPH_DIALECT_WEIGHTNAMES_H

#include "llvm/ADT/StringRef.h"

namespace morph {

/// The first part of a dotted name that modules of PyTorch have as an attribute of their own, so that no weight can be
/// found under it: `half`, `q.forward`, what begins with '_'. Empty where there is none.
llvm::StringRef findModuleAttribute(llvm::StringRef weight);

} // namespace morph

#endif // MORPH_DIALECT_WEIGHTNAMES_H
