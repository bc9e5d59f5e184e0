// SPDX-License-Identifier: Apache-2.0
// Shape checks of ops by named dimensions, for type inference.

#ifndef MORPH_DIALECT_SHAPERULES_H
#define MORPH_DIALECT_SHAPERULES_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Value.h"
#include "mlir/IR/ValueRange.h"
#include "llvm/ADT/SmallString.h"

#include <map>
#include <optional>
#include <string>

namespace morph {

/// The named dimensions of one op. A pattern is a letter a dimension; a leading '*' stands for any number of further
/// leading dimensions, the same wherever it appears; '1' is a dimension of one element. A letter has one size in all
/// operands: dynamic sizes fit any, and take the static size that another operand gives.
class ShapeRules {
public:
  /// `op` is the op's name for messages, without 'morph.'. Nothing is reported where there is no location.
  ShapeRules(std::optional<mlir::Location> location, llvm::StringRef op) : location(location), op(op) {}

  /// Checks that `operand` has a shape of the pattern; constraint `label` otherwise.
  llvm::LogicalResult match(llvm::StringRef label, llvm::StringRef operand, mlir::Value value, llvm::StringRef pattern);

  /// Checks that `operand` is a ranked tensor of any shape; constraint `label` otherwise.
  llvm::LogicalResult matchAny(llvm::StringRef label, llvm::StringRef operand, mlir::Value value) const {
    return ShapeRules(location, op).match(label, operand, value, "*");
  }

  /// Gives a dimension that is not an operand's own a size; `meaning` says in messages what it is.
  void set(char dimension, int64_t size, llvm::StringRef meaning = "") { sizes[dimension] = {size, meaning.str(), {}}; }

  /// The size of a dimension that has been matched, ShapedType::kDynamic where no operand knows it.
  int64_t get(char dimension) const { return sizes.at(dimension).size; }

  /// The f32 tensor of a pattern of matched dimensions.
  mlir::RankedTensorType type(mlir::MLIRContext *context, llvm::StringRef pattern) const;

  /// Reports that constraint `label` does not hold.
  llvm::LogicalResult fail(llvm::StringRef label, const llvm::Twine &message) const;

private:
  struct Size {
    int64_t size;
    std::string operand; ///< That gave the size, or the size's meaning where there is no type.
    mlir::Type type;
  };

  std::optional<mlir::Location> location;
  std::string op;
  std::map<char, Size> sizes;
  std::optional<llvm::SmallVector<int64_t>> leading;
  std::string leadingOperand;
  mlir::Type leadingType;
};

/// The constraints that linear_attention and its gradient share; binds B, T, H, K and V.
llvm::LogicalResult matchLinearAttention(ShapeRules &rules, llvm::StringRef kind, mlir::Value q, mlir::Value k,
                                         mlir::Value v, mlir::ValueRange extras, mlir::Value state);

/// The constraints that short_conv and its gradient share; binds B, T, C, W and P = W-1.
llvm::LogicalResult matchShortConv(ShapeRules &rules, mlir::Value x, mlir::Value weight, mlir::Value state);

/// The constraint that squared_error and its gradient share.
llvm::LogicalResult checkNormalize(const ShapeRules &rules, llvm::StringRef label, llvm::StringRef normalize);

/// Checks that an eps is positive and finite.
llvm::LogicalResult checkEps(const ShapeRules &rules, llvm::StringRef label, const llvm::APFloat &eps);

/// Checks that an attribute `name` is from 1 to a limit of dialect/SizeLimits.h.
llvm::LogicalResult checkSize(const ShapeRules &rules, llvm::StringRef label, llvm::StringRef name, int64_t size,
                              int64_t limit);

/// Checks that the key-value heads G divide the heads H; both are matched and must be known.
llvm::LogicalResult checkGroups(const ShapeRules &rules, llvm::StringRef label);

} // namespace morph

#endif // MORPH_DIALECT_SHAPERULES_H
