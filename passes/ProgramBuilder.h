// SPDX-License-Identifier: Apache-2.0
// The common part of the passes that build programs: a `morph.program`, filled by copying the model's `@forward` and
// `@head`.

#ifndef MORPH_PASSES_PROGRAMBUILDER_H
#define MORPH_PASSES_PROGRAMBUILDER_H

#include "passes/Phases.h"
#include "passes/Symbols.h"

#include "mlir/IR/IRMapping.h"

namespace morph {

/// Called for each op of a function that is copied. Returns the value that stands for the op's only result in the copy,
/// a null value to have the op copied as it is (a choice: its first candidate), or failure after emitting an error.
using OpRewrite = llvm::function_ref<mlir::FailureOr<mlir::Value>(mlir::Operation *, mlir::IRMapping &)>;

class ProgramBuilder {
public:
  /// Starts the program `@program` of a model. An error if the model has no `@forward` or `@head` of the shape
  /// that dialect/MorphModelOps.td gives, or already has a symbol of the program's name.
  static mlir::FailureOr<ProgramBuilder> create(ModelOp model, llvm::StringRef program);

  /// Appends an input; `dims` names its dynamic dimensions in order.
  mlir::Value addInput(llvm::StringRef name, mlir::RankedTensorType type, llvm::ArrayRef<llvm::StringRef> dims);
  /// The inputs that programs share: tokens [B,T]; positions, targets (i64) and weights (f32) of [N].
  mlir::Value addTokens();
  mlir::Value addPositions();
  mlir::Value addTargets();
  mlir::Value addWeights();

  void addOutput(llvm::StringRef name, mlir::Value value);
  /// Appends the output `stream.<layer>`: what goes into the layer whose mixed state is `mixed`, a value of `@forward`,
  /// as the copy has it. Failure after emitting an error where the layer adds it to no stream.
  mlir::LogicalResult addStream(uint64_t layer, mlir::Value mixed, const mlir::IRMapping &mapping);

  /// Copies `@forward` for `tokens` and returns its hidden state [B,T,C]. `mapping` keeps what became of each value.
  mlir::FailureOr<mlir::Value> copyForward(mlir::Value tokens, mlir::IRMapping &mapping, OpRewrite rewrite);
  mlir::FailureOr<mlir::Value> copyForward(mlir::Value tokens, mlir::IRMapping &mapping);
  mlir::FailureOr<mlir::Value> copyForward(mlir::Value tokens);
  /// Copies `@head` for rows [N,C] and returns logits [N,V].
  mlir::FailureOr<mlir::Value> copyHead(mlir::Value rows, OpRewrite rewrite);
  mlir::FailureOr<mlir::Value> copyHead(mlir::Value rows);
  /// Copies the ops of one candidate of a choice and returns what it yields.
  mlir::Value copyCandidate(ChoiceOp choice, unsigned candidate, mlir::IRMapping &mapping);

  /// Rows of `state` [B,T,C] at `positions`, made right after it so that the whole state need not live on.
  mlir::Value rowsAt(mlir::Value state, mlir::Value positions);

  /// The mean of scalars, at least one; or the part of it that they have in the mean of `count`.
  mlir::Value mean(llvm::ArrayRef<mlir::Value> scalars, size_t count);
  mlir::Value mean(llvm::ArrayRef<mlir::Value> scalars) { return mean(scalars, scalars.size()); }

  /// Ends the program: its outputs and the symbols to train (none: the program trains nothing).
  void finish(const SymbolNames &trainable = {});

  mlir::OpBuilder &builder() { return builder_; }
  ModelOp model() { return model_; }
  mlir::func::FuncOp forward() { return forward_; }
  mlir::func::FuncOp head() { return head_; }
  ProgramOp program() { return program_; }
  mlir::Location loc() { return program_.getLoc(); }

private:
  ProgramBuilder(ModelOp model, mlir::func::FuncOp forward, mlir::func::FuncOp head, llvm::StringRef program);
  mlir::FailureOr<mlir::Value> copyFunction(mlir::func::FuncOp function, mlir::Value argument, mlir::IRMapping &mapping,
                                            OpRewrite rewrite);

  ModelOp model_;
  mlir::func::FuncOp forward_;
  mlir::func::FuncOp head_;
  ProgramOp program_;
  mlir::OpBuilder builder_;
  llvm::SmallVector<mlir::Attribute> outputNames_;
  llvm::SmallVector<mlir::Value> outputs_;
};

/// The mean cross-entropy at positions, weighted: copies forward and head. Adds every input of a language-model
/// program.
mlir::FailureOr<mlir::Value> addCrossEntropy(ProgramBuilder &program);

/// Where a layer's mixed state joins the residual stream.
struct Residual {
  AddOp add;
  mlir::Value stream;                          ///< What it is added to, which is what goes into the layer.
  llvm::SmallVector<mlir::Operation *> behind; ///< What it goes through before: a norm behind the mixer.
};
/// That of `mixed`; an error if it does not end in exactly one addition.
mlir::FailureOr<Residual> findResidual(mlir::Value mixed);

} // namespace morph

#endif // MORPH_PASSES_PROGRAMBUILDER_H
