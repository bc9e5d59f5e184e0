// SPDX-License-Identifier: Apache-2.0
// Names, kinds and shapes of a `.morph` file.

#ifndef MORPH_FRONTENDS_MORPH_CHECK_H
#define MORPH_FRONTENDS_MORPH_CHECK_H

#include "frontends/morph/Ast.h"
#include "frontends/morph/Functions.h"
#include "frontends/morph/Types.h"

#include "llvm/ADT/DenseMap.h"

#include <map>

namespace morph::language {

/// A call of a tensor function.
struct CheckedCall {
  const TensorFunction *function = nullptr;
  std::vector<const Expression *> arguments;   ///< One a parameter; null where absent.
  std::map<std::string, SizePolynomial> sizes; ///< The function's own sizes by name; "channels" where it has a *.
};

/// A size that must divide another in the model that a mixer is made for, which the names do not show.
struct Division {
  SizePolynomial divisor, dividend;
  SourceRange range;
};

/// What the checks found out of a mixer. Expressions are those of the File, which must stay where it is.
struct CheckedMixer {
  const Mixer *mixer = nullptr;
  llvm::DenseMap<const Expression *, Type> types;        ///< Of every expression but names of arguments and sizes.
  llvm::DenseMap<const Expression *, CheckedCall> calls; ///< Of tensor functions.
  std::map<std::string, SizePolynomial> dimensions;      ///< Of `dim`; a name of its own where it is no polynomial.
  std::vector<Shape> weightShapes;                       ///< In the order of the mixer's weights.
  std::vector<Division> divisions;
};

struct CheckedFile {
  File file;
  std::vector<CheckedMixer> mixers; ///< In the order of file.mixers.
};

/// Parses and checks a text that `diagnostics` has taken in. All errors are reported; nothing is returned where there
/// was any.
std::unique_ptr<CheckedFile> readMixers(llvm::StringRef text, Diagnostics &diagnostics);

/// The same for editors: also of a text with errors, what can be told of it; where lines are malformed, only these are
/// reported. Expressions with errors have no type.
std::unique_ptr<CheckedFile> readMixersPartly(llvm::StringRef text, Diagnostics &diagnostics);

} // namespace morph::language

#endif // MORPH_FRONTENDS_MORPH_CHECK_H
