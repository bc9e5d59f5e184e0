// SPDX-License-Identifier: Apache-2.0
// Python text: numbers, strings, names, formulas in the sizes of a mixer, and lines of a readable length.

#ifndef MORPH_PASSES_PYTORCH_TEXT_H
#define MORPH_PASSES_PYTORCH_TEXT_H

#include "dialect/MixerExpander.h"

#include <string>

namespace morph::pytorch {

/// How strongly the outermost operator of an expression binds, weakest first.
enum class Binding { Sum, Product, Negation, Power, Atom };

struct Text {
  std::string text;
  Binding binding = Binding::Atom;

  /// The expression where the operator around it binds that strongly.
  std::string within(Binding around) const { return binding < around ? "(" + text + ")" : text; }
};

/// A literal of the same value, the shortest.
Text printNumber(double value);
/// A literal in double quotes of one line; what no line can hold is a blank.
std::string printString(llvm::StringRef text);
/// What may stand within a string literal: the text of printString without its quotes.
std::string escape(llvm::StringRef text);

/// An expression of a mixer's numbers: in `self._hidden`, `self._heads`, `self._kv_heads`, `self._head_dim` where it is
/// simple arithmetic of these, its value otherwise. `isSize`: quotients are whole.
mlir::FailureOr<Text> printFormula(MixerExpander &expander, llvm::StringRef formula, bool isSize);

/// Whether a part of a weight's name cannot be written as an attribute: a keyword, or what begins with a digit.
bool isTakenAttribute(llvm::StringRef name);
/// Whether a name cannot be given to a variable of `forward`: a keyword, or something that `forward` uses.
bool isTakenVariable(llvm::StringRef name);

/// A line of `indent` blanks and a statement, broken after commas of its outermost brackets where it is too long.
std::string printLine(llvm::StringRef statement, size_t indent);

} // namespace morph::pytorch

#endif // MORPH_PASSES_PYTORCH_TEXT_H
