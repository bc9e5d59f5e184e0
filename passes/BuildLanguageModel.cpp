// SPDX-License-Identifier: Apache-2.0
// morph-build-pretrain and morph-build-finetune: next-token cross-entropy at positions.

#include "passes/Passes.h"
#include "passes/ProgramBuilder.h"

namespace morph {
#define GEN_PASS_DEF_BUILDPRETRAINPASS
#define GEN_PASS_DEF_BUILDFINETUNEPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

LogicalResult buildLanguageModel(ModelOp model, StringRef name, bool linearOnly) {
  FailureOr<ProgramBuilder> program = ProgramBuilder::create(model, name);
  if (failed(program))
    return failure();
  FailureOr<Value> loss = addCrossEntropy(*program);
  if (failed(loss))
    return failure();
  SymbolNames trained = linearOnly ? linearSymbols(program->program().getBody())
                                   : trainableSymbols(model, readSymbols(program->program()));
  if (trained.empty())
    return emitModelError(model) << "has no linear attention, so there is nothing to train with train 'linear'";
  program->addOutput("loss", *loss);
  program->finish(trained);
  return success();
}

struct BuildPretrainPass : public morph::impl::BuildPretrainPassBase<BuildPretrainPass> {
  void runOnOperation() override {
    if (failed(requirePhase(getOperation(), {Phase::Base}, getArgument())) ||
        failed(buildLanguageModel(getOperation(), "pretrain", /*linearOnly=*/false)))
      signalPassFailure();
  }
};

struct BuildFinetunePass : public morph::impl::BuildFinetunePassBase<BuildFinetunePass> {
  using BuildFinetunePassBase::BuildFinetunePassBase;
  void runOnOperation() override {
    if (failed(requirePhase(getOperation(), {Phase::Base, Phase::Hybrid}, getArgument())) ||
        failed(checkOption(getOperation(), "train", train, {"linear", "all"})) ||
        failed(buildLanguageModel(getOperation(), "finetune", /*linearOnly=*/train == "linear")))
      signalPassFailure();
  }
};

} // namespace
