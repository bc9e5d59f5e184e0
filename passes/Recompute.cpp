// SPDX-License-Identifier: Apache-2.0
// morph-recompute: clones ops of a program so that its values fit a limit.

#include "passes/EmitPlan.h"
#include "passes/Passes.h"
#include "passes/Phases.h"
#include "passes/Recomputation.h"

namespace morph {
#define GEN_PASS_DEF_RECOMPUTEPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

/// Clones in the program what the plan `after` has beyond `before`, the plan of the program as it is.
void cloneCopies(ProgramOp program, const plan::Plan &before, const Recomputation &after) {
  // An op but a param is an instruction, and values are numbered alike.
  SmallVector<Operation *> ops;
  llvm::DenseMap<int64_t, Value> values; // Results of ops, by number.
  auto define = [&](Operation *op, const plan::Instruction &instruction) {
    for (auto [number, result] : llvm::zip_equal(instruction.results, op->getResults()))
      values[number] = result;
  };
  for (Operation &op : program.getBlock().without_terminator())
    if (!isa<ParamOp>(op)) {
      define(&op, before.instructions[ops.size()]);
      ops.push_back(&op);
    }
  size_t done = 0; // Of the ops that were there.
  OpBuilder builder(program.getContext());
  for (auto [origin, instruction] : llvm::zip_equal(after.origins, after.plan.instructions)) {
    Operation *op = ops[origin];
    if (after.isCopy(instruction, before)) {
      builder.setInsertionPoint(ops[done]);
      op = builder.clone(*op);
      define(op, instruction);
    } else {
      ++done;
    }
    unsigned position = 0; // Absent operands are none of the op.
    for (int64_t number : instruction.operands)
      if (number >= 0) {
        if (Value value = values.lookup(number)) // An input or a weight stays as it is.
          op->setOperand(position, value);
        ++position;
      }
  }
}

struct RecomputePass : public morph::impl::RecomputePassBase<RecomputePass> {
  using RecomputePassBase::RecomputePassBase;

  LogicalResult recompute(ModelOp model) {
    if (!findProgram(model, program))
      return emitModelError(model) << "has no program '" << program << "' to recompute values of";
    if (limit < 0 || threads < 1)
      return emitModelError(model) << "option 'limit' is " << int64_t(limit) << " and 'threads' is " << int64_t(threads)
                                   << ", expected a limit of 0 or more and a thread or more";
    FailureOr<std::map<std::string, int64_t>> runSizes = parseRunSizes(model, sizes);
    if (failed(runSizes))
      return failure();
    FailureOr<plan::Plan> before = emitPlan(model, program);
    if (failed(before))
      return failure();
    ProgramOp op = findProgram(model, program);
    if (Status status = plan::validate(*before); !status.ok())
      return emitProgramError(op) << "gives a plan that is not valid: " << status.message();
    StatusOr<Recomputation> found =
        chooseRecomputation(*before, *runSizes, limit, plan::RunMode{/*wide=*/false, threads});
    if (!found.ok())
      return emitProgramError(op) << "cannot be planned: " << found.status().message();
    if (found->arenaBytes > limit && !least)
      return emitProgramError(op) << "takes at least " << found->arenaBytes
                                  << " bytes for the values of a run, however much of them is computed again; the "
                                     "limit is "
                                  << int64_t(limit);
    cloneCopies(op, *before, *found);
    return success();
  }

  void runOnOperation() override {
    if (failed(recompute(getOperation())))
      signalPassFailure();
  }
};

} // namespace
