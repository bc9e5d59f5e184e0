// SPDX-License-Identifier: Apache-2.0
// morph-lower-to-cpu: kernels in linalg to vector loops, and those to the LLVM dialect.

#include "passes/lower/Passes.h"
#include "passes/lower/RowLoops.h"
#include "passes/lower/VectorMath.h"

#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVMPass.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace morph {
#define GEN_PASS_DEF_LOWERTOCPUPASS
#include "passes/lower/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

void morph::addConversionToLlvm(OpPassManager &manager) {
  manager.addPass(createConvertSCFToCFPass());
  manager.addPass(createConvertVectorToLLVMPass());
  manager.addPass(createConvertMathToLLVMPass());
  manager.addPass(createArithToLLVMConversionPass());
  manager.addPass(createConvertControlFlowToLLVMPass());
  manager.addPass(createReconcileUnrealizedCastsPass());
}

namespace {
struct LowerToCpuPass : public morph::impl::LowerToCpuPassBase<LowerToCpuPass> {
  using LowerToCpuPassBase::LowerToCpuPassBase;

  void runOnOperation() override {
    ModuleOp kernels = getOperation();
    if (kernels.getSymName() != "kernels") {
      kernels = dyn_cast_or_null<ModuleOp>(SymbolTable::lookupSymbolIn(getOperation(), "kernels"));
      if (!kernels) {
        getOperation().emitError("has no `module @kernels`: run morph-kernel-to-linalg first");
        return signalPassFailure();
      }
    }
    for (auto function : llvm::make_early_inc_range(kernels.getOps<func::FuncOp>()))
      if (failed(lowerToRowLoops(function)))
        return signalPassFailure();

    // Transcendental functions as polynomials on vectors; bf16 by integer operations, the same on all machines.
    RewritePatternSet patterns(&getContext());
    populateVectorMath(patterns);
    arith::populateExpandBFloat16Patterns(patterns);
    if (failed(applyPatternsAndFoldGreedily(kernels, std::move(patterns))))
      return signalPassFailure();
    if (!toLlvm)
      return;
    OpPassManager manager(ModuleOp::getOperationName());
    addConversionToLlvm(manager);
    if (failed(runPipeline(manager, kernels)))
      signalPassFailure();
  }

  void getDependentDialects(DialectRegistry &registry) const override {
    LowerToCpuPassBase::getDependentDialects(registry);
    OpPassManager manager(ModuleOp::getOperationName());
    addConversionToLlvm(manager);
    manager.getDependentDialects(registry);
  }
};
} // namespace
