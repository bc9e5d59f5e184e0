// SPDX-License-Identifier: Apache-2.0
// The selectors that a spec asks for, and the programs that they measure with.

#ifndef MORPH_TOOLS_MORPH_SELECTION_H
#define MORPH_TOOLS_MORPH_SELECTION_H

#include "runtime/choice/Selectors.h"
#include "runtime/spec/Spec.h"

namespace morph {

/// `select.method`, and then the baselines'. Errors: a name that is no selector's.
StatusOr<std::vector<SelectorName>> selectorsOf(const ResolvedSpec &resolved);

/// What any of them runs on the relaxed model.
struct SelectionPrograms {
  bool gates = false;  ///< `gates`, and without its backward.
  bool scores = false; ///< `score` with the KL, and the teacher's `logits`.
};
StatusOr<SelectionPrograms> selectionPrograms(const ResolvedSpec &resolved);

/// A baseline's name in those of files: selectors' names may have a colon.
std::string variantOf(std::string method);

} // namespace morph

#endif // MORPH_TOOLS_MORPH_SELECTION_H
