// SPDX-License-Identifier: Apache-2.0
// Questions that several passes ask about the phase of a model.

#include "passes/Phases.h"

#include "llvm/ADT/SmallVectorExtras.h"
#include "llvm/Support/Format.h"

#include <cmath>

using namespace mlir;

namespace morph {

InFlightDiagnostic emitModelError(ModelOp model) {
  return emitError(model.getLoc()) << "model @" << model.getSymName() << " ";
}

InFlightDiagnostic emitFunctionError(func::FuncOp function) {
  return emitError(function.getLoc()) << "function @" << function.getSymName() << " ";
}

InFlightDiagnostic emitProgramError(ProgramOp program) {
  return emitError(program.getLoc()) << "program @" << program.getSymName() << " ";
}

StringRef passThatMakes(Phase phase) {
  switch (phase) {
  case Phase::Base:
    return "morph-translate";
  case Phase::Paired:
    return "morph-pair-branches";
  case Phase::Relaxed:
    return "morph-relax-gates";
  case Phase::Hybrid:
    return "morph-discretize";
  }
  llvm_unreachable("unknown phase");
}

/// Appends "a, b or c".
static void appendChoice(InFlightDiagnostic &error, ArrayRef<StringRef> names) {
  for (auto [index, name] : llvm::enumerate(names))
    error << (index == 0 ? "" : index + 1 == names.size() ? " or " : ", ") << name;
}

LogicalResult requirePhase(ModelOp model, ArrayRef<Phase> phases, StringRef pass) {
  if (llvm::is_contained(phases, model.getPhase()))
    return success();
  InFlightDiagnostic error = emitModelError(model) << "is in phase " << stringifyPhase(model.getPhase()) << ", but "
                                                   << pass << " takes phase ";
  appendChoice(error, llvm::map_to_vector(phases, stringifyPhase));
  for (Phase phase : phases)
    error.attachNote() << passThatMakes(phase) << " brings a model into phase " << stringifyPhase(phase);
  return error;
}

InFlightDiagnostic refuseUngated(BlendOp blend) {
  InFlightDiagnostic error = blend.emitOpError() << "is not weighted by a gate";
  error.attachNote() << "morph-relax-gates makes one a layer";
  return error;
}

ProgramOp findProgram(ModelOp model, StringRef program) {
  return dyn_cast_or_null<ProgramOp>(SymbolTable::lookupSymbolIn(model, program));
}

LogicalResult checkOption(ModelOp model, StringRef option, StringRef value, ArrayRef<StringRef> allowed) {
  if (llvm::is_contained(allowed, value))
    return success();
  InFlightDiagnostic error = emitError(model.getLoc()) << "option " << option << " is '" << value << "', expected ";
  appendChoice(error, allowed);
  return error;
}

LogicalResult checkOption(ModelOp model, StringRef option, double value, double below) {
  if (value >= 0 && value < below)
    return success();
  std::string text;
  llvm::raw_string_ostream stream(text);
  stream << llvm::format("%g, expected ", value);
  if (std::isinf(below))
    stream << "a finite number of 0 or more";
  else
    stream << llvm::format("a number from 0 to less than %g", below);
  return emitError(model.getLoc()) << "option " << option << " is " << text;
}

FailureOr<std::map<std::string, int64_t>> parseRunSizes(ModelOp model, ArrayRef<std::string> entries) {
  std::map<std::string, int64_t> sizes;
  for (StringRef entry : entries) {
    auto [name, text] = entry.split('=');
    int64_t size = 0;
    if (name.empty() || text.getAsInteger(10, size) || size < 0)
      return emitModelError(model) << "option 'sizes' has '" << entry << "', expected NAME=NUMBER";
    sizes[name.str()] = size;
  }
  return sizes;
}

} // namespace morph
