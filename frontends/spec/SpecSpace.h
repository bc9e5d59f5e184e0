// SPDX-License-Identifier: Apache-2.0
// The space of choices that an arch describes for a model.

#ifndef MORPH_FRONTENDS_SPEC_SPECSPACE_H
#define MORPH_FRONTENDS_SPEC_SPECSPACE_H

#include "dialect/MorphOps.h"
#include "frontends/ModelConfig.h"
#include "frontends/morph/Ast.h"
#include "runtime/choice/Space.h"

namespace morph::spec {

/// The model that a space is for.
struct SpaceModel {
  ModelOp op;
  const ModelConfig &config;
  std::string precision; ///< Element type of products: "fp32" or "bf16".
  /// Leaves budgets of `decode_seconds` out, whose tables need not be there: they are about to be measured.
  bool withoutTimes = false;
  /// Layers with a window, where others of the base have none, may get another mixer as those may (`linear.windows`);
  /// else they keep their attention, and budgets of full attention do not count them.
  bool choosesWindows = false;
};

/// Checks an arch against a model of the base phase, to which the mixers are added that files declare, and builds its
/// space: S3, S5, S6. Nothing after an error: a candidate that there is not or that does not fit, layers that there are
/// not, constraints that nothing satisfies, of which all lines are shown that exclude each other. `isFile`: the arch
/// stands in a `.morph` file, and not in the sections of a spec.
std::optional<ChoiceSpace> buildSpace(const language::Arch &arch, bool isFile, const SpaceModel &model,
                                      Diagnostics &diagnostics);

} // namespace morph::spec

#endif // MORPH_FRONTENDS_SPEC_SPECSPACE_H
