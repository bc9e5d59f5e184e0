// SPDX-License-Identifier: Apache-2.0
// The number of operands of an op, checked before its types are inferred.

#ifndef MORPH_DIALECT_OPERANDCOUNT_H
#define MORPH_DIALECT_OPERANDCOUNT_H

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/OpDefinition.h"

#include <optional>
#include <utility>

namespace morph {
namespace detail {

/// Calls `visit(fewest, exact)` for the number of operands that the traits of `Op` say; not at all where any is right.
template <typename Op, typename Visitor, unsigned... I>
void visitOperandTraits(Visitor visit, std::integer_sequence<unsigned, I...>) {
  using namespace mlir::OpTrait;
  if (Op::template hasTrait<OneOperand>())
    visit(1u, true);
  ((Op::template hasTrait<NOperands<I + 2>::template Impl>() ? visit(I + 2, true) : void()), ...);
  ((Op::template hasTrait<AtLeastNOperands<I + 1>::template Impl>() ? visit(I + 1, false) : void()), ...);
}

} // namespace detail

/// Fails, with an error at `location` where there is one, if `Op` does not have `count` operands. A format that takes
/// any list of operands needs it: types are inferred as it is parsed, before the verifier has counted.
template <typename Op> llvm::LogicalResult checkOperandCount(std::optional<mlir::Location> location, size_t count) {
  llvm::LogicalResult result = llvm::success();
  auto check = [&](unsigned expected, bool exact) {
    if (exact ? count == expected : count >= expected)
      return;
    if (location)
      mlir::emitError(*location) << "'" << Op::getOperationName() << "' op expected " << expected
                                 << (exact ? "" : " or more") << (exact && expected == 1 ? " operand" : " operands")
                                 << ", but found " << count;
    result = llvm::failure();
  };
  detail::visitOperandTraits<Op>(check, std::make_integer_sequence<unsigned, 8>());
  return result;
}

} // namespace morph

#endif // MORPH_DIALECT_OPERANDCOUNT_H
