// SPDX-License-Identifier: Apache-2.0
// Greedy: forward, from all layers linear the layer is kept that lowers the KL at the answers most, one at a time:
// S <- S + argmin_i KL(S + i) (sequential selection: Whitney, IEEE Transactions on Computers C-20, 1971); backward,
// from all full the layer is made linear that raises it least: S <- S - argmin_i KL(S - i) (Marill and Green, IEEE
// Transactions on Information Theory 9, 1963). S are the full layers.

#include "runtime/train/select/ForwardSearch.h"

namespace morph {

static StatusOr<Selection> selectGreedy(SelectorContext &context) {
  return growChoices(context, context.option == "backward" ? GrowthFrom::Full : GrowthFrom::Linear, /*width=*/1,
                     "select (greedy)");
}

static const SelectorRegistration greedyRegistration("greedy", selectGreedy);

} // namespace morph
