// SPDX-License-Identifier: Apache-2.0
// Checks of an `arch` declaration that need no model.

#ifndef MORPH_FRONTENDS_MORPH_CHECKARCH_H
#define MORPH_FRONTENDS_MORPH_CHECKARCH_H

#include "frontends/morph/Ast.h"

namespace morph::language {

/// What a budget may be of.
struct BudgetMeasure {
  llvm::StringRef name, unit, summary;
};
llvm::ArrayRef<BudgetMeasure> getBudgetMeasures();

/// Reports what is wrong in the lines themselves: numbers, references, budgets that there are not, lines twice.
void checkArch(const Arch &arch, const File &file, Diagnostics &diagnostics);

/// The first line of a kind; null where there is none.
const ArchLine *findLine(const Arch &arch, ArchLine::Kind kind);

} // namespace morph::language

#endif // MORPH_FRONTENDS_MORPH_CHECKARCH_H
