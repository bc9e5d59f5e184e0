// SPDX-License-Identifier: Apache-2.0
// morph-separate-documents: no position sees another document of its window.

#include "passes/Passes.h"
#include "passes/Phases.h"
#include "runtime/plan/Names.h"
#include "runtime/plan/OpTable.h"

#include "llvm/ADT/TypeSwitch.h"

namespace morph {
#define GEN_PASS_DEF_SEPARATEDOCUMENTSPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

struct SeparateDocumentsPass : public morph::impl::SeparateDocumentsPassBase<SeparateDocumentsPass> {
  using SeparateDocumentsPassBase::SeparateDocumentsPassBase;

  /// Lets an op know where documents begin; an error where it mixes positions and cannot.
  static LogicalResult separate(Operation &op, Value begins) {
    return llvm::TypeSwitch<Operation *, LogicalResult>(&op)
        .Case<AttentionOp, LinearAttentionOp, ShortConvOp>([&](auto mixing) {
          mixing.getBeginsMutable().assign(begins);
          return success();
        })
        .Default([](Operation *other) -> LogicalResult {
          const plan::OpRule *rule = plan::findOpRule(other->getName().stripDialect().str());
          if (!isa<TokenMixerOpInterface>(other) && !(rule && rule->mixesTokens))
            return success();
          return other->emitOpError("lets the documents of a window see each other, expected ops that know of them")
                 << " (forward only, with mixers expanded)";
        });
  }

  void runOnOperation() override {
    ProgramOp op = findProgram(getOperation(), program);
    if (!op) {
      emitModelError(getOperation()) << "has no program '" << program << "' to separate documents in";
      return signalPassFailure();
    }
    auto type =
        RankedTensorType::get({ShapedType::kDynamic, ShapedType::kDynamic}, IntegerType::get(op.getContext(), 64));
    Value begins = op.addInput(plan::kBegins, type, {"B", "T"});
    for (Operation &mixing : op.getBlock().without_terminator())
      if (failed(separate(mixing, begins)))
        return signalPassFailure();
  }
};

} // namespace
