// SPDX-License-Identifier: Apache-2.0
// A declared mixer at a place: what its expressions name has values, and its body can be copied. Everything that is
// asked of a mixer (parameters, states, costs) is read off such copies.

#ifndef MORPH_DIALECT_MIXEREXPANDER_H
#define MORPH_DIALECT_MIXEREXPANDER_H

#include "dialect/Expression.h"
#include "dialect/MorphOps.h"

#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/StringMap.h"

namespace morph {

/// Copies the body of a `morph.mixer` for one `linear_mixer`.
///
/// Errors are reported at the linear_mixer, with notes at the declaration's ops; once `linear_mixer`s have been
/// verified there are none.
class MixerExpander {
public:
  /// Binds sizes, options and facts of the base. Fails where the model has no such declaration (linear_mixer_c6), the
  /// options are not the declared ones (linear_mixer_c7), or a requirement does not hold (linear_mixer_c9).
  static mlir::FailureOr<MixerExpander> create(LinearMixerOp use);

  /// Whether all that is asked of a linear_mixer can be answered: its weights, a copy of its body, and, for one that is
  /// new, the weights' first values.
  static llvm::LogicalResult check(LinearMixerOp use, bool isNew = false);

  MixerOp getDeclaration() const { return declaration; }

  /// The mixer's weights, in the order in which its body has them; their first values where they are asked for, because
  /// formulas of indices are worked out element by element.
  mlir::FailureOr<llvm::SmallVector<MixerParameter>> getParameters(bool withFirstValues = false);

  /// The body in primitive ops at the builder's insertion point.
  mlir::FailureOr<MixerExpansion> expand(mlir::OpBuilder &builder, const MixerInputs &inputs);

  /// The first values that the mixer's activations give to weights (`mixer_calibrate`), at the builder's insertion
  /// point: of such a weight its whole name and the value. Empty where it calibrates none here.
  mlir::FailureOr<llvm::SmallVector<std::pair<std::string, mlir::Value>>> calibrate(mlir::OpBuilder &builder,
                                                                                    mlir::Value hidden);

  /// The states that decoding keeps, in the order of MixerInputs::states.
  mlir::FailureOr<llvm::SmallVector<MixerState>> getStates();

  //===--------------------------------------------------------------------===//
  // For the ops of a body
  //===--------------------------------------------------------------------===//

  /// The value of an expression.
  mlir::FailureOr<double> getNumber(llvm::StringRef expression);
  mlir::FailureOr<bool> getCondition(llvm::StringRef expression);
  /// The same for sizes, each from 1 to limits::kDimension.
  mlir::FailureOr<int64_t> getSize(llvm::StringRef expression);
  mlir::FailureOr<llvm::SmallVector<int64_t>> getSizes(mlir::ArrayAttr expressions);

  /// Whether the mixer has a weight here, by its condition.
  mlir::FailureOr<bool> hasWeight(MixerWeightOp weight);
  /// Its value, or null where the mixer does not have it.
  mlir::FailureOr<mlir::Value> getWeight(MixerWeightOp weight);

  /// Creates an op whose result types are inferred.
  template <typename OpTy, typename... Arguments> mlir::FailureOr<OpTy> create(Arguments &&...arguments) {
    // Of those that an op may leave besides (keep_lse, keep_states) there is none.
    constexpr bool isSingle = OpTy::template hasTrait<mlir::OpTrait::OneResult>() ||
                              OpTy::template hasTrait<mlir::OpTrait::AtLeastNResults<1>::template Impl>();
    llvm::SmallVector<mlir::Type> unknown(isSingle ? 1 : 2, getTensorType(use.getContext(), {}));
    auto op = builder->create<OpTy>(getLoc(), mlir::TypeRange(unknown), std::forward<Arguments>(arguments)...);
    if (failed(inferTypes(op)))
      return mlir::failure();
    return op;
  }

  /// Copies what gives a weight its first value, where that is what the copy is for.
  llvm::LogicalResult addCalibration(MixerCalibrateOp op);

  /// x [B,T,...] with the positions before the first real one set to zero; x itself where nothing is padded.
  mlir::FailureOr<mlir::Value> maskPadding(mlir::Value x);

  /// What decoding keeps under a name, before the new positions: null where nothing is decoded. `window` is a ring's
  /// (MixerState). `setState` gives its next value; the two are called in turns.
  mlir::FailureOr<mlir::Value> getState(llvm::StringRef name, mlir::RankedTensorType type, int64_t window = 0);
  void setState(mlir::Value next);

  /// Copies the ops of a region's block and returns what it yields.
  mlir::FailureOr<llvm::SmallVector<mlir::Value>> copyBlock(mlir::Region &region);

  LinearMixerOp getUse() { return use; }
  /// The position of the first new token, or null.
  mlir::Value getOffset() const { return inputs->offset; }
  /// The first real position of each row, or null.
  mlir::Value getStart() const { return inputs->start; }

  /// Reports an error at the linear_mixer, with a note at the op that is being copied.
  mlir::InFlightDiagnostic emitError();

private:
  MixerExpander(LinearMixerOp use, MixerOp declaration) : use(use), declaration(declaration) {}
  /// Where the ops of a copy are from.
  mlir::Location getLoc() { return locatesStatements && current ? current->getLoc() : use.getLoc(); }
  /// The body in a block of its own, with the inputs of decoding, so that nothing that decoding needs fails later.
  mlir::FailureOr<mlir::Value> expandDecoding(mlir::Block &scratch);
  /// Whether a copy can be made and is right where rows are padded (linear_mixer_c9, linear_mixer_c10).
  mlir::LogicalResult checkCopy();
  mlir::LogicalResult bind();
  mlir::LogicalResult bindOptions();
  mlir::LogicalResult inferTypes(mlir::Operation *op);
  mlir::FailureOr<Expression> parse(llvm::StringRef text);
  /// `indices` are further names.
  mlir::FailureOr<double> getNumber(const Expression &expression, const llvm::StringMap<double> &indices);
  /// Whether the full attention has what a weight starts as: of the weight's shape, with each row `times` over.
  mlir::LogicalResult checkSource(MixerWeightOp weight, llvm::ArrayRef<int64_t> shape, int64_t times);
  mlir::FailureOr<InitAttr> getInit(MixerWeightOp weight, llvm::ArrayRef<int64_t> shape);

  LinearMixerOp use;
  MixerOp declaration;
  llvm::StringMap<double> names;
  mlir::Operation *current = nullptr; ///< What is being copied.
  bool locatesStatements = false;     ///< Ops of a copy have the places of the declaration's, not that of its use.

  // Of the copy under way.
  mlir::OpBuilder *builder = nullptr;
  const MixerInputs *inputs = nullptr;
  mlir::IRMapping mapping;
  llvm::SmallVector<MixerState> states;
  llvm::SmallVector<mlir::Value> nextStates;
  bool calibrates = false; ///< The copy is for `calibrations`.
  llvm::SmallVector<std::pair<std::string, mlir::Value>> calibrations;
};

} // namespace morph

#endif // MORPH_DIALECT_MIXEREXPANDER_H
