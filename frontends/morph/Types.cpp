// SPDX-License-Identifier: Apache-2.0

#include "frontends/morph/Types.h"

using namespace morph::language;

std::string morph::language::printShape(llvm::ArrayRef<SizePolynomial> shape) {
  std::string text = "[";
  for (const SizePolynomial &size : shape)
    text += (text.size() > 1 ? ", " : "") + size.print();
  return text + "]";
}

std::string morph::language::printType(const Type &type) {
  switch (type.kind) {
  case ValueKind::Scalar:
    return "a number";
  case ValueKind::Condition:
    return "a condition";
  case ValueKind::Weight:
    return "a weight " + printShape(type.shape);
  default:
    return "an activation " + printShape(type.shape);
  }
}
