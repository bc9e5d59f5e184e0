// SPDX-License-Identifier: Apache-2.0
// Beam search: greedy forward with the best N choices of each size kept, B_(k+1) = the N of least KL among S + i for S
// in B_k and layers i, as PostNAS searches its once-for-all network (Jet-Nemotron, arXiv 2508.15884).

#include "runtime/train/select/ForwardSearch.h"

namespace morph {

static StatusOr<Selection> selectBeam(SelectorContext &context) {
  return growChoices(context, GrowthFrom::Linear, beamWidth(context.option), "select (beam)");
}

static const SelectorRegistration beamRegistration("beam", selectBeam);

} // namespace morph
