// SPDX-License-Identifier: Apache-2.0
// What values of the mixer language are.

#ifndef MORPH_FRONTENDS_MORPH_TYPES_H
#define MORPH_FRONTENDS_MORPH_TYPES_H

#include "frontends/morph/SizePolynomial.h"

#include "llvm/ADT/ArrayRef.h"

#include <string>
#include <vector>

namespace morph::language {

enum class ValueKind {
  Scalar,     ///< A number that is known when a mixer is made for a model.
  Condition,  ///< The same, true or false; as a number 1 or 0.
  Weight,     ///< A weight, or what is computed of weights alone: the same at all positions.
  Activation, ///< It has a value at each position of each row of a batch.
};

/// The sizes of a weight, or those of an activation after batch and positions.
using Shape = std::vector<SizePolynomial>;

struct Type {
  ValueKind kind = ValueKind::Scalar;
  Shape shape; ///< Empty of scalars and conditions.

  bool isTensor() const { return kind >= ValueKind::Weight; }
  bool operator==(const Type &other) const { return kind == other.kind && shape == other.shape; }
  bool operator!=(const Type &other) const { return !(*this == other); }
};

/// "[H, D]".
std::string printShape(llvm::ArrayRef<SizePolynomial> shape);
/// "an activation [H, D]", "a number".
std::string printType(const Type &type);

} // namespace morph::language

#endif // MORPH_FRONTENDS_MORPH_TYPES_H
