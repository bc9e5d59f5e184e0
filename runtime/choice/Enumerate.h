// SPDX-License-Identifier: Apache-2.0
// The choices of a small space, one by one.

#ifndef MORPH_RUNTIME_CHOICE_ENUMERATE_H
#define MORPH_RUNTIME_CHOICE_ENUMERATE_H

#include "runtime/choice/Space.h"

#include <optional>

namespace morph {

/// All choices that satisfy the space, in the order of their candidates, layer by layer, so that neighbours have as
/// many first layers alike as there can be; nothing where there are more than `most`.
/// Errors: more states or work than `solve` takes.
StatusOr<std::optional<std::vector<Choice>>> allChoices(const ChoiceSpace &space, size_t most);

} // namespace morph

#endif // MORPH_RUNTIME_CHOICE_ENUMERATE_H
