// SPDX-License-Identifier: Apache-2.0
#include "Pipelines.h"

#include "MemoryFile.h"

#include "dialect/MorphDialect.h"
#include "passes/EmitPlan.h"
#include "passes/Passes.h"
#include "passes/Pipelines.h"
#include "runtime/plan/Cost.h"
#include "runtime/plan/Rings.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/Extensions/InlinerExtension.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace morph::fuzz {

/// Passes by their command line, each on its own and in the options that change what they do.
static const char *const kPipelines[] = {
    "morph.model(morph-verify-phase)",
    "morph.model(morph-verify-phase{phase=base})",
    "morph.model(morph-verify-phase{phase=paired})",
    "morph.model(morph-verify-phase{phase=relaxed})",
    "morph.model(morph-verify-phase{phase=hybrid})",
    "morph.model(morph-pair-branches)",
    "morph.model(morph-pair-branches{candidates=lightning,sliding_window(window=4)})",
    "morph.model(morph-pair-branches{candidates=gated_deltanet(chunk=16,conv=4),lightning(chunk=16)})",
    "morph.model(morph-relax-gates{init=0.5})",
    "morph.model(morph-discretize{kept=0})",
    "morph.model(morph-discretize{uniform=1})",
    "morph.model(morph-discretize{ratio=0.5 selection=SELECTION keep=1 linear=0})",
    "morph.model(morph-discretize{selection=SELECTION candidate=lightning})",
    "morph.model(morph-build-align{normalize=rows})",
    "morph.model(morph-build-gates{loss=layers target=local})",
    "morph.model(morph-build-gates{loss=final_hidden normalize=mean})",
    "morph.model(morph-build-distill{train=all})",
    "morph.model(morph-build-pretrain)",
    "morph.model(morph-build-finetune{train=linear})",
    "morph.model(morph-build-score{kl=true})",
    "morph.model(morph-build-logits)",
    "morph.model(morph-build-decode)",
    "morph.model(morph-expand-mixers)",
    "morph.model(morph-differentiate)",
    "morph-search-pipeline",
    "morph-search-pipeline{candidates=lightning(chunk=16)}",
    "morph-commit-pipeline{uniform=1}",
    "morph-commit-pipeline{selection=SELECTION}",
    "canonicalize,cse,symbol-dce",
    "inline",
};

/// Programs with their options, from a model to a plan.
static const char *const kPrograms[][2] = {
    {"align", ""},
    {"gates", ""},
    {"gates", "loss=ce"},
    {"gates", "loss=layers"},
    {"gates", "limit=0,sizes=B=1 T=8 N=4"},
    {"distill", ""},
    {"distill", "train=all"},
    {"distill", "gradients=false"},
    {"finetune", "train=linear"},
    {"pretrain", ""},
    {"score", ""},
    {"score", "kl=true"},
    {"logits", ""},
    {"decode", ""},
    {"calibrate", ""},
};

static void load(MLIRContext &context) {
  DialectRegistry registry;
  registry.insert<MorphDialect, func::FuncDialect, arith::ArithDialect>();
  func::registerInlinerExtension(registry);
  context.appendDialectRegistry(registry);
  context.loadAllAvailableDialects();
}

Pipelines::Pipelines() : context_(load), selection_(std::make_unique<MemoryFile>()) {
  registerPasses();
  registerPipelines();
  registerTransformsPasses();
  selection_->set(R"({"version": 1, "budget": 1, "scores": [0.25, 0.75]})");
}

Pipelines::~Pipelines() { entries_.clear(); }

MLIRContext &Pipelines::context() {
  if (context_.renewsNext())
    entries_.clear();
  MLIRContext &context = context_.get();
  if (entries_.empty())
    make();
  return context;
}

void Pipelines::make() {
  MLIRContext &context = context_.current();
  for (StringRef text : kPipelines) {
    std::string pipeline = text.str();
    if (size_t at = pipeline.find("SELECTION"); at != std::string::npos)
      pipeline.replace(at, strlen("SELECTION"), selection_->path());
    auto manager = std::make_unique<PassManager>(&context, ModuleOp::getOperationName());
    if (failed(parsePassPipeline(pipeline, *manager)))
      llvm::report_fatal_error(llvm::StringRef("wrong pipeline in Pipelines.cpp: " + pipeline));
    entries_.push_back({"", std::move(manager)});
  }
  for (auto [program, options] : kPrograms) {
    auto manager = std::make_unique<PassManager>(&context, ModuleOp::getOperationName());
    addProgramPipeline(*manager, llvm::cantFail(parseProgramOptions(program, options)));
    entries_.push_back({program, std::move(manager)});
  }
}

void Pipelines::run(ModuleOp module, unsigned number) {
  Entry &entry = entries_[number % entries_.size()];
  if (failed(entry.manager->run(module)) || entry.program.empty())
    return;
  for (ModelOp model : module.getOps<ModelOp>()) {
    FailureOr<plan::Plan> plan = emitPlan(model, entry.program);
    if (failed(plan))
      continue;
    if (Status status = plan::validate(*plan); !status.ok()) {
      llvm::errs() << "the plan of program '" << entry.program << "' is not valid: " << status.message() << "\n";
      std::abort();
    }
    (void)plan::estimateCost(*plan, plan::withRings({{"B", 1}, {"T", 8}, {"N", 4}}, *plan, 8));
  }
}

} // namespace morph::fuzz
