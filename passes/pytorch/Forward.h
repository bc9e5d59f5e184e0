// SPDX-License-Identifier: Apache-2.0
// The body of a mixer as statements of Python.

#ifndef MORPH_PASSES_PYTORCH_FORWARD_H
#define MORPH_PASSES_PYTORCH_FORWARD_H

#include "passes/pytorch/Weights.h"

namespace morph::pytorch {

/// The lines of `forward(self, x, cache, rope, mask)`.
///
/// Products, convolutions and attention are in the type of x, everything else is in fp32 (`wide`), as in the runtime.
mlir::FailureOr<std::string> printForward(MixerExpander &expander, const Body &body, const Weights &weights,
                                          size_t indent);

} // namespace morph::pytorch

#endif // MORPH_PASSES_PYTORCH_FORWARD_H
