// SPDX-License-Identifier: Apache-2.0
// KL-guided layer selection (arXiv 2512.20569) without its training: from all layers linear, the layers that alone give
// the lowest KL to the teacher on general text.

#include "runtime/train/select/SingleChanges.h"

namespace morph {

static StatusOr<Selection> selectKl(SelectorContext &context) {
  return selectByAdding(context, ScoredData::Text, "select (kl)");
}

static const SelectorRegistration registration("kl", selectKl);

} // namespace morph
