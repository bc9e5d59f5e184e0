// SPDX-License-Identifier: Apache-2.0
// Beam search: greedy forward with the best N choices of each size kept, as PostNAS searches its once-for-all network
// (Jet-Nemotron, arXiv 2508.15884).

#include "runtime/train/select/ForwardSearch.h"

#include <algorithm>

namespace morph {

static StatusOr<Selection> selectBeam(SelectorContext &context) {
  const int64_t width = context.option.empty() ? 4 : std::max<int64_t>(1, std::stoll(context.option));
  return growChoices(context, GrowthFrom::Linear, width, "select (beam)");
}

static const SelectorRegistration beamRegistration("beam", selectBeam);

} // namespace morph
