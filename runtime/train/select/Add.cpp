// SPDX-License-Identifier: Apache-2.0
// Single add: a layer is worth what it lowers the KL at the answers by, where it alone keeps full attention.

#include "runtime/train/select/SingleChanges.h"

namespace morph {

static StatusOr<Selection> selectAdd(SelectorContext &context) {
  return selectByAdding(context, ScoredData::Tasks, "select (add)");
}

static const SelectorRegistration addRegistration("add", selectAdd);

} // namespace morph
