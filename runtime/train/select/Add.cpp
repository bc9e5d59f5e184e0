// SPDX-License-Identifier: Apache-2.0
// Single add: a layer is worth what it lowers the KL at the answers by, where it alone keeps full attention:
// s_i = KL(all linear) - KL(all linear but i). The ranking of KL-guided layer selection (arXiv 2512.20569), which finds
// adding to all linear better than taking from all full, without its training and on the answers of tasks.

#include "runtime/train/select/SingleChanges.h"

namespace morph {

static StatusOr<Selection> selectAdd(SelectorContext &context) {
  return selectByAdding(context, ScoredData::Tasks, "select (add)");
}

static const SelectorRegistration addRegistration("add", selectAdd);

} // namespace morph
