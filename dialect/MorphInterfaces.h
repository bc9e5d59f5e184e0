// SPDX-License-Identifier: Apache-2.0
// Op interfaces and traits of the `morph` dialect, and the plain structs that interfaces speak in.

#ifndef MORPH_DIALECT_MORPHINTERFACES_H
#define MORPH_DIALECT_MORPHINTERFACES_H

#include "dialect/MorphAttrs.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/OpDefinition.h"

namespace morph {

/// A weight that a token mixer reads: its whole name, its shape, and, where it is asked for (getInitialParameters), the
/// initial value of a weight that no checkpoint holds.
struct MixerParameter {
  std::string name;
  llvm::SmallVector<int64_t> shape;
  InitAttr init;
  bool trainable = true; ///< False for a constant of the backend, such as fixed decays.
};

/// What a mixer keeps between steps of decoding: a name suffix ('k', 'v', 'state', 'conv_q', ...) and its type, with
/// the batch first and the slots of a ring of positions dynamic.
struct MixerState {
  std::string name;
  mlir::RankedTensorType type;
  int64_t window = 0; ///< Of a ring: the positions that a query sees, its own included; 0: all.
};

/// The operands of a mixer's expansion. `start` [B] is the index of the first real position of each left-padded row,
/// `offset` [B] the position of the first of the new tokens of each row; both null where there is no padding and no
/// cache. `states` has one value a MixerState when decoding, and is empty otherwise.
struct MixerInputs {
  mlir::Value hidden; ///< [B,T,C], normalised.
  mlir::Value start;
  mlir::Value offset;
  llvm::SmallVector<mlir::Value> states;
};

/// The result of a mixer's expansion: the mixed hidden state [B,T,C] and, when decoding, the next states.
struct MixerExpansion {
  mlir::Value hidden;
  llvm::SmallVector<mlir::Value> states;
};

class MixerExpander;

namespace OpTrait {
// Morph_Rowwise, Morph_TakesRows and Morph_View of MorphInterfaces.td.
template <typename ConcreteType> class Rowwise : public mlir::OpTrait::TraitBase<ConcreteType, Rowwise> {};
template <typename ConcreteType> class TakesRows : public mlir::OpTrait::TraitBase<ConcreteType, TakesRows> {};
template <typename ConcreteType> class View : public mlir::OpTrait::TraitBase<ConcreteType, View> {};
} // namespace OpTrait

} // namespace morph

#include "dialect/MorphInterfaces.h.inc"

#endif // MORPH_DIALECT_MORPHINTERFACES_H
