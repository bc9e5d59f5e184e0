// SPDX-License-Identifier: Apache-2.0
// Greedy: forward, from all layers linear the layer is kept that lowers the KL at the answers most, one at a time;
// backward, from all full the layer is made linear that raises it least.

#include "runtime/train/select/ForwardSearch.h"

namespace morph {

static StatusOr<Selection> selectGreedy(SelectorContext &context) {
  return growChoices(context, context.option == "backward" ? GrowthFrom::Full : GrowthFrom::Linear, /*width=*/1,
                     "select (greedy)");
}

static const SelectorRegistration greedyRegistration("greedy", selectGreedy);

} // namespace morph
