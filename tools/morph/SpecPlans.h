// SPDX-License-Identifier: Apache-2.0
// The programs of a spec's stages, before any of them has run: its config is enough.

#ifndef MORPH_TOOLS_MORPH_SPECPLANS_H
#define MORPH_TOOLS_MORPH_SPECPLANS_H

#include "tools/morph/Compiler.h"
#include "tools/morph/Costs.h"
#include "tools/morph/SpecArguments.h"

#include <map>
#include <string>

namespace morph {

struct SpecPlans {
  PlanFiles files;
  std::map<std::string, double> unlimitedFlops; ///< By stage: TrainingPlans::unlimitedFlops.
};

/// Writes the IR and the plans of all programs that the stages of a spec run into `folder`, which is there. Which
/// layers the selections of `variants` keep is not known yet: the hybrid's programs are those of the dearest choice.
StatusOr<SpecPlans> emitSpecPlans(const Compiler &compiler, const SpecArguments &arguments,
                                  const ResolvedSpec &resolved, const std::vector<Variant> &variants,
                                  const fs::path &folder);

} // namespace morph

#endif // MORPH_TOOLS_MORPH_SPECPLANS_H
