// SPDX-License-Identifier: Apache-2.0
// All passes on morph models: constructors, option structs and registration.

#ifndef MORPH_PASSES_PASSES_H
#define MORPH_PASSES_PASSES_H

#include "dialect/MorphOps.h"

#include "mlir/Pass/Pass.h"

namespace morph {

#define GEN_PASS_DECL
#include "passes/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "passes/Passes.h.inc"

/// Registers every pass of this folder with the command line of an opt tool.
inline void registerPasses() { registerMorphPasses(); }

} // namespace morph

#endif // MORPH_PASSES_PASSES_H
