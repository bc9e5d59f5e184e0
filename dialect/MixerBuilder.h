// SPDX-License-Identifier: Apache-2.0
// What the expansions of token mixers share: parameters by suffix and the primitive ops on them.

#ifndef MORPH_DIALECT_MIXERBUILDER_H
#define MORPH_DIALECT_MIXERBUILDER_H

#include "dialect/MorphOps.h"

namespace morph {

/// Builds primitive ops at the builder's insertion point, with weights named by a mixer's prefix. Shapes: B batch,
/// T positions, C hidden, H heads, D head dimension.
class MixerBuilder {
public:
  MixerBuilder(mlir::OpBuilder &builder, mlir::Location location, llvm::StringRef prefix)
      : builder(builder), location(location), prefix(prefix) {}

  /// The weight `<prefix>.<suffix>`.
  mlir::Value param(llvm::StringRef suffix, llvm::ArrayRef<int64_t> shape);

  /// x [...,inputs] by `<suffix>.weight` [outputs,inputs], plus `<suffix>.bias` where there is one: [...,outputs].
  mlir::Value project(mlir::Value x, llvm::StringRef suffix, int64_t outputs, bool hasBias);

  /// x [...,D] normalised with `<suffix>.weight` [D], to which `offset` is added.
  mlir::Value rmsNorm(mlir::Value x, llvm::StringRef suffix, double eps, double offset);

  mlir::Value splitHeads(mlir::Value x, int64_t heads);
  mlir::Value mergeHeads(mlir::Value x);
  mlir::Value l2Norm(mlir::Value x, double eps);
  mlir::Value scale(mlir::Value x, double factor);

  /// The op of an ODS class with operands and no attribute.
  template <typename OpTy> mlir::Value apply(mlir::ValueRange operands) {
    return builder.create<OpTy>(location, operands)->getResult(0);
  }

  mlir::OpBuilder &builder;
  mlir::Location location;

private:
  std::string prefix;
};

/// A weight that is there before the mixer: its name and shape.
MixerParameter makeParameter(llvm::StringRef prefix, llvm::StringRef suffix, llvm::ArrayRef<int64_t> shape,
                             InitAttr init = nullptr);

/// What the weights of a layer's full attention follow from.
struct AttentionShape {
  int64_t hidden = 0, heads = 0, kvHeads = 0, headDim = 0;
  bool qkvBias = false, outputBias = false;
  bool isNormed = false; ///< Queries and keys have norms.
  bool isWide = false;   ///< They are of all heads together, not of each.
};

/// The weights of a full attention.
llvm::SmallVector<MixerParameter> makeAttentionParameters(llvm::StringRef prefix, const AttentionShape &shape);

/// The constraints of softmax_mixer_c5 and linear_mixer_c5: the model has the mixer's weights, of the right shapes.
llvm::LogicalResult verifyMixerWeights(mlir::Operation *mixer, llvm::StringRef label,
                                       llvm::ArrayRef<MixerParameter> parameters,
                                       mlir::SymbolTableCollection &symbolTables);

/// The constraints of rope and the mixers: the model has the rope table, which turns at most `headDim` elements.
/// `label` is that of the table's existence, `lengthLabel` that of its length.
llvm::LogicalResult verifyRopeTable(mlir::Operation *user, llvm::StringRef label, llvm::StringRef lengthLabel,
                                    mlir::FlatSymbolRefAttr table, int64_t headDim,
                                    mlir::SymbolTableCollection &symbolTables);

} // namespace morph

#endif // MORPH_DIALECT_MIXERBUILDER_H
