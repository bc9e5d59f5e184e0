// SPDX-License-Identifier: Apache-2.0
// A declaration of a `.morph` file as IR.

#ifndef MORPH_FRONTENDS_MORPH_LOWER_H
#define MORPH_FRONTENDS_MORPH_LOWER_H

#include "dialect/MorphOps.h"
#include "frontends/morph/Check.h"

namespace morph::language {

/// Builds the `morph.mixer` of a declaration at the builder's insertion point. Places in
/// `diagnostics` become locations.
MixerOp lowerMixer(mlir::OpBuilder &builder, const CheckedMixer &mixer, const Diagnostics &diagnostics);

} // namespace morph::language

#endif // MORPH_FRONTENDS_MORPH_LOWER_H
