// SPDX-License-Identifier: Apache-2.0
// Questions that several passes ask about the phase of a model.

#ifndef MORPH_PASSES_PHASES_H
#define MORPH_PASSES_PHASES_H

#include "dialect/MorphOps.h"

#include <map>

namespace morph {

/// The name of the pass that brings a model into `phase`; for the base phase, of the tool that imports models.
llvm::StringRef passThatMakes(Phase phase);

/// Succeeds if the model is in one of `phases`; else emits an error that says which phases `pass` takes and how to get
/// there.
mlir::LogicalResult requirePhase(ModelOp model, llvm::ArrayRef<Phase> phases, llvm::StringRef pass);

/// An error that begins with "model @name ". Errors about models and programs do not go through the op, whose whole
/// text MLIR would add.
mlir::InFlightDiagnostic emitModelError(ModelOp model);

/// An error that begins with "function @name ".
mlir::InFlightDiagnostic emitFunctionError(mlir::func::FuncOp function);

/// Reports a blend that no gate weighs, so that nothing says which layer it decides.
mlir::InFlightDiagnostic refuseUngated(BlendOp blend);

/// An error that begins with "program @name ".
mlir::InFlightDiagnostic emitProgramError(ProgramOp program);

/// The program of a name, or null.
ProgramOp findProgram(ModelOp model, llvm::StringRef program);

/// Succeeds if `value` is one of `allowed`; else emits an error at the model that names the option and what it takes.
mlir::LogicalResult checkOption(ModelOp model, llvm::StringRef option, llvm::StringRef value,
                                llvm::ArrayRef<llvm::StringRef> allowed);
/// The same of a finite number, from 0 to less than `below`, which may be infinite.
mlir::LogicalResult checkOption(ModelOp model, llvm::StringRef option, double value, double below);

/// The sizes of a run that an option 'sizes' gives, each as "T=8192"; an error names the entry that is none.
mlir::FailureOr<std::map<std::string, int64_t>> parseRunSizes(ModelOp model, llvm::ArrayRef<std::string> entries);

} // namespace morph

#endif // MORPH_PASSES_PHASES_H
