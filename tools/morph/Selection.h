// SPDX-License-Identifier: Apache-2.0
// The selectors that a spec asks for, and the programs that they measure with.

#ifndef MORPH_TOOLS_MORPH_SELECTION_H
#define MORPH_TOOLS_MORPH_SELECTION_H

#include "runtime/choice/Selectors.h"
#include "runtime/spec/Spec.h"

#include <functional>
#include <map>

namespace morph {

/// A choice of layers that a run makes.
struct Variant {
  std::string name;   ///< In those of files: "selected", "greedy-forward".
  std::string label;  ///< For people: "gates+refine", "greedy:forward".
  ResolvedSpec spec;  ///< The run's, with the selector and the space that are this one's.
  std::string plans;  ///< Names the plans that it trains its gates with: "gates", or those of settings of its own.
  int64_t budget = 0; ///< Layers that keep full attention, at most.
};

/// Those of `morph run`: the baselines, and the last, "selected".
std::vector<Variant> variantsOf(const ResolvedSpec &resolved);
/// Those of `morph audit`: each selector, for each budget. `resolve` makes the spec of further settings. Errors: a
/// budget that the space has no place for, or that nothing satisfies.
StatusOr<std::vector<Variant>>
auditVariants(const ResolvedSpec &resolved,
              const std::function<StatusOr<ResolvedSpec>(const std::vector<std::string> &settings)> &resolve);

/// What any of them runs on the relaxed model.
struct SelectionPrograms {
  std::map<std::string, const Variant *> gates; ///< `gates`, by Variant::plans, of one of those that have these.
  bool scores = false;                          ///< `score` with the KL, and the teacher's `logits`.
};
/// It refers to the variants.
StatusOr<SelectionPrograms> selectionPrograms(const std::vector<Variant> &variants);

/// A selector's name in those of files, which have no colons.
std::string fileNameOf(std::string selector);

} // namespace morph

#endif // MORPH_TOOLS_MORPH_SELECTION_H
