// SPDX-License-Identifier: Apache-2.0
#include "passes/Gradients.h"

#include "passes/Phases.h"

using namespace mlir;

namespace morph {

LogicalResult forTrainingPrograms(ModelOp model, StringRef name, function_ref<LogicalResult(ProgramOp)> transform) {
  if (!name.empty() && !findProgram(model, name))
    return emitModelError(model) << "has no program '" << name << "' to train";
  // A transform may add programs.
  for (ProgramOp program : llvm::to_vector(model.getBody().getOps<ProgramOp>()))
    if ((name.empty() || program.getSymName() == name) && !program.getTrained().empty() && failed(transform(program)))
      return failure();
  return success();
}

} // namespace morph
