// SPDX-License-Identifier: Apache-2.0
// The sizes of the values of a program by name.

#ifndef MORPH_DIALECT_PROGRAMSIZES_H
#define MORPH_DIALECT_PROGRAMSIZES_H

#include "dialect/InferTypes.h"
#include "dialect/MorphOps.h"

namespace morph {

using ProgramSizes = llvm::DenseMap<mlir::Value, plan::Shape>;

/// The shapes of all values of a program, followed from its inputs by the op table. An error names the op whose
/// operands disagree (program_c6). Ops that no plan has keep their operand's sizes (token mixers) or get unknown ones.
mlir::FailureOr<ProgramSizes> inferProgramSizes(ProgramOp program);

/// The operands of a plan's instruction as groups of the op's definition.
llvm::SmallVector<mlir::ValueRange> operandGroups(mlir::Operation *op, const plan::OpRule &rule);

/// An op of the table as an instruction on the values that `numbers` gives, without its results.
plan::Instruction makeInstruction(mlir::Operation *op, const plan::OpRule &rule,
                                  const llvm::DenseMap<mlir::Value, int64_t> &numbers);

/// The rule of an op that plans have as an instruction, or null.
const plan::OpRule *findOpRule(mlir::Operation *op);

} // namespace morph

#endif // MORPH_DIALECT_PROGRAMSIZES_H
