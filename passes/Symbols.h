// SPDX-License-Identifier: Apache-2.0
// Which weights and gates a piece of IR reads, and adding and removing them.

#ifndef MORPH_PASSES_SYMBOLS_H
#define MORPH_PASSES_SYMBOLS_H

#include "dialect/MorphOps.h"

#include "llvm/ADT/SetVector.h"

namespace morph {

/// A set of symbol names in a deterministic order.
using SymbolNames = llvm::SetVector<mlir::StringAttr>;

/// Names of the weights and gates that `scope` reads: by `morph.param`, or as parameters of token mixers.
SymbolNames readSymbols(mlir::Operation *scope);

/// Names among `names` that the runtime may train: all but the constants of backends (fixed decays), whose mixers are
/// looked for in the whole model.
SymbolNames trainableSymbols(ModelOp model, const SymbolNames &names);

/// Trained names of the weights of the linear mixers in `scope`.
SymbolNames linearSymbols(mlir::Region &scope);

/// Adds weights to a model, after its other weights. A pass makes one: it looks through the model once, however many
/// layers there are. Meanwhile nothing else may add or erase symbols that it looks up.
class WeightAdder {
public:
  explicit WeightAdder(ModelOp model);

  /// The weight of a name; null where there is none.
  WeightOp lookup(mlir::StringAttr name) const { return symbols_.lookup<WeightOp>(name); }

  /// Adds the weights of `mixer` that the model does not have yet. New vectors are f32, matrices of the checkpoint's
  /// type: the types in which a hybrid is exported and evaluated. `teacherPrefix`, where not empty, is taken off the
  /// name to give `teacher_of`.
  void addMixerWeights(TokenMixerOpInterface mixer, llvm::StringRef teacherPrefix = "");

  /// Adds a new weight, f32 with its first value.
  void addNew(mlir::Location location, const MixerParameter &parameter);

  /// Adds the weight `prefix + name` that holds the base checkpoint's value of the weight `name`, if it is not there
  /// yet.
  void addTeacherWeight(llvm::StringRef prefix, WeightOp weight);

private:
  void add(mlir::Location location, mlir::StringAttr name, mlir::TypeAttr type, InitAttr init,
           mlir::StringAttr teacherOf);

  mlir::SymbolTable symbols_;
  mlir::OpBuilder builder_;
  mlir::Type checkpointType_;
};

/// Whether a symbol stays where nothing reads it: a weight whose `pieces` say what it is in the checkpoint, of which
/// teachers and first values are made.
bool outlivesReads(mlir::Operation *symbol);

/// Erases the weights and gates that no function of the model reads, but those that outlive it.
void eraseUnreadSymbols(ModelOp model);

} // namespace morph

#endif // MORPH_PASSES_SYMBOLS_H
