// SPDX-License-Identifier: Apache-2.0
// What ops of a program update in place: the rules of runtime/plan/Updates.h on programs.

#ifndef MORPH_DIALECT_PROGRAMUPDATES_H
#define MORPH_DIALECT_PROGRAMUPDATES_H

#include "dialect/MorphOps.h"
#include "runtime/plan/Updates.h"

namespace morph {

/// The ops that update memory, by that memory: what reads it stands before them.
class ProgramUpdates {
public:
  /// An error names the op that breaks program_c7 or program_c8.
  static mlir::FailureOr<ProgramUpdates> create(ProgramOp program);

  /// The ops that update the memory in which a value lies, in their order when `create` was called.
  llvm::ArrayRef<mlir::Operation *> find(mlir::Value value) const;

private:
  ProgramUpdates();
  llvm::LogicalResult add(mlir::Block &block);
  llvm::LogicalResult add(mlir::Operation *op);
  void addParam(ParamOp param);
  int64_t number(mlir::Value value) { return numbers.try_emplace(value, numbers.size()).first->second; }

  plan::UpdateRules rules;
  llvm::DenseMap<mlir::Value, int64_t> numbers;
  llvm::DenseSet<mlir::StringAttr> trained;
  llvm::DenseMap<mlir::StringAttr, int64_t> weights; ///< However often a weight is read, it is one memory.
  llvm::DenseMap<int64_t, llvm::SmallVector<mlir::Operation *, 1>> updates;
};

} // namespace morph

#endif // MORPH_DIALECT_PROGRAMUPDATES_H
